"""Test alerts: a real message, marked TEST, through the real outbox to one receiver; and what each channel answered.

It is no incident: like a drill it has an event of the kind ``drill``, which opens nothing in the status of a check.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from heartbeat.check import Check
from heartbeat.config.model import CheckConfig, Config
from heartbeat.config.problem import nearest, quoted
from heartbeat.core.model import Delivery, DeliveryState, Event, Kind, Severity, derive_id
from heartbeat.core.policy import Policy, Routes
from heartbeat.core.schedule import Interval
from heartbeat.core.status import FRESH
from heartbeat.line import Line, address, tell
from heartbeat.probe import Probe
from heartbeat.state import Live
from heartbeat.store import Entry, StoreFailed

PREFIX = "heartbeat.test."
ABOUT_US = "this is a TEST of the way to {}; nothing is wrong, and there is nothing to do"
ABOUT_A_CHECK = "this is a TEST: an alert of {} would look like this; nothing is wrong, and there is nothing to do"
WHY = "somebody asked for a TEST of this way out (heartbeat test-alert)"
LOOK_AGAIN = 0.2
"""Seconds between two looks at what was answered."""
ON_THEIR_WAY = (DeliveryState.PENDING, DeliveryState.LEASED)


class _Nothing(Check):
    async def run(self, probe: Probe) -> None:
        """Do nothing: a test alert that is about no check needs one in its place."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What came of a test alert: its event, and all that was to be delivered."""

    receiver: str
    event: Event
    deliveries: tuple[Delivery, ...]
    remark: str = ""

    @property
    def acknowledged(self) -> bool:
        """Say whether every channel of the receiver has acknowledged it, for every recipient."""
        own = self.own
        return bool(own) and all(one.state is DeliveryState.ACKNOWLEDGED for one in own)

    @property
    def own(self) -> tuple[Delivery, ...]:
        """What went to the receiver itself, and not to another one in its place."""
        return tuple(one for one in self.deliveries if one.address.receiver == self.receiver)


async def try_out(line: Line, config: Config, receiver: str, check: str, within: float) -> Answers:
    """Send a test alert, and wait until all of it is answered, or ``within`` seconds are over.

    Raises ``LookupError`` with a sentence where there is no such receiver or check.
    """
    if receiver not in config.receivers:
        raise LookupError(f"there is no receiver {quoted(receiver)}{nearest(receiver, config.receivers)}")
    if check and check not in config.checks:
        raise LookupError(f"there is no check {quoted(check)}{nearest(check, config.checks)}")
    chosen = config.checks[check] if check else None
    ends = monotonic() + within
    entry = await send(line, receiver, chosen)
    (event,) = entry.events
    deliveries: Sequence[Delivery] = entry.deliveries
    while monotonic() < ends and _is_open(receiver, deliveries) and not line.closing.is_set():
        await asyncio.sleep(LOOK_AGAIN)
        deliveries = await _look(line, event, deliveries)
    return Answers(receiver, event, tuple(deliveries), _remark(receiver, chosen))


async def send(line: Line, receiver: str, check: CheckConfig | None) -> Entry:
    """Record and tell a test alert, as the line does with any event."""
    about = check or _stand_in(receiver)
    event = make_event(about.name, receiver, line.clock.now(), is_check=check is not None)
    live = Live(replace(about, notify=Routes((receiver,))))
    _, entry = address(line, live, FRESH, Entry(check=about.name), (event,))
    marked = tuple(_mark(one) for one in entry.deliveries)
    entry = replace(entry, events=tuple(_mark_event(one) for one in entry.events), deliveries=marked)
    await tell(line, entry)
    return entry


def make_event(check: str, receiver: str, at: float, *, is_check: bool) -> Event:
    """Return the event of a test alert: an incident of its own, with nothing wrong."""
    return Event(
        id=derive_id("evt", check, receiver, at, Kind.DRILL, "test"),
        kind=Kind.DRILL,
        check=check,
        incident=derive_id("inc", check, receiver, at, Kind.DRILL, "test"),
        sequence=1,
        at=at,
        was=Severity.OK,
        severity=Severity.OK,
        since=at,
        reason=None,
        sentence=ABOUT_A_CHECK.format(check) if is_check else ABOUT_US.format(receiver),
        why=WHY,
    )


def _mark(delivery: Delivery) -> Delivery:
    return replace(delivery, event=_mark_event(delivery.event))


def _mark_event(event: Event) -> Event:
    """Let the messages say in large letters what this is."""
    return replace(event, context={**event.context, "test": True})


def _stand_in(receiver: str) -> CheckConfig:
    name = f"{PREFIX}{receiver}"
    return CheckConfig(name, "heartbeat.test", _Nothing(), name, Interval(60.0), 1.0, Policy())


def _is_open(receiver: str, deliveries: Iterable[Delivery]) -> bool:
    return any(one.state in ON_THEIR_WAY and one.address.receiver == receiver for one in deliveries)


async def _look(line: Line, event: Event, known: Sequence[Delivery]) -> Sequence[Delivery]:
    """Return what is recorded of the deliveries; what the store cannot say stays as it was."""
    try:
        return await line.store.deliveries(event.incident) or known
    except StoreFailed:
        return known


def _remark(receiver: str, check: CheckConfig | None) -> str:
    if check is None or receiver in check.notify.everyone:
        return ""
    told = ", ".join(check.notify.everyone)
    return f"alerts of {check.name} do not go to {receiver}: {f'they go to {told}' if told else 'nobody is told'}"


def data_of(answers: Answers) -> dict[str, Any]:
    """Return what came of it, for JSON."""
    return {
        "receiver": answers.receiver,
        "check": answers.event.check,
        "event": answers.event.id,
        "incident": answers.event.incident,
        "acknowledged": answers.acknowledged,
        "remark": answers.remark or None,
        "answers": [
            {
                "receiver": one.address.receiver,
                "channel": one.address.channel,
                "recipient": one.address.recipient or None,
                "state": one.state.value,
                "answer": one.note,
                "attempts": one.attempts,
                "seconds": max(0.0, round(one.done_at - one.event.at, 3)) if one.done_at else None,
            }
            for one in sorted(answers.deliveries, key=lambda one: one.id)
        ],
    }

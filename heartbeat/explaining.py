"""An explanation of one check, put together from what the store has; read-only, with and without a daemon.

What stands against telling now is asked of the daemon's own ``surroundings``, on the statuses that were recorded last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from heartbeat.config.model import CheckConfig, Config
from heartbeat.core import explanation as say
from heartbeat.core.model import Delivery, Event, Verdict
from heartbeat.core.quiet import Order, covers
from heartbeat.core.status import FRESH, Status, has_incident
from heartbeat.core.text import plain
from heartbeat.core.times import lasting
from heartbeat.quiet.deployments import KNOWN
from heartbeat.quiet.surroundings import Surroundings
from heartbeat.quiet.times import Quiet
from heartbeat.state import Live, State
from heartbeat.store import Recorded, deployments, history, quiet, reader
from heartbeat.switching.memory import find_recalled
from heartbeat.web.checks import look_around
from heartbeat.web.deliveries import Redact, describe, describe_event

RUNS = 10
"""How many runs are shown at least: as many as the latches look at, and these."""
EVENTS = 20
SILENT = 3.0
"""After how many intervals without a run an explanation says that none came."""

OFF = ("switched off ", "disabled by ")
"""How sentences begin that say why a check does not run."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is known of a check.

    Attributes:
        check: its name.
        at: the time that was asked about, or now.
        is_past: it is not now.
        config: the check as configured, where a configuration was given.
        status: the latest that was recorded; None where there is none, and of a time in the past.
        runs: the latest, oldest first.
        events: the latest, oldest first.
        deliveries: those of the events.
        against: what keeps messages back now, in sentences.
    """

    check: str
    at: float
    is_past: bool
    config: CheckConfig | None
    status: Status | None
    runs: tuple[Recorded, ...]
    events: tuple[Event, ...]
    deliveries: tuple[Delivery, ...]
    against: tuple[str, ...]


def gather(connection: Connection, check: str, at: float, config: Config | None, *, is_past: bool) -> Explanation:
    """Read what there is of a check at a time. Raises ``LookupError`` where nothing is known of it."""
    ours = config.checks.get(check) if config else None
    status = history.status_of(connection, check)
    most = max(RUNS, ours.policy.memory if ours else 0)
    runs = history.runs_until(connection, check, at, most)
    events = history.events_until(connection, check, at, EVENTS)
    if ours is None and status is None and not runs and not events:
        raise LookupError(check)
    deliveries = history.deliveries_of(connection, [event.id for event in events])
    against = () if is_past else tuple(_against(connection, check, config, events, at))
    return Explanation(
        check,
        at,
        is_past,
        ours,
        None if is_past else status,
        tuple(reversed(runs)),
        tuple(events),
        tuple(deliveries),
        against,
    )


def _against(
    connection: Connection, check: str, config: Config | None, events: list[Event], now: float
) -> Iterator[str]:
    """Yield what keeps messages back, the strongest first."""
    orders = quiet.load(connection)
    if config is None or check not in config.checks:
        context = events[-1].context if events else {}
        for order in orders:
            covered = covers(order.matcher, check, context.get("type", ""), context.get("labels", {}))
            if covered and order.until(now):
                yield order.say()
        return
    surroundings = _surround(connection, config, orders)
    live = surroundings.state.checks[check]
    around = look_around(surroundings, live, now)
    if around.sentence:
        yield around.sentence
    if around.holds_back:
        yield f"while it fails nobody is told of {', '.join(around.holds_back)}"
    if not config.ways_out(live.config.notify.everyone):
        yield "no receiver is configured for this check"


def _surround(connection: Connection, config: Config, orders: list[Order]) -> Surroundings:
    """Return the daemon's surroundings as a start would find them now."""
    past, state, hush = reader.load(connection), State(), Quiet()
    for name, check in config.checks.items():
        live = state.checks[name] = Live(check, past.statuses.get(name, FRESH))
        if last := past.last.get(name):
            live.restore(last.run, last.result, last.verdict)
    hush.adopt(config.maintenance)
    hush.switched = find_recalled(past.memories, config.checks.values())
    for order in orders:
        hush.put(order)
    for one in deployments.load(connection, KNOWN):
        hush.mark(one)
    surroundings = Surroundings(state, hush)
    surroundings.adopt(config.checks, config.storm)
    return surroundings


def text_of(found: Explanation, redact: Redact) -> Iterator[str]:
    """Yield the lines for people."""
    for line in _lines(found):
        yield redact(line)


def _lines(found: Explanation) -> Iterator[str]:
    if found.is_past:
        yield say.headline_then(found.check, found.events, found.at)
        yield from (f"  open then: {say.say_event(event)}" for event in say.open_then(found.events))
    else:
        yield say.headline(found.check, found.status, found.at)
        yield from (f"  {line}" for line in (say.say_open(found.status) if found.status else ()))
        yield from (f"  {line}" for line in _silence(found))
    yield from _section("What its latest runs found, the newest last", map(say.say_run, verdicts_of(found)))
    yield from _section("How its policy judges them", _policy(found))
    yield from _section("Its limits", _limits(found))
    yield from _section(f"Its messages, of the latest {EVENTS} events", _messages(found))
    if not found.is_past:
        status = found.status
        nothing = "nothing" if status and has_incident(status) else "nothing; there is nothing to tell, either"
        yield from _section("What stands against telling now", found.against or (nothing,))
        upcoming = say.say_next(status, found.config.policy if found.config else None, found.at) if status else ""
        yield from _section("What comes next", (upcoming,) if upcoming else ())


def _section(title: str, lines: Any) -> Iterator[str]:
    told = [f"  {line}" for line in lines]
    if told:
        yield from ("", f"{title}:", *told)


def verdicts_of(found: Explanation) -> list[Verdict]:
    """Return the latest verdicts, oldest first."""
    return [one.verdict for one in found.runs]


def _silence(found: Explanation) -> Iterator[str]:
    """Say so where no run came for long: the daemon may be down, and all of this may be old."""
    if not found.runs:
        yield "no run of it is in the store: it has not run yet, or the runs were let go of"
        return
    if any(line.startswith(OFF) for line in found.against):  # then no run is to be expected
        return
    latest = found.runs[-1].verdict.at
    interval = found.config.policy.interval if found.config else None
    if interval and found.at - latest > SILENT * interval + (found.config.timeout if found.config else 0.0):
        yield f"its latest run was {lasting(found.at - latest)} ago: is the daemon running? heartbeat status"


def _policy(found: Explanation) -> Iterator[str]:
    if found.config is None:
        return iter(("no configuration was given that has it: -c FILE tells its policy and its limits",))
    return say.say_policy(found.config.policy, verdicts_of(found))


def _limits(found: Explanation) -> Iterator[str]:
    latest = found.runs[-1] if found.runs else None
    for limit in found.config.limits if found.config else ():
        yield say.say_limit(limit, latest.result if latest else None, latest.verdict if latest else None)


def _messages(found: Explanation) -> Iterator[str]:
    for event in found.events:
        yield say.say_event(event)
        if event.why:
            yield f"    {plain(event.why, say.SENTENCE)}"
        for delivery in found.deliveries:
            if delivery.event.id == event.id:
                yield f"    {say.say_delivery(delivery, found.at)}"


def data_of(found: Explanation, redact: Redact) -> dict[str, Any]:
    """Return an explanation for machines; times in seconds since the epoch."""
    status = found.status
    return {
        "check": found.check,
        "at": found.at,
        "summary": [redact(line) for line in _summary(found)],
        "severity": status.severity.word if status else None,
        "since": status.since if status else None,
        "runs": [_run(one, redact) for one in found.runs],
        "policy": [redact(line) for line in _policy(found)],
        "limits": [redact(line) for line in _limits(found)],
        "events": [describe_event(event, redact) for event in found.events],
        "deliveries": [describe(one, redact) for one in found.deliveries],
        "against": [redact(line) for line in found.against],
        "wake_at": status.wake_at if status else None,
    }


def _summary(found: Explanation) -> Iterator[str]:
    """Yield what stands above all sections."""
    for line in _lines(found):
        if not line:
            return
        yield line.strip()


def _run(recorded: Recorded, redact: Redact) -> dict[str, Any]:
    verdict = recorded.verdict
    return {
        "id": verdict.run.id,
        "at": verdict.at,
        "attempt": verdict.run.attempt,
        "outcome": verdict.outcome,
        "severity": verdict.severity.word,
        "reason": verdict.reason,
        "sentence": plain(redact(verdict.sentence), 1000),
        "counts": say.counts(verdict),
        "duration": recorded.result.duration,
    }

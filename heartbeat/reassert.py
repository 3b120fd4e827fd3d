"""What stands is told again and again to receivers that forget: the level beside the edges that the outbox delivers.

An Alertmanager drops an alert that nobody asserts for some minutes, and all of them when it restarts. So once per
``resend_every`` each of its instances is told what is open, and for a while what has ended. It costs no delivery and
waits for none: a round that fails is counted, and the next one tells the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from time import monotonic
from typing import Protocol

import structlog

from heartbeat.channels import Rendered
from heartbeat.channels.alertmanager import FAILURES, Alert, Alertmanager, write
from heartbeat.channels.attempt import attempt
from heartbeat.clock import Clock
from heartbeat.config import Config
from heartbeat.core.batch import Batch
from heartbeat.core.incidents import describe_flapping, standing
from heartbeat.core.model import OPENING, Address, Event, Outcome, Run, Severity, Track
from heartbeat.core.sentences import track_of
from heartbeat.core.status import Incident, has_incident, incidents
from heartbeat.line import describe, traced
from heartbeat.metrics.instruments import REASSERTION_OUTCOMES, Instruments
from heartbeat.state import Live, State
from heartbeat.store import Store, StoreFailed

log = structlog.get_logger()

LOOK_EVERY = 1.0
"""Seconds between two looks at which channel is due."""
RESOLVED_FOR = 900.0
"""Seconds for which the end of an incident is told again: Prometheus' number, its documents demand 300."""
ALERTS_AT_ONCE = 50
"""Alerts in one request: writing them takes a millisecond or two of the loop."""


class Host(Protocol):
    """What is looked at: the daemon."""

    config: Config
    state: State
    clock: Clock
    store: Store
    instruments: Instruments

    def ways_out(self, receivers: tuple[str, ...]) -> tuple[Address, ...]:
        """Return the ways out of receivers."""

    def redact(self, text: str) -> str:
        """Return a text without secrets."""


def alerts_of(
    channel: Alertmanager, checks: Iterable[tuple[Live, Iterable[Event]]], over: Iterable[Event], *, now: float
) -> Iterator[Alert]:
    """Yield what an Alertmanager should hold true. Pure, and lazy, so that a caller may let others run in between.

    Args:
        channel: whose alerts they are.
        checks: each with what is open, as the channel was told of it.
        over: the events by which incidents ended lately, oldest first.
        now: seconds since the epoch.
    """
    ended = {(event.check, track_of(event)): event for event in over if event.at > now - RESOLVED_FOR}
    for live, events in checks:
        stands = FAILURES * max(live.config.policy.interval or 0.0, channel.resend_every)
        for event in events:
            ended.pop((event.check, event.track), None)
            yield channel.alert(event, now + stands)
    for event in ended.values():
        yield channel.alert(event, event.at)


def open_on(live: Live, channel: str, usual: Collection[str], location: str, now: float) -> Iterator[Event]:
    """Yield an event for each open incident that a channel was told of, as it would be told now.

    What was kept back from it stays so: an alert is as bad as was told. ``usual`` are the channels that are told of the
    check: an incident of an older release does not know who was.
    """
    for track, incident in incidents(live.status):
        told = {address.channel for address in incident.told} or (() if incident.untold else usual)
        if channel in told:
            yield _event(live, track, incident, location, now)


def _event(live: Live, track: Track, incident: Incident, location: str, now: float) -> Event:
    status = live.status
    news = standing(status, track, incident, live.config.name)
    sentence = news.sentence
    if track is Track.TARGET and status.flapping and not status.severity:  # it is well at the moment
        sentence = describe_flapping(status, sentence)
    run = _bad_run(live, track)
    severity = incident.told_severity or news.severity or (status.severity if track is Track.TARGET else Severity.OK)
    return Event(
        id="",
        kind=OPENING[track],
        check=live.config.name,
        incident=incident.id,
        sequence=incident.sequence,
        at=now,
        was=Severity.OK,
        severity=severity,
        since=incident.since,
        reason=news.reason,
        sentence=sentence,
        run=run,
        context=describe(live.config, location) | traced(run, live.result),
        track=track,
    )


def _bad_run(live: Live, track: Track) -> Run | None:
    """Return the latest run where it is one that found the trouble."""
    verdict = live.verdict
    if verdict is None or track not in (Track.TARGET, Track.CHECK):
        return None
    is_it = verdict.outcome is Outcome.ERROR if track is Track.CHECK else bool(verdict.severity)
    return live.run if is_it else None


@asynccontextmanager
async def reasserting(host: Host) -> AsyncIterator[None]:
    """Tell how things stand, beside everything else, for as long as the block lasts."""
    task = asyncio.create_task(Rounds(host).run(), name="reassert")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@dataclass(slots=True)
class Rounds:
    """One round per channel and ``resend_every``, of which only one is under way."""

    host: Host
    due: dict[str, float] = field(default_factory=dict)
    under_way: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    failing: dict[tuple[str, str], str] = field(default_factory=dict)
    """What was said last of a channel's instance that cannot be told; each sentence is logged once."""

    async def run(self) -> None:
        """Begin rounds as they come due, for ever."""
        try:
            while True:
                self.begin(monotonic())
                await asyncio.sleep(LOOK_EVERY)
        finally:
            for task in self.under_way.values():
                task.cancel()
            await asyncio.gather(*self.under_way.values(), return_exceptions=True)

    def begin(self, now: float) -> None:
        """Begin the rounds that are due; a channel that is still at its last one, or has gone, is left out."""
        for receiver in self.host.config.receivers.values():
            for identity, channel in receiver.channels.items():
                if isinstance(channel, Alertmanager) and self.due.get(identity, now) <= now:
                    self.due[identity] = now + channel.resend_every
                    if identity not in self.under_way:
                        self._begin(receiver.name, identity, channel)

    def _begin(self, receiver: str, identity: str, channel: Alertmanager) -> None:
        for outcome in REASSERTION_OUTCOMES:
            self.host.instruments.reassertions.labels(receiver, identity, outcome)
        task = asyncio.create_task(self.tell(receiver, identity, channel), name=f"reassert {identity}")
        self.under_way[identity] = task
        task.add_done_callback(lambda task: self._end(identity, task))

    def _end(self, identity: str, task: asyncio.Task[None]) -> None:
        del self.under_way[identity]
        if not task.cancelled() and (error := task.exception()):
            log.critical("a round broke inside the daemon; please report this", channel=identity, exc_info=error)

    async def tell(self, receiver: str, identity: str, channel: Alertmanager) -> None:
        """Tell every instance of a channel how things stand; none waits for another."""
        bodies = await self._bodies(identity, channel)
        addresses = [Address(receiver, identity, instance) for instance in channel.recipients()]
        await asyncio.gather(*(self._tell_one(channel, address, bodies) for address in addresses))

    async def _bodies(self, identity: str, channel: Alertmanager) -> list[bytes]:
        """Return the requests of a round; other work gets its turn between two of them."""
        now = self.host.clock.now()
        over = await self._ended(identity, now)
        alerts = alerts_of(channel, self._told(identity, now), over, now=now)
        bodies = []
        while part := list(islice(alerts, ALERTS_AT_ONCE)):
            bodies.append(write(self._redacted(alert) for alert in part))
            await asyncio.sleep(0)
        return bodies

    async def _ended(self, identity: str, now: float) -> list[Event]:
        """Return what ended lately. The store knows it, also of an earlier life of the daemon."""
        try:
            found = await self.host.store.ended(identity, now - RESOLVED_FOR)
        except StoreFailed as error:
            self._note(identity, "", self.host.redact(str(error)))
            return []
        self._note(identity, "", "")
        return found

    def _told(self, identity: str, now: float) -> Iterator[tuple[Live, Iterator[Event]]]:
        """Yield the checks that have something open, each with what a channel was told of it."""
        host = self.host
        for live in [one for one in host.state.checks.values() if has_incident(one.status)]:
            usual = {address.channel for address in host.ways_out(live.config.notify.everyone)}
            yield live, open_on(live, identity, usual, host.config.location, now)

    def _redacted(self, alert: Alert) -> Alert:
        return replace(alert, annotations=tuple((name, self.host.redact(text)) for name, text in alert.annotations))

    async def _tell_one(self, channel: Alertmanager, to: Address, bodies: list[bytes]) -> None:
        """Send a round to one instance. An alert that is refused leaves the others standing; silence ends the round."""
        problem = ""
        for body in bodies:
            outcome = await attempt(channel, Batch("", to, ()), Rendered(body))
            word = "acknowledged" if outcome.acknowledged else "failed"
            self.host.instruments.reassertions.labels(to.receiver, to.channel, word).inc()
            problem = problem if outcome.acknowledged else self.host.redact(outcome.note)
            if not outcome.acknowledged and not outcome.permanent:
                break
        if bodies:
            self._note(to.channel, to.recipient, problem)

    def _note(self, identity: str, instance: str, problem: str) -> None:
        """Log a problem when it is new, and that it is over."""
        before = self.failing.pop((identity, instance), "")
        if problem:
            self.failing[identity, instance] = problem
        if problem and problem != before:
            log.warning("not told how things stand; trying on", channel=identity, instance=instance, answer=problem)
        elif before and not problem:
            log.info("told again how things stand", channel=identity, instance=instance)

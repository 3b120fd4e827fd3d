"""Drills: marked messages that try the way to a receiver on a schedule, and the self checks that miss their answers.

A drill is an event like any other: recorded with its deliveries, sent by the outbox, tried again. What became of it
stands in the store, so it survives a restart. The check ``heartbeat.drill.RECEIVER`` fails while the latest drill that
is decided was not acknowledged in time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial

from heartbeat.check import Check, CheckFailed
from heartbeat.config.model import CheckConfig, Drill
from heartbeat.core.model import Delivery, DeliveryState, Event, Kind, Reason, Severity, derive_id
from heartbeat.core.policy import Latch, Policy, Routes
from heartbeat.core.schedule import Interval
from heartbeat.core.status import FRESH
from heartbeat.core.times import readable
from heartbeat.core.units import format_duration
from heartbeat.dispatch import Dispatch
from heartbeat.line import address, tell
from heartbeat.probe import Probe
from heartbeat.state import Live
from heartbeat.store import Entry, StoreFailed, ledger
from heartbeat.timetable import next_cron_time

EVERY = 10.0
TIMEOUT = 5.0
REMIND = 4 * 3600.0
PREFIX = "heartbeat.drill."
SENTENCE = "this is a drill that tries the way to {}; nothing is wrong, and there is nothing to do"
MAKE_UP = 3600.0
"""Seconds for which a drill is made up for whose time came while the daemon was down."""
NAMED = 3


@dataclass(slots=True)
class Course:
    """One drill as it stands."""

    drill: Drill
    check: CheckConfig
    due: float
    """When the next one goes out."""
    last: Event | None = None
    problem: str = ""
    """What was wrong with the latest drill that is decided."""


def make_event(drill: Drill, at: float) -> Event:
    """Return the event of a drill: an incident of its own, with nothing wrong."""
    check = PREFIX + drill.receiver
    return Event(
        id=derive_id("evt", check, at, Kind.DRILL),
        kind=Kind.DRILL,
        check=check,
        incident=derive_id("inc", check, at, Kind.DRILL),
        sequence=1,
        at=at,
        was=Severity.OK,
        severity=Severity.OK,
        since=at,
        reason=None,
        sentence=SENTENCE.format(drill.receiver),
    )


def judge(drill: Drill, event: Event, deliveries: Iterable[Delivery], now: float) -> str | None:
    """Return what is wrong with a drill, nothing where it was acknowledged, and None while that is open.

    What went to another receiver instead, as to a fallback, does not count: it was this way that was tried.
    """
    own = [one for one in deliveries if one.address.receiver in (drill.receiver, "")]
    missing = [one for one in own if one.state is not DeliveryState.ACKNOWLEDGED]
    open_ = [one for one in missing if one.state in (DeliveryState.PENDING, DeliveryState.LEASED)]
    if not own or (open_ == missing != [] and now - event.at <= drill.within):
        return None
    if not missing:
        return ""
    ways = "; ".join(_say(one) for one in missing[:NAMED])
    more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    within = f" within {format_duration(drill.within)}" if open_ else ""
    return f"the drill of {readable(event.at)} was not acknowledged{within} by {ways}{more}"


def _say(delivery: Delivery) -> str:
    to = delivery.address
    who = " ".join(filter(None, (to.channel or "anyone", to.recipient)))
    return f"{who} ({delivery.note})" if delivery.note else who


@dataclass(slots=True)
class Drills:
    """Sends the drills that are due, and knows what became of the latest."""

    dispatch: Dispatch
    courses: dict[str, Course] = field(default_factory=dict)
    _seen: float = 0.0

    @property
    def now(self) -> float:
        """The time on the daemon's clock."""
        return self.dispatch.line.clock.now()

    def adopt(self, drills: Iterable[Drill]) -> None:
        """Take over the drills of a configuration; what is known of those that stay is kept."""
        self.courses = {drill.receiver: self._course(drill) for drill in drills}

    def checks(self) -> tuple[CheckConfig, ...]:
        """Return the self checks that look after the drills."""
        return tuple(course.check for course in self.courses.values())

    async def recall(self) -> None:
        """Look up in the store what an earlier life of the daemon sent, and make up for what it missed just now."""
        for course in self.courses.values():
            for event in await self._latest(course):
                course.last = event
                await self.look(course)
            if course.last is not None:
                due = next_time(course.drill, course.last.at)
                course.due = due if due > self.now - MAKE_UP else course.due

    def tick(self) -> None:
        """Send what is due; called once a second."""
        now = self.now
        for course in self.courses.values():
            if now < self._seen:  # the clock was set back
                course.due = next_time(course.drill, now)
            if now >= course.due:
                course.due = next_time(course.drill, now)
                self.dispatch.spawn(self.send(course, now), course.check.name)
        self._seen = now

    async def send(self, course: Course, at: float) -> None:
        """Record and tell a drill, as the line does with any event."""
        course.last = make_event(course.drill, at)
        line, check = self.dispatch.line, course.check
        told = Live(replace(check, notify=Routes((course.drill.receiver,))))
        _, entry = address(line, told, FRESH, Entry(check=check.name), (course.last,))
        await tell(line, entry)

    async def look(self, course: Course) -> str:
        """Return what is wrong with the latest drill that is decided. What the store cannot say stays as it was."""
        if course.last is not None:
            try:
                told = await self.dispatch.line.store.deliveries(incident=course.last.incident)
            except StoreFailed:
                return course.problem
            decided = judge(course.drill, course.last, told, self.now)
            course.problem = course.problem if decided is None else decided
        return course.problem

    async def _latest(self, course: Course) -> list[Event]:
        try:
            found = await self.dispatch.line.store.ask(partial(ledger.drills, check=course.check.name))
        except StoreFailed:
            return []
        return found[::-1]

    def _course(self, drill: Drill) -> Course:
        old = self.courses.get(drill.receiver)
        if old is not None and old.drill == drill:
            return old
        name = PREFIX + drill.receiver
        course = Course(drill, _check(name, drill, self._probe(drill.receiver)), next_time(drill, self.now))
        if old is not None:
            course.last, course.problem = old.last, old.problem
        return course

    def _probe(self, receiver: str) -> Callable[[Probe], Awaitable[None]]:
        async def look(probe: Probe) -> None:
            course = self.courses[receiver]
            if course.last is not None:
                probe.record("drill_age_seconds", max(0.0, self.now - course.last.at))
            if problem := await self.look(course):
                raise CheckFailed(problem, reason=Reason.ABSENT)

        return look


def next_time(drill: Drill, after: float) -> float:
    """Return when a drill is due next (seconds since the epoch)."""
    return next_cron_time(drill.schedule, after)


def _check(name: str, drill: Drill, look: Callable[[Probe], Awaitable[None]]) -> CheckConfig:
    class DrillCheck(Check):
        async def run(self, probe: Probe) -> None:
            await look(probe)

    policy = Policy(broken=Latch(), remind=REMIND, flapping=None, missed=None, interval=EVERY)
    return CheckConfig(
        name, "heartbeat.drill", DrillCheck(), name, Interval(EVERY), TIMEOUT, policy, notify=Routes(drill.alert)
    )

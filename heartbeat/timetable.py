"""When each check is due next: a heap of slots on the wall clock, and one of the coming moment's on the steady clock.

A heap instead of a job per check, because a job of APScheduler's costs a wake-up, two dates and a kilobyte for each
slot (``make bench`` shows the difference); and one timer on the loop for the next of the coming slots instead of one
for each, which costs as much as all else here. Nothing in the heaps is ever taken out: a plan that was changed no
longer agrees with it, and it is passed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import count
from math import ceil, inf
from time import monotonic, time
from zoneinfo import ZoneInfo

from cronsim import CronSim

from heartbeat.check import Expected
from heartbeat.core.schedule import Cron, Schedule, first_slot, phase_of, slot_after

BEYOND = 0.0005
"""Seconds past a slot from which the next one is sought, so that rounding never yields the same one twice."""
GRAIN = 0.001
"""The grain of uvloop's timers, in seconds: with it on top they are never early, and never spin."""
SLACK = 1000
"""How many entries that mean nothing any more the heap may hold before it is made anew."""


class Plan:
    """The schedule of one check, with where its slots lie and which one is next."""

    __slots__ = ("name", "phase", "schedule", "slot")

    def __init__(self, name: str, schedule: Schedule, now: float, *, is_new: bool) -> None:
        self.name = name
        self.schedule = schedule
        self.phase = 0.0 if isinstance(schedule, Cron) else phase_of(name, schedule.seconds)
        self.slot = first_slot(name, schedule.seconds, now) if is_new and not isinstance(schedule, Cron) else 0.0
        if not self.slot:
            self.go_on(now)

    def go_on(self, now: float) -> None:
        """Take the first slot after now, in constant time however many were missed."""
        if isinstance(self.schedule, Cron):
            self.slot = next_cron_time(self.schedule, now)
        else:
            self.slot = slot_after(self.phase, self.schedule.seconds, now + BEYOND)


class Appointment:
    """One time at which a check is due, and none after that until it is planned again."""

    __slots__ = ("name", "slot")

    def __init__(self, name: str, slot: float) -> None:
        self.name = name
        self.slot = slot

    def go_on(self, now: float) -> None:
        """Have it behind us once it is past; one that lies ahead stays."""
        if self.slot <= now:
            self.slot = inf


class Timetable:
    """Calls ``fire(name, slot)`` on the running loop when a check is due, as long as somebody turns its pages."""

    def __init__(
        self,
        fire: Callable[[str, float], None],
        now: Callable[[], float] = time,
        steady: Callable[[], float] = monotonic,
    ) -> None:
        self._fire = fire
        self._now = now
        self._steady = steady
        self._plans: dict[str, Plan | Appointment] = {}
        self._queue: list[tuple[float, str]] = []
        self._horizon = 0.0
        """Slots before it are armed; 0 before the first turn, and after the last."""
        self._armed: list[tuple[float, int, Plan | Appointment, float]] = []
        """The slots of the coming moment, with their time on the steady clock, the next one first."""
        self._number = count()
        self._wakes_at = inf
        """When the first of our timers goes off, on the steady clock."""

    def plan(self, name: str, schedule: Schedule, *, is_new: bool) -> None:
        """Plan a check, in place of what was planned for it. One that is new runs soon, others on their next slot."""
        plan = self._plans[name] = Plan(name, schedule, self._now(), is_new=is_new)
        self._enter(plan)

    def appoint(self, name: str, slot: float) -> None:
        """Plan a check for one time, in place of what was planned for it."""
        plan = self._plans[name] = Appointment(name, slot)
        self._enter(plan)

    def drop(self, name: str) -> None:
        """Plan a check no more."""
        self._plans.pop(name, None)

    def next_slot(self, name: str) -> float | None:
        """Return when a check is due next."""
        plan = self._plans.get(name)
        return plan.slot if plan and plan.slot < inf else None

    def turn(self, ahead: float) -> None:
        """Give a timer to each slot of the coming seconds."""
        self._horizon = self._now() + ahead
        while self._queue and self._queue[0][0] < self._horizon:
            slot, name = heappop(self._queue)
            plan = self._plans.get(name)
            if plan is not None and plan.slot == slot:
                self._arm(plan)
        if len(self._queue) > 2 * len(self._plans) + SLACK:
            self._remake()

    def rearm(self) -> None:
        """Plan every check anew from the present wall clock, which has been stepped; appointments stay as they are."""
        now = self._now()
        for plan in self._plans.values():
            if isinstance(plan, Plan):
                plan.go_on(now)
        self._remake()
        self._horizon = 0.0

    def stop(self) -> None:
        """Fire no more."""
        self._plans, self._queue, self._armed, self._horizon = {}, [], [], 0.0

    def _remake(self) -> None:
        self._queue = [(plan.slot, plan.name) for plan in self._plans.values() if plan.slot < inf]
        heapify(self._queue)  # what is armed may be armed once more: the first that comes makes the others void

    def _enter(self, plan: Plan | Appointment) -> None:
        if plan.slot < self._horizon:
            self._arm(plan)
        elif plan.slot < inf:
            heappush(self._queue, (plan.slot, plan.name))

    def _arm(self, plan: Plan | Appointment) -> None:
        at = self._steady() + max(0.0, plan.slot - self._now())
        heappush(self._armed, (at, next(self._number), plan, plan.slot))
        if at < self._wakes_at:
            self._set_timer(at)

    def _set_timer(self, at: float) -> None:
        """Wake up at a time, too; a timer for a later one is left to find nothing to do."""
        self._wakes_at = at
        delay = max(0.0, at - self._steady()) + GRAIN
        asyncio.get_running_loop().call_later(delay, self._wake, at)

    def _wake(self, at: float) -> None:
        """Let all that is due by now come due."""
        if at != self._wakes_at:
            return
        now = self._steady()
        try:
            while self._armed and self._armed[0][0] <= now:
                _, _, plan, slot = heappop(self._armed)
                self._come_due(plan, slot)
        finally:  # a mistake with one check must not end the schedule of all
            self._wakes_at = inf
            if self._armed:
                self._set_timer(self._armed[0][0])

    def _come_due(self, plan: Plan | Appointment, slot: float) -> None:
        if plan.slot != slot or self._plans.get(plan.name) is not plan:
            return
        plan.go_on(max(slot, self._now()))
        self._enter(plan)
        self._fire(plan.name, slot)


def expect(schedule: Schedule, listening: float) -> Expected:
    """Return when reports are expected that come by a schedule: so long after the last one, or at the cron's times.

    Args:
        schedule: of the check that is reported to.
        listening: since when reports have been able to reach us.
    """
    if isinstance(schedule, Cron):
        return Expected(partial(_next_of_cron, schedule), listening, fixed=True)
    return Expected(partial(_next_in_rhythm, schedule.seconds), listening)


def _next_of_cron(cron: Cron, after: float, not_before: float) -> float:
    return next_cron_time(cron, max(after, not_before - BEYOND))


def _next_in_rhythm(interval: float, after: float, not_before: float) -> float:
    return after + interval * max(1, ceil((not_before - after) / interval))


def next_cron_time(cron: Cron, after: float) -> float:
    """Return the first time of a cron expression after a moment, read on the clocks of its zone (DST as in Debian)."""
    return next(cron_times(cron, after))


def cron_times(cron: Cron, after: float) -> Iterator[float]:
    """Yield the times of a cron expression after a moment.

    In the hour that comes twice cronsim begins with times that are past.
    """
    for found in CronSim(cron.expression, datetime.fromtimestamp(after, ZoneInfo(cron.timezone))):
        if (start := found.timestamp()) > after:
            yield start

"""The schedule: APScheduler turns the pages of the timetable, with a trigger, a job store and an executor of our own.

Those are its public extension points. Left to itself it stops firing when the wall clock is set back, because its
job's next time lies in a future that has moved away; ``rearm`` plans everything anew. When the clock is set forward
all slots come at once; ``fire`` is told the slot and can see that the time has not come.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import time
from typing import Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from heartbeat.core.schedule import Schedule
from heartbeat.timetable import Timetable

PERIOD = timedelta(seconds=0.5)
"""Between two turns of the timetable."""
AHEAD = 0.75
"""Seconds that a turn looks ahead: a turn may be late by the difference before a slot is."""
TOLERANCE = timedelta(milliseconds=1)
"""uvloop's timers have a grain of 1 ms: one armed for less than that spins until the time has come."""
TURN = "timetable"


class TurnTrigger(BaseTrigger):  # type: ignore[misc]  # apscheduler ships no types
    """Now, and then once a period; what was missed is not made up for."""

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return when to turn next."""
        return now + PERIOD if previous_fire_time else now


class TurnStore(MemoryJobStore):  # type: ignore[misc]  # apscheduler ships no types
    """Jobs in memory; the scheduler is woken a grain after their time instead of before it."""

    def get_next_run_time(self) -> datetime | None:
        """Return when the scheduler has something to do."""
        due: datetime | None = super().get_next_run_time()
        return due and due + TOLERANCE


class DirectExecutor(BaseExecutor):  # type: ignore[misc]  # apscheduler ships no types
    """Calls a function on the loop, at once, without the bookkeeping of jobs that may overlap."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__()
        self._work = work

    def submit_job(self, job: Any, run_times: list[datetime]) -> None:  # noqa: ARG002 - the contract of an executor
        """Do it, once however many times were missed."""
        self._work()

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        """Never called: ``submit_job`` needs none of what surrounds it. The base class declares it abstract."""


class Scheduler:
    """Calls ``fire(name, slot)`` on the running loop whenever a check is due."""

    def __init__(self, fire: Callable[[str, float], None]) -> None:
        self._timetable = Timetable(fire)
        self._scheduler = AsyncIOScheduler(
            timezone=UTC,
            jobstores={"default": TurnStore()},
            executors={"default": DirectExecutor(self._turn)},
            job_defaults={"misfire_grace_time": None, "coalesce": True},
        )
        self._job = self._scheduler.add_job(_nothing, TurnTrigger(), id=TURN, name=TURN)
        self.planned: dict[str, float] = {}
        """When each check was planned, or planned anew: slots before that are not asked for."""
        self.next_run = self._timetable.next_slot
        self.is_off: Callable[[str], bool] = lambda _: False
        """Says whether a check is switched off: it has no slots then."""
        self.due: Callable[[str], float | None] = lambda _: None
        """Says when a check that has no slots is due: one that is reported to; None for others."""
        self.appointed: set[str] = set()
        """The checks that are reported to, as far as they are planned."""

    def start(self) -> None:
        """Begin to fire."""
        self._scheduler.start()

    def stop(self) -> None:
        """Fire no more."""
        self._scheduler.shutdown(wait=False)
        self._timetable.stop()

    def plan(self, name: str, schedule: Schedule, *, is_new: bool) -> None:
        """Plan a check, in place of what was planned for it. One that is new runs soon, others on their next slot."""
        if self.is_off(name):
            self.drop(name)
        elif (at := self.due(name)) is not None:
            self.planned.pop(name, None)
            self.appoint(name, at)
        else:
            self.appointed.discard(name)
            self._timetable.plan(name, schedule, is_new=is_new)
            self.planned[name] = time()

    def appoint(self, name: str, at: float) -> None:
        """Plan a check for one time. It is not in ``planned``: it misses nothing while it does not run."""
        if not self.is_off(name):
            self.appointed.add(name)
            self._timetable.appoint(name, at)

    def drop(self, name: str) -> None:
        """Plan a check no more."""
        self._timetable.drop(name)
        self.planned.pop(name, None)
        self.appointed.discard(name)

    def rearm(self) -> None:
        """Plan every check anew from the present wall clock, which has been stepped."""
        self._timetable.rearm()
        self._job.modify(next_run_time=datetime.now(UTC))
        self.planned = dict.fromkeys(self.planned, time())
        for name in self.appointed:
            if (at := self.due(name)) is not None:
                self._timetable.appoint(name, at)

    def _turn(self) -> None:
        self._timetable.turn(AHEAD)


def _nothing() -> None:
    """Stand in for the function that APScheduler wants of a job: our executor knows what to do."""

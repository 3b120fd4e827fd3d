"""The schedule: APScheduler with a trigger, a job store and an executor of our own, its public extension points.

Left to itself it stops firing when the wall clock is set back, because a job's next time lies in a future that has
moved away; ``rearm`` plans every check anew. It fires everything at once when the clock is set forward; ``fire`` is
told the slot and can see that the time has not come.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import time
from typing import Any
from zoneinfo import ZoneInfo

from apscheduler.executors.base import BaseExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from cronsim import CronSim

from heartbeat.core.schedule import Cron, Schedule, first_slot, next_slot

TOLERANCE = timedelta(milliseconds=1)
"""uvloop's timers have a grain of 1 ms: one armed for less than that spins until the time has come."""
BEYOND = 0.0005
"""Seconds past a slot from which the next one is sought, so that rounding never yields the same one twice."""


class SlotTrigger(BaseTrigger):  # type: ignore[misc]  # apscheduler ships no types
    """The slots of one check. Jumps over those that were missed, in constant time."""

    def __init__(self, name: str, schedule: Schedule, *, is_new: bool) -> None:
        self.name = name
        self.schedule = schedule
        self.is_new = is_new

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return the first slot after now."""
        after = max(previous_fire_time or now, now)
        if isinstance(self.schedule, Cron):
            return next_cron_time(self.schedule, after)
        if previous_fire_time is None and self.is_new:
            return as_datetime(first_slot(self.name, self.schedule.seconds, now.timestamp()))
        return as_datetime(next_slot(self.name, self.schedule.seconds, after.timestamp() + BEYOND))


class SlotStore(MemoryJobStore):  # type: ignore[misc]  # apscheduler ships no types
    """Jobs in memory; the scheduler is woken a grain after the slot instead of before it."""

    def get_next_run_time(self) -> datetime | None:
        """Return when the scheduler has something to do."""
        due: datetime | None = super().get_next_run_time()
        return due and due + TOLERANCE


class DirectExecutor(BaseExecutor):  # type: ignore[misc]  # apscheduler ships no types
    """Fires on the loop, at once: what that starts is a task, and overlap is decided there."""

    def __init__(self, fire: Callable[[str, float], None]) -> None:
        super().__init__()
        self._fire = fire

    def submit_job(self, job: Any, run_times: list[datetime]) -> None:
        """Fire for the newest of the times."""
        self._fire(job.id, run_times[-1].timestamp())

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        """Never called: ``submit_job`` needs none of what surrounds it. The base class declares it abstract."""


class Scheduler:
    """Calls ``fire(name, slot)`` on the running loop whenever a check is due."""

    def __init__(self, fire: Callable[[str, float], None]) -> None:
        self._scheduler = AsyncIOScheduler(
            timezone=UTC,
            jobstores={"default": SlotStore()},
            executors={"default": DirectExecutor(fire)},
            job_defaults={"misfire_grace_time": None, "coalesce": True},
        )
        self.planned: dict[str, float] = {}
        """When each check was planned, or planned anew: slots before that are not asked for."""

    def start(self) -> None:
        """Begin to fire."""
        self._scheduler.start()

    def stop(self) -> None:
        """Fire no more."""
        self._scheduler.shutdown(wait=False)

    def plan(self, name: str, schedule: Schedule, *, is_new: bool) -> None:
        """Plan a check, in place of what was planned for it. One that is new runs soon, others on their next slot."""
        trigger = SlotTrigger(name, schedule, is_new=is_new)
        self._scheduler.add_job(_nothing, trigger, id=name, name=name, replace_existing=True)
        self.planned[name] = time()

    def drop(self, name: str) -> None:
        """Plan a check no more."""
        self._scheduler.remove_job(name)
        self.planned.pop(name, None)

    def next_run(self, name: str) -> float | None:
        """Return when a check is due next."""
        job = self._scheduler.get_job(name)
        return job.next_run_time.timestamp() if job and job.next_run_time else None

    def rearm(self) -> None:
        """Plan every check anew from the present wall clock, which has been stepped."""
        now = datetime.now(UTC)
        for job in self._scheduler.get_jobs():
            job.modify(next_run_time=job.trigger.get_next_fire_time(now, now))
        self.planned = dict.fromkeys(self.planned, now.timestamp())


def _nothing() -> None:
    """Stand in for the function that APScheduler wants of a job: our executor knows what to do."""


def as_datetime(at: float) -> datetime:
    """Return the moment as an aware datetime."""
    return datetime.fromtimestamp(at, UTC)


def next_cron_time(cron: Cron, after: datetime) -> datetime:
    """Return the first time of a cron expression after a moment, read on the clocks of its zone (DST as in Debian)."""
    local = after.astimezone(ZoneInfo(cron.timezone))
    found: datetime = next(CronSim(cron.expression, local))
    return found.astimezone(UTC)

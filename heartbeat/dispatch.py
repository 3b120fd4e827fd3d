"""From a slot to a run: who may start, who is missed and why. Under overload we skip and count, never queue."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from math import inf
from typing import Any, TypeVar

import structlog

from heartbeat.check import Reported
from heartbeat.clock import PAUSE
from heartbeat.core.advance import needs_recheck
from heartbeat.core.model import Reason, Verdict
from heartbeat.core.schedule import Interval, skipped_slots, slot_at
from heartbeat.core.standing import LOOKS_APART
from heartbeat.line import Line, record_again, run_slot
from heartbeat.log import is_verbose
from heartbeat.metrics.instruments import Instruments
from heartbeat.state import Live, State

T = TypeVar("T")
log = structlog.get_logger()

EARLY = 0.5
"""Seconds that a slot may lie ahead of the steady clock; one further ahead comes from a wall clock that was stepped."""

LOOK = 1
"""The attempt of a run that another check asks for: as a second look it decides, and is no sample of availability."""

FAREWELL = 1.0
"""Seconds at the end for what the store could not take before."""


class Dispatch:
    """Starts runs on the loop and keeps hold of them."""

    def __init__(self, line: Line, state: State, instruments: Instruments, concurrency: int) -> None:
        self.line = line
        self.state = state
        self.instruments = instruments
        self.concurrency = concurrency
        self.tasks: set[asyncio.Task[Any]] = set()
        self.late = 0.0
        """How late the latest run started, in seconds."""
        self.overloaded_at: float | None = None
        self.awake_since = 0.0
        """When we last went on after a standstill; that slots before it are late is not our fault."""
        self.listening = line.clock.now()
        """Since when all that others report has reached us, and is dated by one clock."""
        self.looked: dict[str, float] = {}
        """When each check was last run because another asked for it, on the steady clock."""

    def fire(self, name: str, slot: float) -> None:
        """Start the run of a slot, or count why there is none."""
        live, now = self.state.checks.get(name), self.line.clock.now()
        if live is None or slot > now + EARLY or self.line.closing.is_set():
            return
        self.late = max(0.0, now - max(slot, self.awake_since))
        self.instruments.lateness.observe(max(0.0, now - slot))
        slot = self._skip_to_latest(live, slot, now)
        if name in self.line.running:
            self.miss(live, Reason.BUSY)
        elif len(self.line.running) >= self.concurrency:
            self.overloaded_at = now
            self.miss(live, Reason.OVERLOAD)
        else:
            _ = self._start(live, slot)

    async def run_now(self, live: Live) -> Verdict | None:
        """Run a check out of turn, to the end also when nobody waits any more; None where it is running already."""
        if live.config.name in self.line.running:
            return None
        return await asyncio.shield(self._start(live, self.line.clock.now()))

    async def run_within(self, live: Live) -> Verdict | None:
        """Do the same in the task of the caller, which is one that is held: reports come by the thousand."""
        if live.config.name in self.line.running:
            return None
        self.line.running.add(live.config.name)
        return await run_slot(self.line, live, self.line.clock.now())

    def look_at(self, name: str) -> None:
        """Run a check at once, as another wants to know how it is; who still wants to know in a second asks again.

        It runs once however many ask, and leaves half of what may run at once to the slots.
        """
        live, steady = self.state.checks.get(name), self.line.clock.steady()
        if live is None or name in self.line.running or self.line.closing.is_set():
            return
        if isinstance(live.config.check, Reported):  # it knows what it was told, and no more
            return
        if len(self.line.running) >= max(1, self.concurrency // 2):
            return
        if steady >= self.looked.get(name, -inf) + LOOKS_APART:
            self.looked = {one: at for one, at in self.looked.items() if at + LOOKS_APART > steady} | {name: steady}
            _ = self._start(live, self.line.clock.now(), LOOK)

    def resume(self) -> None:
        """Take the second looks for which an earlier life of the daemon ended too soon."""
        for name, live in self.state.checks.items():
            if live.verdict and needs_recheck(live.status, live.verdict, live.config.policy):
                self.look_at(name)

    def miss(self, live: Live, reason: Reason, count: int = 1) -> None:
        """Count runs that did not take place."""
        live.miss(reason, count, self.line.clock.now())
        self.instruments.missed_runs.labels(reason.value).inc(count)
        if is_verbose():
            log.debug("missed", check=live.config.name, reason=reason, count=count)

    def spawn(self, work: Coroutine[Any, Any, object], name: str) -> None:
        """Let something happen beside everything else; what it raises is a mistake of ours, and logged as one."""
        _ = self.hold(work, name)

    def hold(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Do the same for who waits for it; it goes on where they do so no more."""
        task = asyncio.get_running_loop().create_task(work, name=f"line {name}")
        self.tasks.add(task)
        task.add_done_callback(self._end)
        return task

    def wake(self) -> None:
        """Go on after the machine slept, or the process was stopped: what is late now is late for that."""
        self.late, self.awake_since = 0.0, self.line.clock.now()
        self.listening = self.awake_since

    def shift(self, seconds: float) -> None:
        """Move all times that are held, after a step of the wall clock."""
        self.awake_since += seconds
        self.listening = self.line.clock.now()
        if self.overloaded_at is not None:
            self.overloaded_at += seconds

    async def drain(self, grace: float) -> None:
        """Begin nothing new, and wait for what is under way, at most ``grace`` seconds; then give it up."""
        self.line.closing.set()
        if self.tasks:
            _, late = await asyncio.wait(set(self.tasks), timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await record_again(self.line)

    def _start(self, live: Live, slot: float, attempt: int = 0) -> asyncio.Task[Verdict]:
        name = live.config.name
        self.line.running.add(name)  # at once: at this very moment others may be due, or ask for the same
        return self.hold(run_slot(self.line, live, slot, attempt), name)

    def _skip_to_latest(self, live: Live, slot: float, now: float) -> float:
        schedule = live.config.schedule
        if not isinstance(schedule, Interval) or now - slot < schedule.seconds:
            return slot
        skipped = skipped_slots(live.config.name, schedule.seconds, slot, now)
        if not skipped:
            return slot
        was_stopped = slot < self.awake_since or self.line.clock.since_tick() > PAUSE
        self.miss(live, Reason.PAUSED if was_stopped else Reason.LATE, skipped)
        return slot_at(live.config.name, schedule.seconds, now)

    def _end(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            name = task.get_name().removeprefix("line ")
            log.critical("a run broke inside the daemon; please report this", check=name, exc_info=error)

"""From a slot to a run: who may start, who is missed and why. Under overload we skip and count, never queue."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from heartbeat.core.model import Reason, Verdict
from heartbeat.core.schedule import Interval, skipped_slots, slot_at
from heartbeat.line import Line, run_slot
from heartbeat.metrics.instruments import Instruments
from heartbeat.state import Live, State

log = structlog.get_logger()

EARLY = 0.5
"""Seconds that a slot may lie ahead of the steady clock; one further ahead comes from a wall clock that was stepped."""


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

    def fire(self, name: str, slot: float) -> None:
        """Start the run of a slot, or count why there is none."""
        live, now = self.state.checks.get(name), self.line.clock.now()
        if live is None or slot > now + EARLY:
            return
        self.late = max(0.0, now - slot)
        self.instruments.lateness.observe(self.late)
        slot = self._skip_to_latest(live, slot, now)
        if name in self.line.running:
            self.miss(live, Reason.BUSY)
        elif len(self.line.running) >= self.concurrency:
            self.overloaded_at = now
            self.miss(live, Reason.OVERLOAD)
        else:
            self.spawn(run_slot(self.line, live, slot), name)

    async def run_now(self, live: Live) -> Verdict | None:
        """Run a check out of turn; None where it is running already."""
        if live.config.name in self.line.running:
            return None
        return await run_slot(self.line, live, self.line.clock.now())

    def miss(self, live: Live, reason: Reason, count: int = 1) -> None:
        """Count runs that did not take place."""
        live.miss(reason, count)
        self.instruments.missed_runs.labels(reason.value).inc(count)
        log.debug("missed", check=live.config.name, reason=reason, count=count)

    def spawn(self, work: Coroutine[Any, Any, object], name: str) -> None:
        """Let something happen beside everything else; what it raises is a mistake of ours, and logged as one."""
        task = asyncio.get_running_loop().create_task(work, name=f"line {name}")
        self.tasks.add(task)
        task.add_done_callback(self._end)

    async def drain(self, grace: float) -> None:
        """Wait for what is under way, at most ``grace`` seconds, then give it up."""
        if self.tasks:
            _, late = await asyncio.wait(set(self.tasks), timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _skip_to_latest(self, live: Live, slot: float, now: float) -> float:
        schedule = live.config.schedule
        if not isinstance(schedule, Interval):
            return slot
        skipped = skipped_slots(live.config.name, schedule.seconds, slot, now)
        if not skipped:
            return slot
        self.miss(live, Reason.LATE, skipped)
        return slot_at(live.config.name, schedule.seconds, now)

    def _end(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            name = task.get_name().removeprefix("line ")
            self.line.running.discard(name)
            log.critical("a run broke inside the daemon; please report this", check=name, exc_info=error)

"""Once a second: what happened to time, who is to be reminded, what the store can take again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

import structlog

from heartbeat.clock import ClockChange, Jump
from heartbeat.dispatch import Dispatch
from heartbeat.lag import LagMeter
from heartbeat.line import record_again, take_tick
from heartbeat.scheduler import Scheduler

log = structlog.get_logger()

PERIOD = 1.0


class Ticker:
    """Keeps the daemon's time. ``beat`` is when it last ticked, on the monotonic clock."""

    def __init__(self, dispatch: Dispatch, scheduler: Scheduler, lag: LagMeter, look: Callable[[], None]) -> None:
        self.beat = monotonic()
        self._dispatch = dispatch
        self._scheduler = scheduler
        self._lag = lag
        self._look = look
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to tick."""
        self._timer = asyncio.get_running_loop().call_later(PERIOD, self._tick)

    def stop(self) -> None:
        """Tick no more."""
        if self._timer:
            self._timer.cancel()

    def _tick(self) -> None:
        self.start()
        self.beat = monotonic()
        line, instruments = self._dispatch.line, self._dispatch.instruments
        for change in line.clock.tick(PERIOD):
            self._take_change(change)
        now = line.clock.now()
        instruments.last_tick_timestamp.set(now)
        instruments.loop_lag.observe(self._lag.take_worst())
        self._remind(now)
        if line.unrecorded and not line.store.failing:
            self._dispatch.spawn(record_again(line), "record again")
        self._look()

    def _take_change(self, change: ClockChange) -> None:
        """Move all times that we hold, and plan anew: a stepped clock raises and clears nothing."""
        log.warning("the clock changed", kind=change.kind, seconds=round(change.seconds, 3))
        self._dispatch.instruments.clock_changes.labels(change.kind.value).inc()
        if change.kind is Jump.STEP:
            for live in self._dispatch.state.checks.values():
                live.shift(change.seconds)
            self._dispatch.shift(change.seconds)
            self._scheduler.rearm()
        else:
            self._dispatch.wake()

    def _remind(self, now: float) -> None:
        for name, live in self._dispatch.state.checks.items():
            if live.status.wake_at is not None and live.status.wake_at <= now:
                self._dispatch.spawn(take_tick(self._dispatch.line, live), name)

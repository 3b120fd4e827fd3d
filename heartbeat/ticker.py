"""Once a second: what happened to time, who is to be told, what does not run, what the store can take again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

import structlog

from heartbeat.absence import Absences
from heartbeat.clock import ClockChange, Jump
from heartbeat.dispatch import Dispatch
from heartbeat.lag import LagMeter
from heartbeat.line import record_again, take, tick_of
from heartbeat.quiet.storms import NETWORK
from heartbeat.quiet.surroundings import Surroundings
from heartbeat.scheduler import Scheduler

log = structlog.get_logger()

PERIOD = 1.0
AT_ONCE = 1000
"""How many checks are told of, or looked at again, in a second."""


class Ticker:
    """Keeps the daemon's time. ``beat`` is when it last ticked, on the monotonic clock."""

    def __init__(
        self,
        dispatch: Dispatch,
        scheduler: Scheduler,
        lag: LagMeter,
        look: Callable[[], None],
        surroundings: Surroundings,
    ) -> None:
        self.beat = monotonic()
        self._surroundings = surroundings
        self._absences = Absences(dispatch, scheduler)
        self._turn = 0
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
        if self._surroundings.storms.look(now):
            self._dispatch.look_at(NETWORK)
        self._tell(now)
        for live, absence in self._absences.find():
            self._dispatch.spawn(take(line, live, absence), live.config.name)
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
            self._surroundings.shift(change.seconds)
            self._scheduler.rearm()
        else:
            self._dispatch.wake()
            self._surroundings.wake(self._dispatch.awake_since)

    def _tell(self, now: float) -> None:
        """Remind, and tell what was kept back; what still is may have to be looked at."""
        line, lives = self._dispatch.line, self._dispatch.state.checks.values()
        due = [live for live in lives if (at := live.status.wake_at) is not None and at <= now]
        if len(due) > AT_ONCE:  # most of them are kept back, and looked at again and again
            begin = self._turn = self._turn if self._turn < len(due) else 0
            self._turn += AT_ONCE
            due = due[begin : begin + AT_ONCE]
        for live in due:
            if tick := tick_of(line, live, now):
                self._dispatch.spawn(take(line, live, tick), live.config.name)
            else:
                self._surroundings.look_around(live, now)

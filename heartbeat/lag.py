"""How long our own loop stood still: what a run measured during such a time is ours, not the target's."""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic, perf_counter

PERIOD = 0.05
NOTICEABLE = 0.005


class LagMeter:
    """Wakes up twenty times a second and notes how late it was. ``beat`` tells the watchdog that the loop lives."""

    def __init__(self) -> None:
        self.beat = monotonic()
        self._worst = 0.0
        self._late: deque[tuple[float, float]] = deque(maxlen=1000)
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to measure the running loop."""
        self._due = perf_counter() + PERIOD
        self._timer = asyncio.get_running_loop().call_later(PERIOD, self._wake)

    def stop(self) -> None:
        """Measure no more."""
        if self._timer:
            self._timer.cancel()

    def worst_since(self, started: float) -> float:
        """Return the longest standstill in seconds that reached past ``started`` (on ``perf_counter``)."""
        standing = perf_counter() - self._due if self._timer else 0.0
        worst = standing if standing >= NOTICEABLE else 0.0
        for woke, late in reversed(self._late):
            if woke < started:
                break
            worst = max(worst, min(late, woke - started))
        return worst

    def take_worst(self) -> float:
        """Return the longest standstill since the last call, in seconds."""
        worst, self._worst = self._worst, 0.0
        return worst

    def _wake(self) -> None:
        now = perf_counter()
        self.beat = monotonic()
        late = max(0.0, now - self._due)
        self._worst = max(self._worst, late)
        if late >= NOTICEABLE:
            self._late.append((now, late))
        self.start()

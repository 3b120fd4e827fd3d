"""The clock: wall time that runs on smoothly until the ticker says, in one place, that it was stepped.

Between two ticks ``now`` advances with CLOCK_BOOTTIME, so no run is judged on a clock that has jumped. When the ticker
finds a step it re-anchors and returns it, and the daemon moves all times it holds by the same amount: differences stay
what they were, and a step raises or clears nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from time import CLOCK_BOOTTIME, clock_gettime, monotonic  # the functions themselves: a plugin may replace the module's
from time import time as wall

STEP = 0.5
"""Seconds that wall and elapsed time may drift apart between two ticks before it is a step (NTP slews 0.5 ms/s)."""
PAUSE = 5.0
"""Seconds that a tick may be late before the process must have been stopped or starved."""


class Jump(StrEnum):
    """What can happen to time between two ticks."""

    STEP = "step"
    SUSPEND = "suspend"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class Reading:
    """The three clocks, read at one moment."""

    wall: float
    monotonic: float
    boottime: float


@dataclass(frozen=True, slots=True)
class ClockChange:
    """Something happened to time: ``seconds`` is how far the wall was stepped, or how long we stood still."""

    kind: Jump
    seconds: float


def read_clocks() -> Reading:
    """Read the system's clocks."""
    return Reading(wall(), monotonic(), clock_gettime(CLOCK_BOOTTIME))


def _read_boottime() -> float:
    return clock_gettime(CLOCK_BOOTTIME)


def compare(anchor: Reading, before: Reading, after: Reading, period: float) -> tuple[ClockChange, ...]:
    """Tell a step, a suspend and a pause apart.

    ``before`` and ``after`` should lie ``period`` seconds apart. A step is measured against the anchor, so that many
    small ones add up to one.
    """
    elapsed = after.boottime - before.boottime
    awake = after.monotonic - before.monotonic
    drift = (after.wall - anchor.wall) - (after.boottime - anchor.boottime)
    changes = []
    if abs(drift) >= STEP:
        changes.append(ClockChange(Jump.STEP, drift))
    if elapsed - awake >= STEP:
        changes.append(ClockChange(Jump.SUSPEND, elapsed - awake))
    if awake - period >= PAUSE:
        changes.append(ClockChange(Jump.PAUSE, awake - period))
    return tuple(changes)


class Clock:
    """Seconds since the epoch, steady between ticks."""

    def __init__(self, read: Callable[[], Reading] = read_clocks) -> None:
        self._read = read
        # The one clock that is read several times in each run; the others only matter to the ticker.
        self._boottime = _read_boottime if read is read_clocks else lambda: read().boottime
        self._anchor = self._last = read()

    def now(self) -> float:
        """Return the time on the steady clock."""
        return self._anchor.wall + self._boottime() - self._anchor.boottime

    def steady(self) -> float:
        """Return seconds that nobody can set back: they tell what came first, and nothing else."""
        return self._boottime()

    def since_tick(self) -> float:
        """Return how long ago the last tick was, with the time that the machine slept."""
        return self._boottime() - self._last.boottime

    def tick(self, period: float) -> tuple[ClockChange, ...]:
        """Look what happened since the last tick, ``period`` seconds ago.

        After a step the clock stands on the new time, and the caller moves all times that it holds.
        """
        before, self._last = self._last, self._read()
        changes = compare(self._anchor, before, self._last, period)
        if any(change.kind is Jump.STEP for change in changes):
            self._anchor = self._last
        return changes

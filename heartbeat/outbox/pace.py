"""How long a delivery waits between attempts, and how often it is tried."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

DELAYS = (0.0, 2.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Seconds before each attempt; the last one repeats."""
PATIENCE = 72 * 3600.0
ATTEMPTS = len(DELAYS) + int((PATIENCE - sum(DELAYS)) // DELAYS[-1])
"""As many as 72 hours hold. Counted, not timed: a clock that jumps ten years kills no message."""
JITTER = 0.2
LONGEST_WAIT = 3600.0
"""No wait is longer, whatever was asked for or written down."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The schedule of attempts, and the clock that waiting goes by. ``jitter`` returns a number in [0, 1)."""

    delays: tuple[float, ...] = DELAYS
    attempts: int = ATTEMPTS
    monotonic: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random

    def wait_after(self, attempts: int, retry_after: float | None = None) -> float:
        """Return the seconds before the next attempt; what the receiver asked for is the least."""
        planned = self.delays[min(attempts, len(self.delays) - 1)]
        spread = planned * (1 + JITTER * (2 * self.jitter() - 1))
        return min(max(spread, retry_after or 0.0), LONGEST_WAIT)

    def due(self, next_at: float, now: float) -> float:
        """Return when (monotonic) a delivery is due whose ``next_at`` was written down by another clock."""
        return self.monotonic() + min(max(next_at - now, 0.0), LONGEST_WAIT)

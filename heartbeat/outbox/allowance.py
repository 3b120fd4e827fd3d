"""How many messages one recipient may get: beyond it the batch stays open and grows into a digest."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

HOUR = 3600.0


@dataclass(slots=True)
class Allowance:
    """A token bucket: half of the hour's messages at once, the other half spread over the hour.

    So no hour has more than ``per_hour``, and after a burst the next digest is minutes away, not the rest of the hour.
    Times are on the monotonic clock.
    """

    per_hour: int
    tokens: float = field(default=inf)
    at: float = 0.0

    @property
    def burst(self) -> int:
        """How many may leave one right after the other."""
        return (self.per_hour + 1) // 2

    @property
    def seconds_each(self) -> float:
        """How long it takes until one more may leave."""
        return HOUR / max(1, self.per_hour - self.burst)

    def free_at(self) -> float:
        """Return from when one may leave."""
        return self.at + max(0.0, 1.0 - min(self.tokens, self.burst)) * self.seconds_each

    def take(self, now: float) -> None:
        """Let one leave."""
        self.tokens = self._at(now) - 1.0
        self.at = now

    def give_back(self) -> None:
        """Take back the latest: its receiver does not have it."""
        self.tokens += 1.0

    def _at(self, now: float) -> float:
        return min(self.burst, self.tokens + (now - self.at) / self.seconds_each)


UNLIMITED = Allowance(per_hour=3600)
"""For machines; nothing is ever taken from it."""

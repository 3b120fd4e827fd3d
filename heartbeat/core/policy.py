"""Policies: when to raise and when to clear, when to look again, and when to remind."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Latch:
    """When a latch sets and clears: ``raise_`` of the last ``window`` verdicts reach it; the last ``clear`` do not."""

    raise_: int = 1
    window: int = 1
    clear: int = 1

    @property
    def memory(self) -> int:
        """How many verdicts the latch needs to remember."""
        return max(self.window, self.clear)


@dataclass(frozen=True, slots=True)
class Policy:
    """When to raise and when to clear, when to look again, and when to remind.

    ``recheck`` is how many seconds after a first failure the check runs again (None: never); ``remind`` is how many
    seconds lie between two reminders of an incident (None: never); ``interval`` is that of the check (None: cron).
    """

    latch: Latch = Latch()
    broken: Latch = Latch(raise_=3, window=3, clear=1)
    recheck: float | None = None
    remind: float | None = None
    interval: float | None = None

"""The status of a check: two latches, the track of broken checks, and the one function that advances them."""

from __future__ import annotations

from dataclasses import dataclass

from heartbeat.core.model import Severity


@dataclass(frozen=True, slots=True)
class Latch:
    """When a latch sets and clears: ``raise_`` of the last ``window`` verdicts reach it; the last ``clear`` do not."""

    raise_: int = 1
    window: int = 1
    clear: int = 1


@dataclass(frozen=True, slots=True)
class Policy:
    """When to raise and when to clear, when to look again, and when to remind.

    ``recheck`` is how many seconds after a first failure the check runs again (None: never); ``remind`` is how many
    seconds lie between two reminders of an incident (None: never).
    """

    latch: Latch = Latch()
    broken: Latch = Latch(raise_=3, window=3, clear=1)
    recheck: float | None = None
    remind: float | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """What we hold true of a check after its policy. Saved with every change, read back at the next start."""

    severity: Severity = Severity.OK
    broken: bool = False
    since: float | None = None
    """When the severity took its value."""


FRESH = Status()
"""The status of a check that has never run."""

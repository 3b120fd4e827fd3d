"""Slots: when a check is due. Anchored at the epoch, so that a restart moves nothing and nothing drifts.

All times are seconds since the epoch, on a grid of milliseconds, so that a slot survives a trip through a datetime.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from math import floor

FIRST_RUN_WITHIN = 30.0
"""A check that is new to a daemon waits at most this many seconds for its first run."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Every ``seconds``, on the slots ``phase + k * seconds``."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Cron:
    """At the times of a cron expression (five fields, names allowed) on the clocks of a time zone."""

    expression: str
    timezone: str = "UTC"


Schedule = Interval | Cron


def phase_of(name: str, interval: float) -> float:
    """Return where in the interval the slots of this check lie: spread by name, the same after a restart."""
    spread = int.from_bytes(blake2b(name.encode(), digest_size=8).digest()) / 2**64
    return round(spread * interval, 3)


def slot_at(name: str, interval: float, now: float) -> float:
    """Return the latest slot that is not after ``now``, in constant time."""
    return _slot_at(phase_of(name, interval), interval, now)


def next_slot(name: str, interval: float, now: float) -> float:
    """Return the first slot after ``now``, in constant time however far away it is."""
    return slot_after(phase_of(name, interval), interval, now)


def slot_after(phase: float, interval: float, now: float) -> float:
    """Return the first slot after ``now`` of a check whose phase is known."""
    return round(_slot_at(phase, interval, now) + interval, 3)


def _slot_at(phase: float, interval: float, now: float) -> float:
    count = floor((now - phase) / interval + 1e-6)  # a slot divided by its interval may come out a hair too small
    slot = round(phase + count * interval, 3)
    return slot if slot <= now else round(slot - interval, 3)


def first_slot(name: str, interval: float, now: float) -> float:
    """Return when a check that has never run is due: within its interval, and within 30 seconds."""
    return round(now + phase_of(name, min(interval, FIRST_RUN_WITHIN)), 3)


def skipped_slots(name: str, interval: float, due: float, now: float) -> int:
    """Return how many further slots have passed since ``due``: they are coalesced into one run."""
    return max(0, round((slot_at(name, interval, now) - slot_at(name, interval, due)) / interval))

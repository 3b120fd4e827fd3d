"""Slots: when a check is due. Anchored at the epoch, so that a restart moves nothing and nothing drifts."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from math import floor

FIRST_RUN_WITHIN = 30.0
"""A check that is new to a running daemon waits at most this many seconds for its first run."""


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
    return spread * interval


def slot_at(name: str, interval: float, now: float) -> float:
    """Return the latest slot that is not after ``now``, in constant time."""
    phase = phase_of(name, interval)
    return phase + floor((now - phase) / interval) * interval


def next_slot(name: str, interval: float, now: float) -> float:
    """Return the first slot after ``now``, in constant time however far away it is."""
    slot = slot_at(name, interval, now)
    while slot <= now:  # floating point may put the grid a hair before now
        slot += interval
    return slot

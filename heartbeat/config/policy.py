"""Policies in the configuration: when to raise, clear, look again and remind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from heartbeat.config.reading import Spot, Wrong, duration, fields, whole
from heartbeat.core.policy import Latch, Policy
from heartbeat.core.schedule import Interval, Schedule

WINDOW = 100
"""The longest list of verdicts that a policy may ask for."""
_OF = re.compile(r"([0-9]{1,4}) of ([0-9]{1,4})")
_OTHER_WORDS = {"failures": "raise", "failure_threshold": "raise", "threshold": "raise", "after": "raise",
                "success_threshold": "clear", "successes": "clear", "resolve": "clear", "repeat": "remind",
                "retry": "recheck", "retries": "recheck"}  # fmt: skip


def policy(spot: Spot) -> dict[str, Any]:
    """Read what is set of a policy; the rest comes from the defaults."""
    readers = {"raise": raising, "clear": whole(1, WINDOW), "recheck": optional_duration, "remind": optional_duration}
    return fields(spot, readers, _OTHER_WORDS)


def broken(spot: Spot) -> dict[str, Any]:
    """Read what is set of the policy for broken checks."""
    return fields(spot, {"raise": raising, "clear": whole(1, WINDOW)}, _OTHER_WORDS)


def raising(spot: Spot) -> tuple[int, int]:
    """Read ``3`` (in a row) or ``2 of 3`` as how many out of how many."""
    value = spot.node.value
    if isinstance(value, int) and not isinstance(value, bool):
        count, window = value, value
    elif isinstance(value, str) and (found := _OF.fullmatch(value)):
        count, window = int(found[1]), int(found[2])
    else:
        raise Wrong('must be a number of failures in a row, such as 3, or "2 of 3"')
    if not 1 <= count <= window <= WINDOW:
        raise Wrong(f"must be at least 1, at most all of them, and at most {WINDOW}")
    return count, window


def optional_duration(spot: Spot) -> float | None:
    """Read a duration of at least a second, or ``never``."""
    if spot.node.value in (None, "never"):
        return None
    return float(duration(minimum=1.0)(spot))


def make_policy(latch: Mapping[str, Any], track: Mapping[str, Any], schedule: Schedule) -> Policy:
    """Return the policy from what is set for the target and for the broken check, and from how often it runs."""
    usual = Policy()
    return Policy(
        latch=_latch(latch, usual.latch),
        broken=_latch(track, usual.broken),
        recheck=latch.get("recheck"),
        remind=latch.get("remind"),
        interval=schedule.seconds if isinstance(schedule, Interval) else None,
    )


def _latch(given: Mapping[str, Any], usual: Latch) -> Latch:
    count, window = given.get("raise", (usual.raise_, usual.window))
    return Latch(raise_=count, window=window, clear=given.get("clear", usual.clear))

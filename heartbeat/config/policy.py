"""Policies in the configuration: when to raise, clear, look again, remind and keep back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from heartbeat.config.reading import Reader, Spot, Wrong, convert, duration, fields, whole
from heartbeat.core.policy import Flapping, Latch, Policy
from heartbeat.core.schedule import Interval, Schedule
from heartbeat.core.units import parse_ratio

WINDOW = 100
"""The longest list of verdicts that a policy may ask for."""
_OF = re.compile(r"([0-9]{1,4}) of ([0-9]{1,4})")
_OTHER_WORDS = {"failures": "raise", "failure_threshold": "raise", "threshold": "raise", "after": "raise",
                "success_threshold": "clear", "successes": "clear", "resolve": "clear", "repeat": "remind",
                "retry": "recheck", "retries": "recheck", "delay": "hold", "for": "hold", "wait": "hold",
                "flap": "flapping", "flap_detection": "flapping", "absent": "missed", "reminder": "remind"}  # fmt: skip
_LATCH_WORDS = {word: ours for word, ours in _OTHER_WORDS.items() if ours in ("raise", "clear")}
_FLAPPING_WORDS = {"low": "stop", "high": "start", "low_flap_threshold": "stop", "high_flap_threshold": "start"}
SLOTS = 1000
"""The most slots without a run that a policy may wait for."""


def policy(spot: Spot) -> dict[str, Any]:
    """Read what is set of a policy; the rest comes from the defaults."""
    readers = _LATCH | {
        "recheck": optional(duration(1.0)),
        "remind": optional(duration(1.0)),
        "hold": duration(0.0),
        "missed": optional(whole(1, SLOTS)),
        "flapping": flapping,
        "warn": latch,
        "fail": latch,
    }
    return fields(spot, readers, _OTHER_WORDS)


def broken(spot: Spot) -> dict[str, Any]:
    """Read what is set of the policy for broken checks."""
    return latch(spot)


def latch(spot: Spot) -> dict[str, Any]:
    """Read when a latch is to set and to clear."""
    return fields(spot, _LATCH, _LATCH_WORDS)


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


_LATCH: dict[str, Reader] = {"raise": raising, "clear": whole(1, WINDOW)}


def optional(reader: Reader) -> Reader:
    """Return a reader that takes ``never``, or nothing, for None."""

    def read(spot: Spot) -> Any:
        return None if spot.node.value in (None, "never") else reader(spot)

    return read


def flapping(spot: Spot) -> dict[str, float] | None:
    """Read from when on a check flaps: by its shares, or ``true``, ``false`` or ``never``."""
    value = spot.node.value
    if value is True:
        return {}
    if value is False or value == "never":
        return None
    if not isinstance(value, dict):
        raise Wrong("must be {start: 30%, stop: 20%}, true, false or never")
    return fields(spot, dict.fromkeys(("start", "stop"), _share), _FLAPPING_WORDS)


def _share(spot: Spot) -> float:
    value = convert(spot, parse_ratio)
    if not 0 < value <= 1:
        raise Wrong("must be more than 0% and at most 100%")
    return value


def make_policy(
    target: Mapping[str, Any], track: Mapping[str, Any], escalation: Mapping[str, Any], schedule: Schedule
) -> Policy:
    """Return the policy of a check.

    Args:
        target: what ``policy`` says.
        track: what ``broken`` says.
        escalation: what ``escalate`` says.
        schedule: how often it runs.

    Raises:
        Wrong: if what it says of flapping does not go together.
    """
    usual = Policy()
    return Policy(
        warn=_latch({**target, **target.get("warn", {})}, usual.warn),
        fail=_latch({**target, **target.get("fail", {})}, usual.fail),
        broken=_latch(track, usual.broken),
        recheck=target.get("recheck"),
        remind=target.get("remind"),
        hold=target.get("hold", usual.hold),
        escalate=escalation.get("after"),
        flapping=_flapping(target.get("flapping", {})),
        missed=target.get("missed", usual.missed),
        interval=schedule.seconds if isinstance(schedule, Interval) else None,
    )


def _latch(given: Mapping[str, Any], usual: Latch) -> Latch:
    count, window = given.get("raise", (usual.raise_, usual.window))
    return Latch(raise_=count, window=window, clear=given.get("clear", usual.clear))


def _flapping(given: Mapping[str, float] | None) -> Flapping | None:
    if given is None:
        return None
    found = Flapping(**given)
    if found.stop >= found.start:
        raise Wrong(f"flapping would never end: stop ({found.stop:.4g}) must be smaller than start ({found.start:.4g})")
    return found

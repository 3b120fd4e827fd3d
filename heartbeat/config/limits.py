"""Limits in the configuration: ``duration: {warn: 800ms, fail: 2s}`` and its like."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from heartbeat.config.reading import Spot, Wrong, attempt, convert, fields, refuse_key
from heartbeat.core.limits import Bound, Limit
from heartbeat.core.model import Severity
from heartbeat.core.units import parse_duration, parse_ratio, parse_size
from heartbeat.probe import MEASUREMENT, PHASE, RESERVED

_WINDOW = re.compile(r"(p\d+(\.\d+)?|availability|avg|mean|median|max|min|rate|[a-z_]+) .+|availability")
_LEVELS = {"warn": Severity.WARN, "fail": Severity.FAIL}
_OTHER_WORDS = {"latency": "duration", "response_time": "duration", "time": "duration"}


def limits(spot: Spot) -> tuple[Limit, ...]:
    """Read all limits of a check."""
    found = [_limit(measure, child) for measure, child in spot.entries().items()]
    return tuple(limit for limit in found if limit)


def _limit(measure: str, spot: Spot) -> Limit | None:
    if _WINDOW.fullmatch(measure):
        refuse_key(spot, measure, (), later=(measure,))
        return None
    if not _is_measure(measure):
        refuse_key(spot, measure, ("duration", "phase.NAME"), _OTHER_WORDS)
        return None
    unit, parse = unit_of(measure)
    found = fields(spot, dict.fromkeys(_LEVELS, _sides(parse)))
    if not found and not spot.node.value:
        spot.wrong("needs warn: or fail: with a value")
    bounds = tuple(Bound(_LEVELS[level], **sides) for level, sides in found.items() if sides)
    attempt(spot, lambda _: _compare(found.get("warn", {}), found.get("fail", {})))
    return Limit(measure, tuple(sorted(bounds, key=lambda bound: bound.severity)), unit)


def _is_measure(measure: str) -> bool:
    if measure.startswith("phase."):
        return PHASE.fullmatch(measure.removeprefix("phase.")) is not None
    return measure == "duration" or (MEASUREMENT.fullmatch(measure) is not None and measure not in RESERVED)


def unit_of(measure: str) -> tuple[str, Callable[[object], float]]:
    """Return how values of a measure are written in messages, and what parses them."""
    if measure.endswith("_timestamp_seconds"):
        return "", _parse_number
    if measure == "duration" or measure.startswith("phase.") or measure.endswith("_seconds"):
        return "s", parse_duration
    if measure.endswith("_bytes"):
        return "B", parse_size
    return ("ratio", parse_ratio) if measure.endswith("_ratio") else ("", _parse_number)


def _parse_number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or abs(value) == float("inf"):  # noqa: PLR0124 - NaN is what differs from itself
        raise ValueError("must be a number")
    return float(value)


def _sides(parse: Callable[[object], float]) -> Callable[[Spot], dict[str, float]]:
    """Return a reader of one level: a bare value fires above it; a mapping says above, below, or both."""

    def one(spot: Spot) -> float:
        return convert(spot, parse)

    def read(spot: Spot) -> dict[str, Any]:
        if not isinstance(spot.node.value, dict):
            return {"above": one(spot)}
        found = fields(spot, {"above": one, "below": one})
        if not spot.node.value:
            raise Wrong("needs above: or below: with a value")
        if len(found) == 2 and found["below"] > found["above"]:
            raise Wrong("fires for every value: below must not be larger than above")
        return found

    return read


def _compare(warn: dict[str, float], fail: dict[str, float]) -> None:
    """Refuse a warning that can never come before the failure."""
    if "above" in warn and "above" in fail and warn["above"] >= fail["above"]:
        raise Wrong("warn has no effect: it must be smaller than fail")
    if "below" in warn and "below" in fail and warn["below"] <= fail["below"]:
        raise Wrong("warn has no effect: it must be larger than fail, as both fire below")

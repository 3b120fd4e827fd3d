"""Storms in the configuration: from when on so many failures at once are the monitor's own."""

from __future__ import annotations

from heartbeat.config.reading import Spot, Wrong, convert, duration, fields, whole
from heartbeat.core.storm import StormRule
from heartbeat.core.units import parse_ratio

_OTHER_WORDS = {"count": "checks", "at_least": "checks", "percent": "share", "ratio": "share", "window": "within"}


def storm(spot: Spot) -> StormRule | None:
    """Read when it is a storm; ``never`` gives None."""
    if spot.node.value == "never":
        return None
    if not isinstance(spot.node.value, dict):
        raise Wrong("must be a mapping such as {checks: 5, share: 50%, within: 1m}, or never")
    return StormRule(
        **fields(spot, {"checks": whole(2, 100_000), "share": _share, "within": duration(1.0, 3600.0)}, _OTHER_WORDS)
    )


def _share(spot: Spot) -> float:
    value = convert(spot, parse_ratio)
    if not 0.1 <= value <= 1.0:
        raise Wrong("must be from 10% to 100%")
    return value

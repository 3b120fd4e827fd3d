"""Objectives in the configuration: ``objective: {availability: 99.9%, window: 30d, failures: 3}``."""

from __future__ import annotations

from heartbeat.config.reading import Spot, Wrong, convert, duration, fields, whole
from heartbeat.core.objectives import DAY, Objective, lines_of
from heartbeat.core.units import format_duration, parse_ratio

_OTHER_WORDS = {"target": "availability", "slo": "availability", "goal": "availability", "period": "window",
                "min_failures": "failures", "minimum": "failures"}  # fmt: skip
MOST_FAILURES = 1000


def objective(spot: Spot) -> Objective:
    """Read what a check promises."""
    readers = {"availability": availability, "window": duration(DAY, 366 * DAY), "failures": whole(1, MOST_FAILURES)}
    found = fields(spot, readers, _OTHER_WORDS)
    if "availability" not in spot.entries():
        raise Wrong("needs availability: such as 99.9%")
    made = Objective(**{"availability": 0.99, **found})
    if "availability" in found and not lines_of(made):
        raise Wrong("never fires: not even nothing but failures would use up the budget so fast; promise more")
    return made


def availability(spot: Spot) -> float:
    """Read a ratio below 1."""
    value = convert(spot, parse_ratio)
    if value >= 1:
        raise Wrong("leaves no error budget: it must be less than 100%")
    if value < 0.5:
        raise Wrong("must be at least 50%")
    return value


def check_objective(spot: Spot, objective: Objective, interval: float | None) -> None:
    """Note where a check runs so seldom that its objective never fires.

    Args:
        spot: the mapping that the objective was read from.
        objective: what was read.
        interval: seconds between two runs; None for cron.
    """
    longest = max(burn.long for burn in lines_of(objective))
    if interval and longest / interval < objective.failures:
        reason = f"{objective.failures} failures do not fit into {format_duration(longest)} at this interval"
        spot.wrong(f"never fires: {reason}")

"""The arithmetic of the bench: ratios of pairs, percentiles, slopes."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from statistics import linear_regression, median


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share (0 to 1) of the values does not exceed, by the nearest rank."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the ratios of each round: what drifts from round to round drops out."""
    return median(one / other for one, other in zip(ours, theirs, strict=True))


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """Return how much the second number grows per unit of the first, by least squares."""
    found: float = linear_regression([at for at, _ in samples], [value for _, value in samples]).slope
    return found


def rise(values: Sequence[float]) -> float:
    """Return how far the median of the last quarter lies above that of the first."""
    quarter = max(1, len(values) // 4)
    return median(values[-quarter:]) - median(values[:quarter])

"""Limits: rules on what a run measured, or on what a window of runs did, as data; and how values are written."""

from __future__ import annotations

from dataclasses import dataclass

from heartbeat.core.model import Result, Severity
from heartbeat.core.units import format_duration

AVAILABILITY = "availability"
COUNT = "count"
FOLDED = ("min", "max", "mean", "rate", "delta")
"""What is made of the values in a window, besides quantiles."""


@dataclass(frozen=True, slots=True)
class Bound:
    """One level of a limit: it fires for values above ``above`` or below ``below`` (a value on the bound holds).

    Once it has fired it is held until a value is at most ``clear_above`` and at least ``clear_below``; where these are
    not set, until no bound is broken.
    """

    severity: Severity
    above: float | None = None
    below: float | None = None
    clear_above: float | None = None
    clear_below: float | None = None

    def broken_by(self, value: float) -> bool:
        """Say whether the value lies outside; one that is no number does not."""
        return (self.above is not None and value > self.above) or (self.below is not None and value < self.below)

    def cleared_by(self, value: float) -> bool:
        """Say whether the value is back far enough; one that is no number is not."""
        above = self.above if self.clear_above is None else self.clear_above
        below = self.below if self.clear_below is None else self.clear_below
        return (above is None or value <= above) and (below is None or value >= below)


@dataclass(frozen=True, slots=True)
class Limit:
    """A rule on one measurement of the current run, or on a window of runs.

    Attributes:
        measure: ``duration``, the name of a measurement, or ``phase.NAME``; with the aggregate ``count`` an outcome,
            with ``availability`` nothing.
        bounds: its levels.
        unit: how values are written in messages: ``s``, ``B``, ``ratio`` or nothing, with ``/s`` for rates.
        aggregate: what is made of the window: one of ``FOLDED``, a percentile such as ``p95``, ``availability`` or
            ``count``; nothing for the current run.
        window: its length in seconds; 0 for the current run.
        samples: with fewer of them in it the window has no value.
        key: the name as the configuration writes it, where that is another than ours would be.
    """

    measure: str
    bounds: tuple[Bound, ...]
    unit: str = ""
    aggregate: str = ""
    window: float = 0.0
    samples: int = 1
    key: str = ""

    @property
    def name(self) -> str:
        """The key in the configuration: it names the limit in messages, and what is held over restarts."""
        if self.key or not self.window:
            return self.key or self.measure
        return " ".join(part for part in (self.aggregate, self.measure, format_duration(self.window)) if part)

    @property
    def measures_time(self) -> bool:
        """Say whether our own lag makes the value larger."""
        return is_time(self.measure)


def is_time(measure: str) -> bool:
    """Say whether a measure is a time that we hold the watch of."""
    return measure == "duration" or measure.startswith("phase.")


def measured(result: Result, measure: str) -> float | None:
    """Return what the run measured under this name, or None where it measured nothing."""
    if measure == "duration":
        return result.duration
    if measure.startswith("phase."):
        return result.phases.get(measure.removeprefix("phase."))
    return result.measurements.get(measure)


def show(value: float, unit: str) -> str:
    """Write a value as a person would: ``850 ms``, ``2.5 s``, ``64 KiB``, ``99.5 %``, ``12``, ``3/s``."""
    if unit.endswith("/s"):
        return f"{show(value, unit.removesuffix('/s'))}/s"
    if unit == "s":
        return f"{value * 1000:.4g} ms" if abs(value) < 1 else f"{value:.6g} s"
    if unit == "ratio":
        return f"{value * 100:.6g} %"
    if unit == "B":
        return _show_bytes(value)
    return f"{value:.10g}"


def _show_bytes(value: float) -> str:
    for name, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(value) >= size:
            return f"{value / size:.4g} {name}"
    return f"{value:.10g} B"

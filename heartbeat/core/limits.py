"""Limits: rules on what the current run measured, and the one function that holds a result against them."""

from __future__ import annotations

from dataclasses import dataclass

from heartbeat.core.model import Finding, Outcome, Reason, Result, Run, Severity, Verdict

LAG_SHARE_OF_TIMEOUT = 0.1
"""A timeout counts as distorted once our own loop stood still for this share of it."""


@dataclass(frozen=True, slots=True)
class Bound:
    """One level of a limit: it fires for values above ``above`` or below ``below`` (a value on the bound holds)."""

    severity: Severity
    above: float | None = None
    below: float | None = None

    def broken_by(self, value: float) -> bool:
        """Say whether the value lies outside."""
        return (self.above is not None and value > self.above) or (self.below is not None and value < self.below)


@dataclass(frozen=True, slots=True)
class Limit:
    """A rule on one measurement of the current run.

    ``measure`` is ``duration``, the name of a measurement, or ``phase.NAME``. ``unit`` (``s``, ``B``, ``ratio`` or
    nothing) is how values are written in messages.
    """

    measure: str
    bounds: tuple[Bound, ...]
    unit: str = ""

    @property
    def measures_time(self) -> bool:
        """Say whether our own lag makes the value larger."""
        return self.measure == "duration" or self.measure.startswith("phase.")


def judge(run: Run, result: Result, limits: tuple[Limit, ...], at: float) -> Verdict:
    """Hold a result against the limits.

    A bad target keeps its own reason; a good one outside a limit gets the reason ``limit``. A measurement that was
    not made breaks no limit. Where our own lag could have pushed a time over its bound, or the run over its timeout,
    the verdict is distorted.
    """
    if result.outcome not in (Outcome.OK, Outcome.FAIL):
        return Verdict(run, at, result.outcome, Severity.OK, result.reason, result.sentence)
    if not limits and result.outcome is Outcome.OK:
        return Verdict(run, at, Outcome.OK, Severity.OK)
    broken = [(limit, bound) for limit in limits if (bound := worst_bound(limit, result))]
    findings = tuple(_finding(limit, bound, result) for limit, bound in broken)
    if result.outcome is Outcome.FAIL:
        timed_out = result.reason is Reason.TIMEOUT and result.lag >= run.timeout * LAG_SHARE_OF_TIMEOUT
        return Verdict(run, at, Outcome.FAIL, Severity.FAIL, result.reason, result.sentence, findings, timed_out)
    if not findings:
        return Verdict(run, at, Outcome.OK, Severity.OK)
    severity = max(finding.severity for finding in findings)
    sentence = "; ".join(f"{finding.limit} is {finding.observed}, {finding.expected}" for finding in findings)
    distorted = result.lag > 0 and _without_lag(broken, result) < severity
    return Verdict(run, at, Outcome.OK, severity, Reason.LIMIT, sentence, findings, distorted)


def measured(result: Result, measure: str) -> float | None:
    """Return what the run measured under this name, or None where it measured nothing."""
    if measure == "duration":
        return result.duration
    if measure.startswith("phase."):
        return result.phases.get(measure.removeprefix("phase."))
    return result.measurements.get(measure)


def worst_bound(limit: Limit, result: Result) -> Bound | None:
    """Return the worst bound that the result breaks."""
    value = measured(result, limit.measure)
    if value is None:
        return None
    broken = [bound for bound in limit.bounds if bound.broken_by(value)]
    return max(broken, key=lambda bound: bound.severity, default=None)


def show(value: float, unit: str) -> str:
    """Write a value as a person would: ``850 ms``, ``2.5 s``, ``64 KiB``, ``99.5 %``, ``12``."""
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


def _finding(limit: Limit, bound: Bound, result: Result) -> Finding:
    value = measured(result, limit.measure) or 0.0
    parts = []
    if bound.above is not None:
        parts.append(f"at most {show(bound.above, limit.unit)}")
    if bound.below is not None:
        parts.append(f"at least {show(bound.below, limit.unit)}")
    return Finding(limit.measure, bound.severity, f"{' and '.join(parts)} allowed", show(value, limit.unit))


def _without_lag(broken: list[tuple[Limit, Bound]], result: Result) -> Severity:
    """Return the worst severity that stays when the times are shortened by our own lag."""
    return max(
        (
            bound.severity
            for limit, _ in broken
            for bound in limit.bounds
            if bound.broken_by((measured(result, limit.measure) or 0.0) - (result.lag if limit.measures_time else 0.0))
        ),
        default=Severity.OK,
    )

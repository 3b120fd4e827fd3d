"""Limits: rules on what the current run measured, and the one function that holds a result against them."""

from __future__ import annotations

from dataclasses import dataclass

from heartbeat.core.model import Result, Run, Severity, Verdict


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


def judge(run: Run, result: Result, limits: tuple[Limit, ...], at: float) -> Verdict:
    """Hold a result against the limits.

    A target that answered keeps its own reason; one that is fine but outside a limit gets the reason ``limit`` when
    that limit fails. A measurement that was not made breaks no limit. A duration or phase that our own lag could have
    pushed over its bound makes the verdict distorted.
    """
    raise NotImplementedError

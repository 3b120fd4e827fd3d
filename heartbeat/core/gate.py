"""The gate: whether the runs of a check are good enough for a release, and who is bad where they are not.

A run counts as its last look says: one whose second look was good is good, as the policy of the check has it. What
says nothing of the target (errors, missed runs, what our own lag distorted) is never a failure of the target; but where
so much of it is missing that the required share of good runs is not proven, the check itself is at fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from heartbeat.core.baseline import DURATION, Measured, spread_of
from heartbeat.core.judge import judge
from heartbeat.core.limits import Limit, measured, show
from heartbeat.core.model import Finding, Outcome, Result, Severity, Verdict
from heartbeat.core.windows import EXACT_SECONDS, Windows, plan_windows

SLACK = 1e-9


class Grade(StrEnum):
    """What a gate says of a check, or of all of them."""

    PASSED = "passed"
    WARNED = "warned"
    BROKEN = "broken"
    """The check itself is at fault: its target is not proven to be good, nor to be bad."""
    FAILED = "failed"


WORST = (Grade.FAILED, Grade.BROKEN, Grade.WARNED, Grade.PASSED)
"""Of several the first of these counts: that a target is bad is certain, whatever else could not be found out."""


@dataclass(frozen=True, slots=True)
class Look:
    """One attempt of a run: its verdict, and what it found."""

    verdict: Verdict
    result: Result

    @property
    def says_nothing(self) -> bool:
        """Whether nothing is known of the target by it."""
        known = self.verdict.outcome in (Outcome.OK, Outcome.FAIL)
        return not known or (self.verdict.distorted and self.verdict.severity is Severity.FAIL)

    @property
    def is_bad(self) -> bool:
        """Whether the target is bad by it."""
        return not self.says_nothing and self.verdict.severity is Severity.FAIL

    @property
    def warns(self) -> bool:
        """Whether it broke a limit that warns."""
        return self.verdict.severity is Severity.WARN and not self.verdict.distorted


@dataclass(frozen=True, slots=True)
class Required:
    """What is required of every check.

    Attributes:
        share: the share of runs that must be good.
        each: limits on each run, beside those of the check.
        whole: limits on what is made of all runs; their windows are as long as it takes.
    """

    share: float = 1.0
    each: tuple[Limit, ...] = ()
    whole: tuple[Limit, ...] = ()


@dataclass(frozen=True, slots=True)
class Assessment:
    """What the runs of a check come to.

    Attributes:
        grade: the verdict of the gate.
        sentence: what is wrong, or nothing.
        runs: how many there were, of which ``good`` and ``bad`` say something of the target.
        recovered: how many of the good ones were good at a second look only.
        measured: how what good runs measured is spread.
        findings: what is beyond what is required of all runs together.
        shown: the look that shows best what is wrong.
        notes: what else there is to know.
    """

    grade: Grade
    sentence: str = ""
    runs: int = 0
    good: int = 0
    bad: int = 0
    recovered: int = 0
    measured: Measured | None = None
    findings: tuple[Finding, ...] = ()
    shown: Look | None = None
    notes: tuple[str, ...] = ()


def worst(grades: Iterable[Grade]) -> Grade:
    """Return the one that counts of several."""
    return min(grades, key=WORST.index, default=Grade.PASSED)


def assess(looks: Sequence[Look], required: Required, pace: float, more: tuple[Finding, ...] = ()) -> Assessment:
    """Say whether a check's runs are good enough.

    Args:
        looks: all attempts in order; an attempt 0 begins a run.
        required: what is required.
        pace: seconds between two runs.
        more: what was found otherwise, as against a baseline.
    """
    if not looks:
        return Assessment(Grade.BROKEN, "no run came to its end")
    runs = [run[-1] for run in _runs(looks)]
    bad = [look for look in runs if look.is_bad]
    unclear = [look for look in runs if look.says_nothing]
    good = len(runs) - len(bad) - len(unclear)
    findings = (*_find(looks, required.whole, pace), *more)
    grade, sentence, shown = _grade(runs, bad, unclear, findings, required.share)
    if grade in (Grade.PASSED, Grade.WARNED) and (unproven := _unproven(looks, required.whole, pace)):
        grade, sentence = Grade.BROKEN, f"{' and '.join(unproven)} has no value in these runs"
    recovered = sum(1 for run in _runs(looks) if run[0].is_bad and not (run[-1].is_bad or run[-1].says_nothing))
    notes = (f"{_of(recovered, len(runs))} good at a second look only",) if recovered else ()
    spreads = spreads_of(looks)
    return Assessment(grade, sentence, len(runs), good, len(bad), recovered, spreads, findings, shown, notes)


Graded = tuple[Grade, str, Look | None]


def _grade(
    runs: list[Look], bad: list[Look], unclear: list[Look], findings: tuple[Finding, ...], share: float
) -> Graded:
    """Return what it comes to, and why: the target first, then the check, then warnings."""
    clear = len(runs) - len(unclear)
    good = clear - len(bad)
    beyond = "; ".join(f"{one.limit} is {one.observed}, {one.expected}" for one in findings)
    if bad and good < share * clear - SLACK:
        return Grade.FAILED, _count(bad, len(runs), "failed"), bad[-1]
    if any(finding.severity is Severity.FAIL for finding in findings):
        return Grade.FAILED, beyond, bad[-1] if bad else None
    if not clear or good < share * len(runs) - SLACK:
        return Grade.BROKEN, _count(unclear, len(runs), "said nothing of the target"), unclear[-1]
    warned = [look for look in runs if look.warns]
    if findings or warned:
        told = [beyond] if findings else []
        told += [_count(warned, len(runs), "went beyond a limit")] if warned else []
        return Grade.WARNED, "; ".join(told), warned[-1] if warned else None
    return Grade.PASSED, _count(bad, len(runs), "failed") if bad else "", bad[-1] if bad else None


def _count(some: list[Look], whole: int, what: str) -> str:
    """Return the sentence of the latest of some runs, with how many there are."""
    look = some[-1]
    told = look.verdict.sentence or str(look.verdict.reason or look.verdict.outcome)
    if look.verdict.distorted and look.says_nothing:
        told = f"distorted by {show(look.result.lag, 's')} of our own lag: {told}"
    return told if whole == 1 else f"{_of(len(some), whole)} {what}, the last: {told}"


def _of(some: int, whole: int) -> str:
    return f"{some} of {whole} run{'s' if whole > 1 else ''}"


def _runs(looks: Sequence[Look]) -> list[list[Look]]:
    """Return the attempts of each run."""
    runs: list[list[Look]] = []
    for look in looks:
        if look.verdict.run.attempt == 0 or not runs:
            runs.append([])
        runs[-1].append(look)
    return runs


def _find(looks: Sequence[Look], limits: tuple[Limit, ...], pace: float) -> tuple[Finding, ...]:
    """Hold all runs together against limits, with the judge and the windows of the daemon."""
    last = _last_clear(looks)
    if not limits or last is None:
        return ()
    limits, windows = _windows(looks, limits, pace)
    for look in looks:
        if look is not last and not look.verdict.distorted:
            windows.take(look.verdict.at, look.verdict.outcome, look.result, look.verdict.run.attempt == 0)
    return judge(last.verdict.run, last.result, limits, looks[-1].verdict.at, (), windows).findings


def _unproven(looks: Sequence[Look], limits: tuple[Limit, ...], pace: float) -> list[str]:
    """Return the limits on what was measured, and yet has no value: for our own lag, or too few runs."""
    met = (limit for limit in limits if any(measured(look.result, limit.measure) is not None for look in looks))
    return [limit.name for limit in met if not is_measured(limit, looks, pace)]


def _windows(looks: Sequence[Look], limits: tuple[Limit, ...], pace: float) -> tuple[tuple[Limit, ...], Windows]:
    """Return limits whose windows reach over all runs, and these windows, empty; exact ones up to an hour."""
    took = looks[-1].verdict.at - looks[0].verdict.at + pace + 1
    window = max(EXACT_SECONDS, took)
    limits = tuple(replace(limit, window=window) for limit in limits)
    plan = plan_windows(limits, None, EXACT_SECONDS if window <= EXACT_SECONDS else pace)
    assert plan is not None  # noqa: S101 - there are limits with windows; for the type checker
    return limits, Windows(plan)


def _last_clear(looks: Sequence[Look]) -> Look | None:
    known = (Outcome.OK, Outcome.FAIL)
    clear = (one for one in reversed(looks) if one.verdict.outcome in known and not one.verdict.distorted)
    return next(clear, None)


def spreads_of(looks: Sequence[Look]) -> Measured:
    """Return how what the good runs measured is spread; second looks are left out, as in windows."""
    values: dict[str, list[float]] = {}
    for look in looks:
        if look.verdict.outcome is Outcome.OK and not (look.verdict.run.attempt or look.verdict.distorted):
            found = look.result
            named = {DURATION: found.duration, **{f"phase.{name}": took for name, took in found.phases.items()}}
            for name, value in (named | dict(found.measurements)).items():
                values.setdefault(name, []).append(value)
    return {name: spread_of(some) for name, some in values.items()}


def is_measured(limit: Limit, looks: Sequence[Look], pace: float) -> bool:
    """Say whether any value was there to hold against a limit."""
    if not looks:
        return False
    if not limit.window:
        return any(measured(look.result, limit.measure) is not None for look in looks)
    (limit,), windows = _windows(looks, (limit,), pace)
    for look in looks:
        windows.take(look.verdict.at, look.verdict.outcome, look.result, look.verdict.run.attempt == 0)
    return windows.value(limit, looks[-1].verdict.at) is not None

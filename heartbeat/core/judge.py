"""Judging: the one function that holds a result against the limits and the objective of its check."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import isnan, nan

from heartbeat.core.limits import Bound, Limit, measured, show
from heartbeat.core.model import Caution, Finding, Outcome, Reason, Result, Run, Severity, Verdict
from heartbeat.core.objectives import burning
from heartbeat.core.windows import Windows

LAG_SHARE_OF_TIMEOUT = 0.1
"""A timeout counts as distorted once our own loop stood still for this share of it."""
NOT_MEASURED = "not measured"
NOT_KNOWN = "not known from a single run"
UNKNOWN = frozenset({NOT_MEASURED, NOT_KNOWN})

Held = tuple[tuple[str, Severity], ...]
Was = dict[str, Severity]


def judge(  # noqa: PLR0913, PLR0917 - all that a verdict follows from, in the order of the line
    run: Run,
    result: Result,
    limits: tuple[Limit, ...],
    at: float,
    held: Held = (),
    windows: Windows | None = None,
) -> Verdict:
    """Hold a result against the limits, and take it into the windows.

    A bad target keeps its own reason; a good one outside a limit gets the reason ``limit``. Where our own lag could
    have pushed a time over a level, or the run over its timeout, the verdict is distorted, and no window takes it.

    Args:
        run: the run.
        result: what it found; only ok and fail are held against anything.
        limits: the limits of the check.
        at: the time of the verdict.
        held: name and severity of the limits outside which the check was before. Each holds until a value is back at
            its clear level; what was not measured, and the times of a run that failed, clear nothing.
        windows: what the runs before did; None where no limit and no objective needs to know.
    """
    if result.outcome not in (Outcome.OK, Outcome.FAIL):
        if windows is not None:
            windows.take(at, result.outcome, result, run.attempt == 0)
        return Verdict(run, at, result.outcome, Severity.OK, result.reason, result.sentence)
    if windows is None and not limits and result.outcome is Outcome.OK and result.caution is None:
        return Verdict(run, at, Outcome.OK, Severity.OK)
    was = dict(held)
    findings = _find_now(limits, result, was)
    distorted = _is_distorted(run, result, limits, was, findings)
    burns: tuple[Finding, ...] = ()
    if windows is not None:
        if not distorted:
            windows.take(at, result.outcome, result, run.attempt == 0)
        objective = windows.plan.objective
        burns = burning(windows, objective, at) if objective else ()
    found = (*findings, *_find_over_time(limits, windows, at, was))
    if result.outcome is Outcome.FAIL:
        fail = Severity.FAIL
        return Verdict(run, at, Outcome.FAIL, fail, result.reason, result.sentence, found, distorted, burns)
    if not found and result.caution is None:
        return Verdict(run, at, Outcome.OK, Severity.OK, distorted=distorted, burns=burns)
    return Verdict(run, at, Outcome.OK, *_say(result.caution, found), found, distorted, burns)


def _say(caution: Caution | None, found: tuple[Finding, ...]) -> tuple[Severity, Reason, str]:
    """Return how bad it is, why, and in which words: the plugin's own come first."""
    sentences = [f"{finding.limit} is {finding.observed}, {finding.expected}" for finding in found]
    if caution is None:
        return _worst(found), Reason.LIMIT, "; ".join(sentences)
    return max(_worst(found), Severity.WARN), caution.reason, "; ".join((caution.sentence, *sentences))


def weigh(limits: tuple[Limit, ...], result: Result, verdict: Verdict) -> tuple[Finding, ...]:
    """Return every limit with what was allowed and seen, for people: those that hold, too, with the severity ok.

    What is wrong is as the verdict has it; this decides nothing. Of an error no limit was judged. Where nothing is
    known, ``observed`` is one of ``UNKNOWN``.
    """
    if verdict.outcome not in (Outcome.OK, Outcome.FAIL):
        return ()
    found = {finding.limit: finding for finding in verdict.findings}
    return tuple(_weigh(limit, result, found.get(limit.name)) for limit in limits)


def _weigh(limit: Limit, result: Result, found: Finding | None) -> Finding:
    ranges = (f"{_range(bound.above, bound.below, limit.unit)} ({bound.severity.word})" for bound in limit.bounds)
    expected = " and ".join(ranges)
    if found:
        return replace(found, expected=expected)
    if limit.window:
        return Finding(limit.name, Severity.OK, expected, NOT_KNOWN)
    value = measured(result, limit.measure)
    return Finding(limit.name, Severity.OK, expected, NOT_MEASURED if value is None else show(value, limit.unit))


def _find_now(limits: tuple[Limit, ...], result: Result, was: Was) -> list[Finding]:
    """Return what breaks the limits on the current run, or is still held by them."""
    found = []
    for limit in limits:
        if limit.window:
            continue
        value = measured(result, limit.measure)
        if value is None and not was:
            continue
        if finding := _hold(limit, value, was, clears=result.outcome is Outcome.OK or not limit.measures_time):
            found.append(finding)
    return found


def _find_over_time(limits: tuple[Limit, ...], windows: Windows | None, at: float, was: Was) -> Iterator[Finding]:
    """Yield what breaks the limits on windows, or is still held by them."""
    for limit in limits:
        if limit.window and (windows is not None or was):
            value = None if windows is None else windows.value(limit, at)
            if (value is not None or was) and (finding := _hold(limit, value, was)):
                yield finding


def _is_distorted(run: Run, result: Result, limits: tuple[Limit, ...], was: Was, findings: list[Finding]) -> bool:
    """Say whether the verdict would be better if our own loop had not stood still."""
    if result.lag <= 0:
        return False
    if result.outcome is Outcome.FAIL:
        return result.reason is Reason.TIMEOUT and result.lag >= run.timeout * LAG_SHARE_OF_TIMEOUT
    if not findings:
        return False
    phases = {name: seconds - result.lag for name, seconds in result.phases.items()}
    shortened = replace(result, duration=result.duration - result.lag, phases=phases)
    return _worst(_find_now(limits, shortened, was)) < _worst(findings)


def _hold(limit: Limit, value: float | None, was: Was, *, clears: bool = True) -> Finding | None:
    """Hold a value against a limit; one that may not clear anything is as good as none where it breaks nothing."""
    number = nan if value is None else value
    broken = _worst_bound([bound for bound in limit.bounds if bound.broken_by(number)])
    if was and (before := was.get(limit.name)):
        number = number if clears or broken else nan
        held = _worst_bound([one for one in limit.bounds if one.severity <= before and not one.cleared_by(number)])
        if held and (broken is None or held.severity > broken.severity):
            return _describe_held(limit, held, number)
    return _describe(limit, broken, number) if broken else None


def _worst_bound(bounds: list[Bound]) -> Bound | None:
    return max(bounds, key=lambda bound: bound.severity) if bounds else None


def _worst(findings: Iterable[Finding]) -> Severity:
    return max((finding.severity for finding in findings), default=Severity.OK)


def _describe(limit: Limit, bound: Bound, value: float) -> Finding:
    expected = _range(bound.above, bound.below, limit.unit)
    observed = show(value, limit.unit)
    if observed in [show(side, limit.unit) for side in (bound.above, bound.below) if side is not None]:
        observed += " (rounded)"
    return Finding(limit.name, bound.severity, f"{expected} allowed", observed)


def _describe_held(limit: Limit, bound: Bound, value: float) -> Finding:
    above = bound.above if bound.clear_above is None else bound.clear_above
    below = bound.below if bound.clear_below is None else bound.clear_below
    observed = "not measured" if isnan(value) else show(value, limit.unit)
    return Finding(limit.name, bound.severity, f"cleared by {_range(above, below, limit.unit)}", observed)


def _range(above: float | None, below: float | None, unit: str) -> str:
    """Write which values are good."""
    most = f"at most {show(above, unit)}" if above is not None else ""
    least = f"at least {show(below, unit)}" if below is not None else ""
    return " and ".join(filter(None, (most, least)))

"""What a run found, as lines and as data: for ``once`` and ``dry-run``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from heartbeat.cli.performing import Paint, plain_words
from heartbeat.core.judge import UNKNOWN, weigh
from heartbeat.core.limits import Limit, show
from heartbeat.core.model import Finding, Outcome, Result, Severity, Verdict
from heartbeat.core.trace import trace_id


def word_of(verdict: Verdict) -> str:
    """Say in one word what a run found."""
    return "error" if verdict.outcome is Outcome.ERROR else verdict.severity.word


def describe(
    verdict: Verdict, result: Result, limits: tuple[Limit, ...] = (), paint: Paint = plain_words
) -> Iterator[str]:
    """Yield lines that tell a run: the verdict first, then all that led to it."""
    yield f"{verdict.run.check}: {paint(word_of(verdict))} in {show(result.duration, 's')} {verdict.sentence}".rstrip()
    if verdict.reason:
        yield f"  reason    {verdict.reason}"
    if result.expected is not None:
        yield f"  expected  {result.expected}"
    if result.observed is not None:
        yield f"  observed  {result.observed}"
    for finding in verdict.findings:
        yield f"  limit     {finding.limit} is {finding.observed}, {finding.expected} ({finding.severity.word})"
    yield from _holding(verdict, result, limits)
    for name, seconds in result.phases.items():
        yield f"  phase     {name} {show(seconds, 's')}"
    for name, value in result.measurements.items():
        yield f"  measured  {name} {value:.12g}"
    for name, text in result.evidence.items():
        yield f"  evidence  {name}"
        yield from (f"    {line}" for line in text.splitlines())
    if result.marked:
        yield f"  trace     {trace_id(verdict.run.id)} of {verdict.run.id}"
    if verdict.distorted:
        yield f"  distorted by {show(result.lag, 's')} of our own lag"


def _holding(verdict: Verdict, result: Result, limits: tuple[Limit, ...]) -> Iterator[str]:
    """Tell of the limits that are not broken."""
    for finding in weigh(limits, result, verdict):
        if finding.severity is Severity.OK:
            holds = "" if finding.observed in UNKNOWN else ": it holds"
            yield f"  limit     {finding.limit} is {finding.observed}, {finding.expected}{holds}"


def data_of(verdict: Verdict, result: Result, limits: tuple[Limit, ...] = ()) -> dict[str, Any]:
    """Return a run for JSON: durations in seconds."""
    return {
        "check": verdict.run.check,
        "run": verdict.run.id,
        "trace_id": trace_id(verdict.run.id) if result.marked else None,
        "attempt": verdict.run.attempt,
        "outcome": verdict.outcome.value,
        "severity": None if verdict.outcome is Outcome.ERROR else verdict.severity.word,
        "reason": verdict.reason,
        "sentence": verdict.sentence,
        "expected": result.expected,
        "observed": result.observed,
        "duration_seconds": result.duration,
        "phases": dict(result.phases),
        "measurements": dict(result.measurements),
        "evidence": dict(result.evidence),
        "limits": [_limit(finding) for finding in weigh(limits, result, verdict)],
        "distorted": verdict.distorted,
        "lag_seconds": result.lag,
    }


def _limit(finding: Finding) -> dict[str, Any]:
    return {
        "limit": finding.limit,
        "holds": None if finding.observed in UNKNOWN else finding.severity is Severity.OK,
        "severity": finding.severity.word,
        "expected": finding.expected,
        "observed": finding.observed,
    }

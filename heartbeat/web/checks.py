"""A check as the API tells it: plain data that JSON can carry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from heartbeat.core.model import Finding, Outcome
from heartbeat.core.status import Incident
from heartbeat.metrics.columns import is_broken
from heartbeat.state import Live


def describe(live: Live, next_run: float | None, redact: Callable[[str], str]) -> dict[str, Any]:
    """Return all that the API tells of one check; times in seconds since the epoch, durations in seconds.

    Free text is redacted; the rest are numbers, ids and words of ours.

    ``severity`` and ``since`` are of the status after its policy; ``outcome``, ``reason`` and ``sentence`` and all
    that was measured are of the latest run.
    """
    config, status, verdict, result = live.config, live.status, live.verdict, live.result
    return {
        "name": config.name,
        "type": config.type,
        "labels": {key: redact(value) for key, value in config.labels.items()},
        "runbook": redact(config.runbook) or None,
        "severity": live.severity.word if live.last_run is not None else None,
        "since": status.since,
        "up": live.up,
        "broken": is_broken(live),
        "incident": _incident(status.incident),
        "broken_incident": _incident(status.broken_incident),
        "outcome": verdict.outcome if verdict else None,
        "reason": verdict.reason if verdict else None,
        "sentence": redact(verdict.sentence) if verdict else "",
        "expected": _text(result.expected, redact) if result else None,
        "observed": _text(result.observed, redact) if result else None,
        "findings": [_finding(finding, redact) for finding in verdict.findings] if verdict else [],
        "distorted": verdict.distorted if verdict else False,
        "run": live.run.id if live.run else None,
        "last_run": live.last_run,
        "last_success": live.last_success,
        "next_run": next_run,
        "duration": result.duration if result else None,
        "timeout": config.timeout,
        "phases": dict(result.phases) if result else {},
        "measurements": dict(result.measurements) if result else {},
        "runs": {outcome: live.runs[outcome] for outcome in Outcome},
    }


def _incident(incident: Incident | None) -> dict[str, Any] | None:
    return {"id": incident.id, "since": incident.since} if incident else None


def _finding(finding: Finding, redact: Callable[[str], str]) -> dict[str, Any]:
    return {
        "limit": finding.limit,
        "severity": finding.severity.word,
        "expected": redact(finding.expected),
        "observed": redact(finding.observed),
    }


def _text(text: str | None, redact: Callable[[str], str]) -> str | None:
    return text and redact(text)

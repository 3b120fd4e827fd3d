"""What a verification leaves for programs: its result as JSON, and the baseline that later ones are compared with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

from heartbeat import __version__
from heartbeat.core.baseline import DURATION, Spread
from heartbeat.core.gate import Assessment, Grade, Look
from heartbeat.core.model import Finding
from heartbeat.verification.summary import Baseline, Judged, Summary

VERSION = 1
BASELINE_BYTES = 64 * 1024 * 1024


def data_of(summary: Summary, code: int) -> dict[str, Any]:
    """Return all that is known, for JSON. ``code`` is the exit status."""
    return {
        "version": VERSION,
        "heartbeat": __version__,
        "verdict": summary.grade.value,
        "exit": code,
        "began": written(summary.began),
        "seconds": round(summary.took, 3),
        "interrupted": summary.interrupted or None,
        "required": list(summary.required),
        "targets": dict(summary.targets),
        "faults": list(summary.faults),
        "checks": [_check(judged) for judged in summary.checks],
        "switched_off": dict(summary.off),
    }


def written(at: float) -> str:
    """Return a time as RFC 3339 writes it, in UTC, to the second."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _check(judged: Judged) -> dict[str, Any]:
    check, found = judged.trial.config, judged.assessment
    spread = (found.measured or {}).get(DURATION)
    return {
        "name": check.name,
        "type": check.type,
        "tags": list(check.tags),
        "labels": dict(check.labels),
        "verdict": found.grade.value,
        "sentence": found.sentence or None,
        "runs": found.runs,
        "good": found.good,
        "bad": found.bad,
        "said_nothing": found.runs - found.good - found.bad,
        "recovered": found.recovered,
        "good_share": good_share(found),
        "duration": {"n": spread.n, "p50": spread.p50, "p95": spread.p95} if spread else None,
        "findings": [_finding(one) for one in found.findings],
        "notes": list(found.notes),
        "shown": _look(found.shown) if found.shown and found.grade is not Grade.PASSED else None,
    }


def good_share(found: Assessment) -> float | None:
    """Return the share of good runs among those that say something of the target; None where none does."""
    clear = found.good + found.bad
    return found.good / clear if clear else None


def _finding(finding: Finding) -> dict[str, Any]:
    return {**asdict(finding), "severity": finding.severity.word}


def _look(look: Look) -> dict[str, Any]:
    verdict, result = look.verdict, look.result
    return {
        "run": verdict.run.id,
        "at": written(verdict.at),
        "outcome": verdict.outcome.value,
        "reason": verdict.reason.value if verdict.reason else None,
        "sentence": verdict.sentence,
        "expected": result.expected,
        "observed": result.observed,
        "duration": result.duration,
        "phases": dict(result.phases),
        "measurements": dict(result.measurements),
        "findings": [_finding(one) for one in verdict.findings],
        "evidence": dict(result.evidence),
    }


def baseline_of(summary: Summary) -> dict[str, Any]:
    """Return what the good runs of each check measured, for later comparison."""
    measured = {judged.trial.name: judged.assessment.measured for judged in summary.checks}
    return {
        "version": VERSION,
        "heartbeat": __version__,
        "made": written(summary.began),
        "checks": {
            name: {one: asdict(spread) for one, spread in (found or {}).items()} for name, found in measured.items()
        },
    }


def read_baseline(path: Path) -> Baseline:
    """Return a baseline that was saved. Raises ``ValueError`` with a sentence for what is none."""
    try:
        if path.stat().st_size > BASELINE_BYTES:
            raise ValueError(f"the baseline {path} is larger than 64 MiB")
        saved = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"the baseline {path} cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise ValueError(f"{path} is no baseline: it is no JSON") from None
    if not isinstance(saved, dict) or saved.get("version") != VERSION or not isinstance(saved.get("checks"), dict):
        raise ValueError(f"{path} is no baseline of this version; save a new one with --save-baseline")
    try:
        return {str(name): _measured(found) for name, found in saved["checks"].items()}
    except (TypeError, ValueError, AttributeError, KeyError):
        raise ValueError(f"{path} is no baseline that --save-baseline made") from None


def _measured(found: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Spread]:
    return {name: _spread(**numbers) for name, numbers in found.items()}


def _spread(**numbers: Any) -> Spread:
    if not all(isinstance(one, (int, float)) and isfinite(one) for one in numbers.values()) or numbers["n"] < 1:
        raise ValueError("numbers, of at least one run")
    return Spread(**numbers)

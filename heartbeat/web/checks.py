"""A check as the API tells it: plain data that JSON can carry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from heartbeat.core.model import Finding, Outcome, Track
from heartbeat.core.quiet import QuietKind
from heartbeat.core.status import Acknowledgement, Incident, has_incident, incidents
from heartbeat.core.trace import trace_id
from heartbeat.metrics.columns import budget_of, is_broken, is_unknown
from heartbeat.quiet.surroundings import Surroundings
from heartbeat.state import Live

Redact = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Around:
    """What stands around a check: why nobody is told of it, as one word and as a sentence, and what it holds back.

    ``doubt`` says why nobody knows whether its switch (``enabled``) still says what it said last.
    """

    word: str = ""
    sentence: str = ""
    holds_back: tuple[str, ...] = ()
    doubt: str = ""


NOTHING_AROUND = Around()


def look_around(surroundings: Surroundings, live: Live, now: float) -> Around:
    """Return what stands around a check at a time: the first thing that would keep a message back.

    That it depends on another, or that there is a storm, counts only where something is wrong with it.
    """
    name = live.config.name
    holds_back, doubt = surroundings.held_back(name), surroundings.quiet.doubts.get(name, "")
    against = surroundings.against(live, now)
    if has_incident(live.status):
        for word, sentence in (("dependency", against.dependency), ("storm", against.storm)):
            if sentence:
                return Around(word, sentence, holds_back, doubt)
    return Around(surroundings.quiet.kind(live.config, now), against.quiet, holds_back, doubt)


def suppressed_by(surroundings: Surroundings, live: Live, now: float) -> str:
    """Return the word for what keeps messages on a check back, or nothing."""
    if has_incident(live.status):
        return look_around(surroundings, live, now).word
    return surroundings.quiet.kind(live.config, now)


def state_of(live: Live, around: Around) -> str:
    """Return how a check stands in one word, that which says most first. Only what is known to be well is ``ok``."""
    status = live.status
    if around.word == QuietKind.DISABLED:
        return "disabled"
    if status.absent:
        return "missed"
    if is_broken(live):
        return "broken"
    if status.flapping:
        return "flapping"
    return "unknown" if live.last_run is None else status.severity.word


def describe(live: Live, next_run: float | None, redact: Redact, around: Around = NOTHING_AROUND) -> dict[str, Any]:
    """Return all that the API tells of one check; times in seconds since the epoch, durations in seconds.

    Free text is redacted; the rest are numbers, ids and words of ours.

    ``state`` says in one word how it stands. ``severity`` and ``since`` are of the status after its policy, and
    ``severity`` is null where nothing is known: before the first run, and where a check that was well does not run.
    ``outcome``, ``reason`` and ``sentence`` and all that was measured are of the latest run.
    """
    config = live.config
    return {
        "name": config.name,
        "type": config.type,
        "labels": {key: redact(value) for key, value in config.labels.items()},
        "runbook": redact(config.runbook) or None,
        "depends_on": list(config.depends_on),
        "timeout": config.timeout,
        "next_run": next_run,
        **_status(live, redact, around),
        **_latest(live, redact),
        "runs": {outcome: live.runs[outcome] for outcome in Outcome},
    }


def _status(live: Live, redact: Redact, around: Around) -> dict[str, Any]:
    """Return how a check stands after its policy, and what of that is told."""
    status, state = live.status, state_of(live, around)
    is_known = live.last_run is not None and not is_unknown(status) and state != "disabled"
    return {
        "state": state,
        "severity": live.severity.word if is_known else None,
        "since": status.since,
        "up": live.up,
        "broken": is_broken(live),
        "incident": _incident(status.incident),
        "broken_incident": _incident(status.broken_incident),
        "incidents": [_describe(track, incident, redact) for track, incident in incidents(status)],
        "suppressed": {"reason": around.word, "sentence": redact(around.sentence)} if around.word else None,
        "holds_back": list(around.holds_back),
        "switch_problem": redact(around.doubt) or None,
        "error_budget_left": budget_of(live),
        "last_success": live.last_success,
    }


def _latest(live: Live, redact: Redact) -> dict[str, Any]:
    """Return what the latest run found."""
    verdict, result = live.verdict, live.result
    return {
        "outcome": verdict.outcome if verdict else None,
        "reason": verdict.reason if verdict else None,
        "sentence": redact(verdict.sentence) if verdict else "",
        "expected": _text(result.expected, redact) if result else None,
        "observed": _text(result.observed, redact) if result else None,
        "findings": [_finding(finding, redact) for finding in verdict.findings] if verdict else [],
        "distorted": verdict.distorted if verdict else False,
        "run": live.run.id if live.run else None,
        "trace_id": trace_id(live.run.id) if live.run and result and result.marked else None,
        "last_run": live.last_run,
        "duration": result.duration if result else None,
        "phases": dict(result.phases) if result else {},
        "measurements": dict(result.measurements) if result else {},
    }


def _incident(incident: Incident | None) -> dict[str, Any] | None:
    return {"id": incident.id, "since": incident.since} if incident else None


def _describe(track: Track, incident: Incident, redact: Redact) -> dict[str, Any]:
    """Return one of the incidents that are open. ``untold`` says why its latest news were told to nobody, if so."""
    severity = None if track in (Track.CHECK, Track.RUNS) else incident.severity.word
    return {
        "id": incident.id,
        "track": track,
        "since": incident.since,
        "opened": incident.opened or incident.since,
        "severity": severity,
        "told": sorted({address.channel for address in incident.told}),
        "first_told": incident.first_told,
        "untold": redact(incident.untold) or None,
        "acknowledged": _acknowledged(incident.acknowledged, redact),
        "escalated": incident.escalated,
    }


def _acknowledged(by: Acknowledgement | None, redact: Redact) -> dict[str, Any] | None:
    return {"by": redact(by.who), "why": redact(by.why), "at": by.at} if by else None


def _finding(finding: Finding, redact: Redact) -> dict[str, Any]:
    return {
        "limit": finding.limit,
        "severity": finding.severity.word,
        "expected": redact(finding.expected),
        "observed": redact(finding.observed),
    }


def _text(text: str | None, redact: Redact) -> str | None:
    return text and redact(text)

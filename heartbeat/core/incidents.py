"""Incidents: opened, continued and ended by events, on any track. Every event is made here."""

from __future__ import annotations

from dataclasses import dataclass, replace

from heartbeat.core.flapping import HISTORY, count_changes
from heartbeat.core.model import OVER, Event, Finding, Kind, Reason, Run, Severity, Track, Verdict, derive_id
from heartbeat.core.status import Incident, Sample, Status, incident_on, with_incident

Step = tuple[Status, tuple[Event, ...]]


@dataclass(frozen=True, slots=True)
class News:
    """What an event says.

    ``severity`` is that of its track, ``since`` is when the trouble began, where not now, and ``why`` is why it is told
    now, where that is not what its kind says. ``was`` is what was told before, where not what the latest event said.
    """

    check: str
    severity: Severity = Severity.OK
    reason: Reason | None = None
    sentence: str = ""
    findings: tuple[Finding, ...] = ()
    run: Run | None = None
    since: float | None = None
    why: str = ""
    was: Severity | None = None


def news_of(verdict: Verdict, severity: Severity = Severity.OK) -> News:
    """Return what a verdict has to say."""
    return News(verdict.run.check, severity, verdict.reason, verdict.sentence, verdict.findings, verdict.run)


def standing(status: Status, track: Track, incident: Incident, check: str) -> News:
    """Return what is to be said of an open incident without any news."""
    severity = incident.severity
    if track is Track.CHECK:
        return News(check, severity, status.broken_reason, status.broken_sentence)
    if track is Track.RUNS:
        return News(check, severity, None, status.absent_sentence)
    if track is Track.BUDGET:
        return News(check, severity, Reason.LIMIT, status.burning_sentence)
    if track is Track.FLAPPING:
        return News(check, status.severity, status.reason, describe_flapping(status, status.sentence))
    return News(check, severity, status.reason, status.sentence)


def describe_flapping(status: Status, found: str) -> str:
    """Say how often the state changed, and how it is now."""
    changes = f"its state changed {count_changes(status.states)} times in the last {HISTORY - 1} runs"
    return f"{changes}; now it is {status.severity.word}{found and ': '}{found}"


def emit(status: Status, track: Track, kind: Kind, news: News, now: float) -> Step:
    """Make an event of the incident on a track, which it opens where there is none, and ends where the kind says so."""
    number = status.events + 1
    incident = incident_on(status, track) or _open(track, status, news, number, now)
    sequence = incident.sequence + 1
    slot, attempt = (news.run.slot, news.run.attempt) if news.run else (incident.since, sequence)
    event = Event(
        id=derive_id("evt", news.check, slot, attempt, kind, number),
        kind=kind,
        check=news.check,
        incident=incident.id,
        sequence=sequence,
        at=now,
        was=incident.severity if news.was is None else news.was,
        severity=news.severity,
        since=incident.since,
        reason=news.reason,
        sentence=news.sentence,
        findings=news.findings,
        run=news.run,
        track=track,
        why=news.why,
        told=incident.told,
        untold=incident.untold,
    )
    after = None if kind in OVER else replace(incident, sequence=sequence, told_at=now, severity=news.severity)
    return with_incident(replace(status, events=number), track, after), (event,)


def _open(track: Track, status: Status, news: News, number: int, now: float) -> Incident:
    since = news.since
    if since is None:
        since = _began(status.recent, now) if track is Track.TARGET else now
    return Incident(derive_id("inc", news.check, number, now), since, 0, now, opened=now)


def _began(recent: tuple[Sample, ...], now: float) -> float:
    """Return when the target was first seen bad without having been seen well since."""
    began = now
    for sample in reversed(recent):
        if sample.severity is Severity.OK:
            break
        began = sample.at
    return began

"""What the passing of time brings: reminders, escalation, and news that were kept back until now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from heartbeat.core.incidents import News, Step, emit, standing
from heartbeat.core.model import OPENING, Event, Kind, Severity, Track
from heartbeat.core.policy import Policy
from heartbeat.core.status import Incident, Status, incident_on, incidents, with_incident

LOOK_AGAIN = 1.0
"""Seconds after which it is looked again whether something still stands against telling."""
NEVER = float("inf")
GRADED = frozenset({Track.TARGET, Track.BUDGET})
"""The tracks whose incidents grow worse and ease."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed. Nothing stands any longer against telling what is untold on the ``released`` tracks."""

    check: str
    released: tuple[Track, ...] = ()


def pass_time(status: Status, tick: Tick, policy: Policy, now: float) -> Step:
    """Make the events that are due."""
    events: tuple[Event, ...] = ()
    for track, incident in tuple(incidents(status)):
        if incident.untold:
            kind = owed(status, track, incident, policy, now) if track in tick.released else None
        else:
            kind = _due_kind(status, track, incident, policy, now)
        if kind is None:
            continue
        news = standing(status, track, incident, tick.check)
        status, more = emit(status, track, kind, _late(news, incident) if incident.untold else news, now)
        if kind is Kind.ESCALATED:
            status = _mark_escalated(status, track)
        events += more
    return status, events


def owed(status: Status, track: Track, incident: Incident, policy: Policy, now: float) -> Kind | None:
    """Return by what to tell what was kept back, once nothing stands against it; None where it need not be told.

    That it began, that it grew worse or that it eased is told in any case. Where what was told still holds, those who
    are reminded at all are reminded at once, unless somebody takes care of it.
    """
    if not incident.untold or _is_unsettled(status, track):
        return None
    if incident.first_told is None:
        return OPENING[track]
    if track in GRADED and incident.severity is not incident.told_severity:
        return OPENING[track] if incident.severity > incident.told_severity else Kind.EASED
    if policy.remind is not None and not incident.acknowledged:
        return Kind.REMINDER
    return Kind.ESCALATED if now >= _escalates_at(status, track, incident, policy) else None


def wake_at(status: Status, policy: Policy) -> float | None:
    """Return when a tick may have something to do, None where only another change can bring something."""
    return min(_due(status, policy), default=None)


def rearm(status: Status, policy: Policy) -> Status:
    """Return the status with the time of its next tick under another policy, as after a reload or a restart."""
    at = wake_at(status, policy)
    return status if at == status.wake_at else replace(status, wake_at=at)


def _due(status: Status, policy: Policy) -> Iterator[float]:
    for track, incident in incidents(status):
        if incident.untold:
            yield incident.told_at + LOOK_AGAIN  # not from now on: each run would put it off
            continue
        for at in (_reminds_at(status, track, incident, policy), _escalates_at(status, track, incident, policy)):
            if at < NEVER:
                yield at


def _due_kind(status: Status, track: Track, incident: Incident, policy: Policy, now: float) -> Kind | None:
    if now >= _escalates_at(status, track, incident, policy):
        return Kind.ESCALATED
    return Kind.REMINDER if now >= _reminds_at(status, track, incident, policy) else None


def _reminds_at(status: Status, track: Track, incident: Incident, policy: Policy) -> float:
    is_muted = incident.acknowledged or _is_unsettled(status, track)
    return NEVER if policy.remind is None or is_muted else incident.told_at + policy.remind


def _escalates_at(status: Status, track: Track, incident: Incident, policy: Policy) -> float:
    """Return when others are to be told of what fails, or does not run, while nobody acknowledges it."""
    fails = incident.severity is Severity.FAIL and status.severity is Severity.FAIL  # it may flap, and be well now
    matters = track in (Track.CHECK, Track.RUNS) or (track is Track.TARGET and fails)
    is_over = incident.escalated or incident.acknowledged
    if policy.escalate is None or incident.first_told is None or not matters or is_over:
        return NEVER
    return incident.first_told + policy.escalate


def _is_unsettled(status: Status, track: Track) -> bool:
    """Say whether the target flaps: that is told, and how it stands when it has settled."""
    return track is Track.TARGET and status.flapping is not None


def _late(news: News, incident: Incident) -> News:
    why = f"it was kept back until now: {incident.untold}"
    return replace(news, why=why, was=Severity.OK if incident.first_told is None else incident.told_severity)


def _mark_escalated(status: Status, track: Track) -> Status:
    incident = incident_on(status, track)
    return with_incident(status, track, incident and replace(incident, escalated=True))

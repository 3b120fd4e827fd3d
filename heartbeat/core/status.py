"""The status of a check: what we hold true of it after its policy. ``advance`` is what changes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from heartbeat.core.model import Address, Reason, Severity, Track


@dataclass(frozen=True, slots=True)
class Sample:
    """What a latch remembers of one verdict."""

    at: float
    severity: Severity


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Who takes care of an incident, and what they say of it."""

    who: str
    why: str
    at: float


@dataclass(frozen=True, slots=True)
class Incident:
    """Everything from raised to resolved.

    Attributes:
        id: stable across its messages.
        since: when the trouble was first seen: before it was raised, where the policy waits for more than one run.
        sequence: how many events it had.
        told_at: when the latest event was made, for reminders.
        opened: when it was raised.
        severity: that of the target, as the latest event said.
        told: who was told of it so far; empty, although nothing is untold, where an earlier version told it.
        first_told: when somebody was first told of it, or that it fails, where that came later.
        told_severity: the severity in what was told last.
        worst_told: the worst severity that was told.
        untold: why its latest news was told to nobody; it is told as soon as nothing stands against it.
        acknowledged: by whom; it ends with the incident.
        escalated: others were told, because nobody acknowledged it.
    """

    id: str
    since: float
    sequence: int
    told_at: float
    opened: float = 0.0
    severity: Severity = Severity.OK
    told: tuple[Address, ...] = ()
    first_told: float | None = None
    told_severity: Severity = Severity.OK
    worst_told: Severity = Severity.OK
    untold: str = ""
    acknowledged: Acknowledgement | None = None
    escalated: bool = False


@dataclass(frozen=True, slots=True)
class Status:
    """What we hold true of a check after its policy. Saved with every change, read back at the next start."""

    warn: bool = False
    fail: bool = False
    broken: bool = False
    since: float | None = None
    """When the severity took its value; None before the first run."""
    reason: Reason | None = None
    sentence: str = ""
    """Why it stands as it stands: of the latest verdict that raised, empty when all is well."""
    recent: tuple[Sample, ...] = ()
    errors: tuple[bool, ...] = ()
    distorted: int = 0
    incident: Incident | None = None
    broken_incident: Incident | None = None
    broken_reason: Reason | None = None
    broken_sentence: str = ""
    events: int = 0
    """Counts the events of the check for ever, so that an id stays unique when a stepped clock repeats a slot."""
    up: bool | None = None
    last_success: float | None = None
    wake_at: float | None = None
    """When a tick has something to do."""
    held: tuple[tuple[str, Severity], ...] = ()
    """The limits outside which the last measurement was, by name; each holds until a value clears it."""
    states: tuple[Severity, ...] = ()
    """The severities after the latest runs, for flapping; empty where all of them were ok."""
    absent: Incident | None = None
    absent_sentence: str = ""
    burning: Incident | None = None
    burning_sentence: str = ""
    flapping: Incident | None = None

    @property
    def severity(self) -> Severity:
        """The highest latch that is set."""
        return Severity.FAIL if self.fail else Severity.WARN if self.warn else Severity.OK


FRESH = Status()
"""The status of a check that has never run."""
_FIELDS = {
    Track.TARGET: "incident",
    Track.CHECK: "broken_incident",
    Track.RUNS: "absent",
    Track.BUDGET: "burning",
    Track.FLAPPING: "flapping",
}


def incident_on(status: Status, track: Track) -> Incident | None:
    """Return the open incident of a track."""
    found: Incident | None = getattr(status, _FIELDS[track])
    return found


def with_incident(status: Status, track: Track, incident: Incident | None) -> Status:
    """Return the status with another incident on a track, or none."""
    return replace(status, **{_FIELDS[track]: incident})  # type: ignore[arg-type]  # the fields above hold incidents


def incidents(status: Status) -> Iterator[tuple[Track, Incident]]:
    """Yield what is open, the target's first."""
    for track, name in _FIELDS.items():
        if incident := getattr(status, name):
            yield track, incident


def has_incident(status: Status) -> bool:
    """Say whether anything is open: asked of all checks at once, so each field is looked at by name."""
    first = status.incident or status.broken_incident or status.absent
    return (first or status.burning or status.flapping) is not None


def renew(status: Status) -> Status:
    """Return a status that an earlier version saved as one of today's: what is open there was told, to whom is unknown.

    That version did not save the severity of an incident; on the track of the target it is never ok.
    """
    for track, incident in incidents(status):
        if incident.first_told is None and not incident.untold:
            severity = status.severity if track is Track.TARGET else incident.severity
            told = replace(incident, severity=severity, told_severity=severity, worst_told=severity)
            status = with_incident(status, track, replace(told, opened=told.since, first_told=told.told_at))
    return status


def shift(status: Status, seconds: float) -> Status:
    """Move all times: the wall clock was stepped, and differences must stay what they were."""

    def moved(at: float | None) -> float | None:
        return None if at is None else at + seconds

    for track, incident in incidents(status):
        status = with_incident(status, track, _shift_incident(incident, seconds))
    return replace(
        status,
        since=moved(status.since),
        recent=tuple(replace(sample, at=sample.at + seconds) for sample in status.recent),
        last_success=moved(status.last_success),
        wake_at=moved(status.wake_at),
    )


def _shift_incident(incident: Incident, seconds: float) -> Incident:
    first, taken = incident.first_told, incident.acknowledged
    return replace(
        incident,
        since=incident.since + seconds,
        told_at=incident.told_at + seconds,
        opened=incident.opened + seconds,
        first_told=None if first is None else first + seconds,
        acknowledged=taken and replace(taken, at=taken.at + seconds),
    )

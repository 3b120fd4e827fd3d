"""The status of a check: what we hold true of it after its policy. ``advance`` is what changes it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from heartbeat.core.model import Reason, Severity


@dataclass(frozen=True, slots=True)
class Sample:
    """What a latch remembers of one verdict."""

    at: float
    severity: Severity


@dataclass(frozen=True, slots=True)
class Incident:
    """Everything from raised to resolved.

    ``since`` is when the trouble was first seen, which is before it was raised where the policy waits for more than
    one run; ``told_at`` is when the latest event went out, for reminders.
    """

    id: str
    since: float
    sequence: int
    told_at: float


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

    @property
    def severity(self) -> Severity:
        """The highest latch that is set."""
        return Severity.FAIL if self.fail else Severity.WARN if self.warn else Severity.OK


FRESH = Status()
"""The status of a check that has never run."""


def shift(status: Status, seconds: float) -> Status:
    """Move all times: the wall clock was stepped, and differences must stay what they were."""

    def moved(at: float | None) -> float | None:
        return None if at is None else at + seconds

    def moved_incident(incident: Incident | None) -> Incident | None:
        if incident is None:
            return None
        return replace(incident, since=incident.since + seconds, told_at=incident.told_at + seconds)

    return replace(
        status,
        since=moved(status.since),
        recent=tuple(replace(sample, at=sample.at + seconds) for sample in status.recent),
        incident=moved_incident(status.incident),
        broken_incident=moved_incident(status.broken_incident),
        last_success=moved(status.last_success),
        wake_at=moved(status.wake_at),
    )

"""The shared words: frozen data that every layer passes on, and nothing that acts.

All times are seconds since the epoch (UTC) on the daemon's steady clock; all durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Severity(IntEnum):
    """How bad it is; ordered, so that ``max`` is the worst."""

    OK = 0
    WARN = 1
    FAIL = 2

    @property
    def word(self) -> str:
        """The lower-case word used in configuration, messages and the API."""
        return self.name.lower()


class Outcome(StrEnum):
    """What a run found: about the target (ok, fail), about the check (error), or that it could not run (missed)."""

    OK = "ok"
    FAIL = "fail"
    ERROR = "error"
    MISSED = "missed"


class Reason(StrEnum):
    """The closed list of reasons: the same word in metrics, messages and the API. Free text belongs beside it."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    CERTIFICATE = "certificate"
    TIMEOUT = "timeout"
    RESET = "reset"
    PROTOCOL = "protocol"
    STATUS = "status"
    CONTENT = "content"
    MISMATCH = "mismatch"
    AUTH = "auth"
    ABSENT = "absent"
    LIMIT = "limit"

    PLUGIN = "plugin"
    CONFIG = "config"
    ACCOUNT = "account"
    RESOURCE = "resource"
    NETWORK = "network"

    LATE = "late"
    BUSY = "busy"
    OVERLOAD = "overload"
    PAUSED = "paused"


BROKEN_REASONS = frozenset({Reason.PLUGIN, Reason.CONFIG, Reason.ACCOUNT, Reason.RESOURCE, Reason.NETWORK})
MISSED_REASONS = frozenset({Reason.LATE, Reason.BUSY, Reason.OVERLOAD, Reason.PAUSED})
TARGET_REASONS = frozenset(Reason) - BROKEN_REASONS - MISSED_REASONS


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a check: ``attempt`` is 0 for the slot's own run and counts up with each recheck."""

    id: str
    check: str
    slot: float
    attempt: int
    started: float
    timeout: float


@dataclass(frozen=True, slots=True)
class Caution:
    """What is not well yet not a failure, in the words of the plugin: a warning of a run that is ok."""

    reason: Reason
    sentence: str


@dataclass(frozen=True, slots=True)
class Result:
    """What a run found. ``reason`` and ``sentence`` are empty exactly when the outcome is ok."""

    outcome: Outcome
    duration: float
    reason: Reason | None = None
    sentence: str = ""
    expected: str | None = None
    observed: str | None = None
    measurements: Mapping[str, float] = field(default_factory=lambda: NOTHING)
    phases: Mapping[str, float] = field(default_factory=lambda: NOTHING)
    evidence: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    lag: float = 0.0
    """The longest time that our own loop stood still during the run."""
    dropped: int = 0
    """Records that were refused: after the deadline, over the cap, not finite, or badly named."""
    caution: Caution | None = None
    """What the plugin warns of, where the outcome is ok; ``expected`` and ``observed`` then belong to it."""
    marked: bool = False
    """Its requests told the id of the run, so that its trace can be looked for (``core.trace``). It is not stored."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One limit that did not hold: which, how bad, what was allowed, what was seen."""

    limit: str
    severity: Severity
    expected: str
    observed: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A result held against the limits. ``severity`` means something only when the outcome is ok or fail."""

    run: Run
    at: float
    outcome: Outcome
    severity: Severity
    reason: Reason | None = None
    sentence: str = ""
    findings: tuple[Finding, ...] = ()
    distorted: bool = False
    """Our own lag could have decided a limit: such a verdict raises and clears nothing."""
    burns: tuple[Finding, ...] = ()
    """The burn rates of the objective that are too high: a track of their own, not part of the severity."""


class Track(StrEnum):
    """What an incident is about. A check may have one open on each, and each is told, reminded and ended by itself."""

    TARGET = "target"
    CHECK = "check"
    """The check itself is broken."""
    RUNS = "runs"
    """The check does not run."""
    BUDGET = "budget"
    """The error budget of its objective is being used up too fast."""
    FLAPPING = "flapping"


class Kind(StrEnum):
    """The changes worth telling."""

    RAISED = "raised"
    EASED = "eased"
    RESOLVED = "resolved"
    REMINDER = "reminder"
    ESCALATED = "escalated"
    FLAPPING = "flapping"
    SETTLED = "settled"
    CHECK_BROKEN = "check_broken"
    CHECK_REPAIRED = "check_repaired"
    MISSED = "missed"
    RESUMED = "resumed"
    BUDGET_BURNING = "budget_burning"
    BUDGET_SAFE = "budget_safe"
    WITHDRAWN = "withdrawn"
    DRILL = "drill"


OPENING = {
    Track.TARGET: Kind.RAISED,
    Track.CHECK: Kind.CHECK_BROKEN,
    Track.RUNS: Kind.MISSED,
    Track.BUDGET: Kind.BUDGET_BURNING,
    Track.FLAPPING: Kind.FLAPPING,
}
"""The kind of event by which an incident of each track begins."""
OVER = frozenset({Kind.RESOLVED, Kind.CHECK_REPAIRED, Kind.RESUMED, Kind.BUDGET_SAFE, Kind.SETTLED, Kind.WITHDRAWN})
"""The kinds by which an incident ends."""


@dataclass(frozen=True, slots=True)
class Event:
    """One change worth telling, with all that its messages need, so that a later render says the same.

    ``sequence`` counts the events of the incident from 1. ``was`` and ``severity`` are those of its track
    in the event before and now (of what is told late, ``was`` is what was told); on the track of broken checks and of
    missed runs both are ``OK``, and the kind tells. ``since`` is when the trouble was first seen.
    """

    id: str
    kind: Kind
    check: str
    incident: str
    sequence: int
    at: float
    was: Severity
    severity: Severity
    since: float
    reason: Reason | None
    sentence: str
    findings: tuple[Finding, ...] = ()
    run: Run | None = None
    result: Result | None = None
    """What the run found; filled in by ``line`` when the event is recorded."""
    context: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    """About the check: ``type``, ``labels``, ``runbook``, ``location``; filled in together with the result."""
    track: Track = Track.TARGET
    why: str = ""
    """Why it is told now, where that is not what the kind says: what kept it back until now."""
    told: tuple[Address, ...] = ()
    """Who was told of the incident before: whoever heard that it began hears that it ends."""
    untold: str = ""
    """Why nobody was told of what came before, where nobody was."""


class DeliveryState(StrEnum):
    """Where a delivery is on its way."""

    PENDING = "pending"
    LEASED = "leased"
    ACKNOWLEDGED = "acknowledged"
    DEAD = "dead"
    SUPPRESSED = "suppressed"


@dataclass(frozen=True, slots=True)
class Address:
    """One way out: ``channel`` is its identity (``receiver/kind`` or its name); ``recipient`` may be empty."""

    receiver: str
    channel: str
    recipient: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one channel and recipient."""

    id: str
    event: Event
    address: Address
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    next_at: float = 0.0
    note: str = ""
    """The last answer or error, redacted; for a suppressed delivery the reason why nobody was told."""
    batch: str = ""
    """The batch it travels in; empty where it travels alone."""
    closes_at: float = 0.0
    """Until when others may join its batch."""
    sealed_at: float = 0.0
    """When its message was made, just before the first attempt; 0 while others may still join."""
    done_at: float = 0.0
    """When it was acknowledged or given up; 0 while it is on its way."""
    why: str = ""
    """Why this recipient gets it, where that is not the configuration: what another could not be told, and why."""


def derive_id(prefix: str, *parts: object) -> str:
    """Return an id that follows from its parts alone, so that deciding twice makes the same one."""
    digest = blake2b("\x1f".join(map(str, parts)).encode(errors="surrogatepass"), digest_size=15)
    return f"{prefix}_{digest.hexdigest()}"

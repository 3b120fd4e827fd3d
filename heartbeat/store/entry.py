"""What goes into the store and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from heartbeat.core.model import Delivery, Event, Outcome, Result, Run, Severity, Verdict
from heartbeat.core.status import Status


@dataclass(frozen=True, slots=True)
class Entry:
    """What one input of the line leaves behind, recorded in one transaction.

    ``run``, ``result`` and ``verdict`` come together; they are None for a tick, a control or a withdrawal, which then
    names its ``check``. ``status`` is given when it changed. Handing over the same entry again records nothing twice:
    events and deliveries by their ids, results by their run.
    """

    run: Run | None = None
    result: Result | None = None
    verdict: Verdict | None = None
    status: Status | None = None
    events: tuple[Event, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    """Also those that nobody gets: ``suppressed``, with the reason as their note."""
    check: str = ""
    """The check's name; needed only without a run."""
    steady_at: float | None = None
    """When it came to be, on a clock that is never set back; an older status does not replace a newer one."""

    @property
    def name(self) -> str:
        """The name of the check that the entry is about."""
        return self.check or (self.run.check if self.run else "")

    @property
    def at(self) -> float | None:
        """What orders the statuses of one check within a life of the daemon; None where nothing in it says so."""
        if self.steady_at is not None:
            return self.steady_at
        return self.verdict.at if self.verdict else max((event.at for event in self.events), default=None)

    @property
    def again(self) -> bool:
        """It may be handed over a second time: someone waits for more of it than a row of history."""
        return bool(self.status is not None or self.events or self.deliveries)

    @property
    def durable(self) -> bool:
        """It must survive a power cut: it says anything else than that all is well, as before."""
        return self.again or (self.verdict is not None and not is_steady(self.verdict))


def is_steady(verdict: Verdict) -> bool:
    """Say whether the verdict is plainly ok."""
    return verdict.outcome is Outcome.OK and verdict.severity is Severity.OK


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a check remembers from now on, as JSON, in place of what it did."""

    check: str
    data: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """One run as it was kept. Evidence is there only where the verdict was not ok."""

    run: Run
    result: Result
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a start takes over from the past.

    ``pending`` is in order of creation. ``last`` is the newest result per check. ``memories`` is what each check
    remembers, as JSON. ``unreadable`` has a sentence for every status and delivery that could not be read; they stay in
    the store.
    """

    statuses: Mapping[str, Status]
    pending: tuple[Delivery, ...]
    last: Mapping[str, Recorded]
    unreadable: tuple[str, ...] = ()
    memories: Mapping[str, str] = field(default_factory=dict)

"""The truth while the daemon runs: what is held of every check, in memory, owned by the main thread."""

from __future__ import annotations

from dataclasses import dataclass, field

from heartbeat.config.model import CheckConfig
from heartbeat.core.model import Outcome, Reason, Result, Run, Severity, Verdict
from heartbeat.core.status import FRESH, Status


@dataclass(slots=True)
class Live:
    """One check as it stands. ``version`` counts up with every change, so that text made of it can be kept."""

    config: CheckConfig
    status: Status = FRESH
    run: Run | None = None
    """The latest run, with its result and verdict."""
    result: Result | None = None
    verdict: Verdict | None = None
    up: bool | None = None
    """The latest ok or fail; errors and missed runs leave it as it was."""
    last_run: float | None = None
    last_success: float | None = None
    runs: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    missed: dict[Reason, int] = field(default_factory=dict)
    buckets: list[int] = field(default_factory=list)
    """Runs per duration bucket, not cumulated; the last one is beyond the largest bound."""
    duration_sum: float = 0.0
    attempts_running: int = 0
    version: int = 0

    @property
    def severity(self) -> Severity:
        """How bad it is after the policy."""
        return self.status.severity


@dataclass(slots=True)
class State:
    """All checks by name; self checks (``heartbeat.*``) among them."""

    checks: dict[str, Live] = field(default_factory=dict)

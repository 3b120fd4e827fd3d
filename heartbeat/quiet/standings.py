"""How a check that runs stands, as the core wants to know it."""

from __future__ import annotations

from heartbeat.core.model import Kind, Outcome, Severity
from heartbeat.core.standing import Standing, patience_with, recovery_of
from heartbeat.state import Live

TELLING = (Outcome.OK, Outcome.FAIL)
"""The outcomes that say something about the target."""


def stand(live: Live) -> Standing:
    """Return how a check stands."""
    config, status, verdict = live.config, live.status, live.verdict
    told_of_target = verdict is not None and verdict.outcome in TELLING and not verdict.distorted
    return Standing(
        name=config.name,
        parents=config.depends_on,
        failing_since=status.since if status.fail else None,
        settled_at=status.since,
        looked_at=_began(live) if told_of_target else None,
        is_bad=verdict is not None and verdict.severity is Severity.FAIL,
        is_sound=not status.broken and status.absent is None,
        is_told=bool(config.notify.named(Kind.RAISED, Severity.FAIL)),
        patience=patience_with(config.policy, config.timeout),
        recovery=recovery_of(config.policy, config.timeout),
    )


def _began(live: Live) -> float | None:
    """Return when the latest run began; reckoned from when it ended, which moves with a stepped clock."""
    if live.last_run is None or live.verdict is None:
        return None
    return live.last_run - (live.verdict.at - live.verdict.run.started)

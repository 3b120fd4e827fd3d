"""What stands around a check when it is told of: the checks it depends on, a storm, a quiet time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from heartbeat.config.model import CheckConfig
from heartbeat.core.decide import Objections
from heartbeat.core.dependencies import Trouble, descend, find_cause, find_children
from heartbeat.core.model import NOTHING, Reason, Severity
from heartbeat.core.standing import NO_WAIT, Standing, Wait, bad_since
from heartbeat.core.storm import StormRule
from heartbeat.core.times import readable
from heartbeat.quiet.standings import stand
from heartbeat.quiet.storms import Storms
from heartbeat.quiet.times import Quiet
from heartbeat.state import Live, State


def _nobody(name: str) -> None:
    """Look at nothing: what a bench or a simulation does by itself."""


@dataclass(slots=True)
class Surroundings:
    """All that can stand against telling, as it is at the moment."""

    state: State
    quiet: Quiet
    look_at: Callable[[str], None] = _nobody
    """Runs a check at once, by name, where it may."""
    storms: Storms = field(init=False)
    awake_since: float = 0.0
    """When we last went on after a standstill: meanwhile nobody could look at anything."""
    children: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: NOTHING)

    def __post_init__(self) -> None:
        self.storms = Storms(self.state)

    def adopt(self, checks: Mapping[str, CheckConfig], rule: StormRule | None) -> None:
        """Take over how the checks of a configuration are related, and what it calls a storm."""
        self.children = find_children({name: check.depends_on for name, check in checks.items() if check.depends_on})
        self.storms.adopt(checks, rule)

    def against(self, live: Live, now: float) -> Objections:
        """Return what stands against telling of a check at a time."""
        dependency = self._find_cause(live, now) if live.config.depends_on else NO_WAIT
        storm = self.storms.wait(live, now)
        quiet = self.quiet.reason(live.config, now) or self._hold_on(live, now)
        return Objections(dependency.sentence, storm.sentence, quiet)

    def look_around(self, live: Live, now: float) -> None:
        """Take notice of a check that is bad, or untold: run the checks that would say more, itself among them."""
        verdict = live.verdict
        if verdict and (verdict.severity is Severity.FAIL or verdict.reason is Reason.NETWORK):
            self.storms.note(live, now)
        looks = self._find_cause(live, now).looks if live.config.depends_on else ()
        for name in (*looks, *self.storms.wait(live, now).looks):
            if not self.quiet.is_disabled(name):
                self.look_at(name)

    def held_back(self, name: str) -> tuple[str, ...]:
        """Return the names of the checks that depend on one, are bad, and are not told of."""
        if name not in self.children:
            return ()
        lives = self.state.checks
        return tuple(child for child in descend(name, self.children) if child in lives and _is_held(lives[child]))

    def shift(self, seconds: float) -> None:
        """Move all times, after a step of the wall clock."""
        self.awake_since += seconds
        self.storms.shift(seconds)

    def wake(self, now: float) -> None:
        """Begin to count anew after a standstill."""
        self.awake_since = now
        self.storms.wake(now)

    def _hold_on(self, live: Live, now: float) -> str:
        """Hold after a standstill for as long as ever: meanwhile nobody could see whether it passes."""
        incident, until = live.status.incident, self.awake_since + live.config.policy.hold
        if incident is None or now >= until or incident.opened >= self.awake_since:
            return ""
        return f"it is held until {readable(until)}, in case it passes: nothing could run for a while"

    def _find_cause(self, live: Live, now: float) -> Wait:
        incident = live.status.incident
        opened = max(incident.opened if incident else now, self.awake_since)
        return find_cause(stand(live), Trouble(bad_since(live.status, now), opened), self._stand, now)

    def _stand(self, name: str) -> Standing | None:
        live = self.state.checks.get(name)
        if live is None:
            return None
        # At one that is switched off nobody looks, and nobody hears of it.
        return replace(stand(live), is_told=False) if self.quiet.is_disabled(name) else stand(live)


def _is_held(live: Live) -> bool:
    """Say whether a check is bad, and nobody knows of it."""
    incident, verdict = live.status.incident, live.verdict
    if incident:
        return bool(incident.untold)
    return verdict is not None and verdict.severity is Severity.FAIL

"""Storms as they come and go while the daemon runs: what went bad lately, and what is kept back meanwhile.

A storm stands in memory alone. After a restart it is found again in what it has kept back (``recall``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import structlog

from heartbeat.config.model import CheckConfig
from heartbeat.core.dependencies import find_units
from heartbeat.core.model import NOTHING, Reason, Severity
from heartbeat.core.standing import NO_WAIT, PATIENCE, Wait, bad_since, wait_for_itself
from heartbeat.core.storm import (
    MOST,
    WORD,
    Fact,
    Storm,
    StormRule,
    describe_storm,
    explain,
    find_storm,
    is_over,
    tally,
)
from heartbeat.core.times import readable
from heartbeat.quiet.standings import stand
from heartbeat.state import Live, State

log = structlog.get_logger()

NETWORK = "heartbeat.network"
"""The check of itself by which the daemon tells of a storm."""
OWN = "heartbeat."
MANY = 1000
"""From how many checks on a storm is looked at more rarely than once a second."""
DETAILS = 50
"""How many checks are listed as evidence."""


@dataclass(slots=True)
class Storms:
    """What went bad lately, by name, and the storm that it is, if it is one."""

    state: State
    rule: StormRule | None = field(default_factory=StormRule)
    units: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    storm: Storm | None = None
    members: set[str] = field(default_factory=set)
    """The checks that went bad since the storm began."""
    ended: float | None = None
    """When the latest storm ended, as long as something may still be kept back for it."""
    _fresh: dict[str, float] = field(default_factory=dict)
    """When each check that is bad was first seen so; those that are bad for long are forgotten."""
    _news: int = 0
    """How many went bad since it was looked whether they are a storm."""
    _said: str = ""
    _turn: int = 0

    def adopt(self, checks: Mapping[str, CheckConfig], rule: StormRule | None) -> None:
        """Take over the settings of a configuration, and how its checks are related."""
        self.rule = rule
        parents = {name: check.depends_on for name, check in checks.items() if check.depends_on}
        families = {name: check.family for name, check in checks.items() if check.family}
        self.units = find_units(parents, families)
        if rule is None:
            self.storm, self.ended = None, None

    def note(self, live: Live, now: float) -> None:
        """Take notice of a check that was just found bad."""
        name, status = live.config.name, live.status
        if self.rule is None or name.startswith(OWN) or live.last_success is None or status.flapping:
            return
        since, known = bad_since(status, now), self._fresh.get(name)
        if known is not None and (since <= known or (status.incident is None and now < known + self.rule.within)):
            return
        if since >= now - self.rule.within and (self.ended is None or since > self.ended):
            self._fresh[name] = since
            self._news += 1

    def look(self, now: float) -> bool:
        """Say whether a storm has begun or ended. Called once a second; costs nothing while nothing goes bad.

        Among many it looks again only when a tenth more has gone bad, or has ended the storm that is.
        """
        if self.rule is None:
            return False
        if self.storm:
            self._turn = (self._turn + 1) % (1 + len(self.members) // MANY)
            return self._turn == 0 and self._look_for_the_end(self.storm, self.rule, now)
        if self.ended is not None and now >= self.ended + PATIENCE + MOST:
            self.ended = None
        if self._news <= len(self._fresh) // 10:
            return False
        self._news = 0
        self._forget(now - self.rule.within)
        if len(self._fresh) < self.rule.checks:
            return False
        storm = find_storm(self._facts(now - self.rule.within), now, self.rule)
        if storm is None:
            return False
        self._begin(storm, set())
        log.error("the monitor itself seems cut off", bad=storm.tally.bad, of=storm.tally.ran)
        return True

    def wait(self, live: Live, now: float) -> Wait:
        """Return why a check is not told of, as far as a storm is the reason."""
        if (self.storm is None and self.ended is None) or live.config.name.startswith(OWN) or not self._is_told():
            return NO_WAIT
        if self.storm:
            is_part = bad_since(live.status, now) >= self.storm.began
            return Wait(self._said) if is_part and now < self.storm.seen + MOST else NO_WAIT
        if self.ended is None or not (_is_kept_back(live) or live.config.name in self.members):
            return NO_WAIT
        what = f"{WORD}: that is over since {readable(self.ended)}"
        return wait_for_itself(stand(live), self.ended, self.ended, now, what)

    def problem(self) -> str:
        """Say what a storm is, while there is one."""
        if not self.storm or not self.rule:
            return ""
        whole = tally(self._facts(self.storm.began), self.storm.began, self.rule.share)
        return describe_storm(self.storm, whole, self._failing())

    def details(self) -> str:
        """Return what the checks of a storm say, a line for each, at most so many."""
        lives = (self.state.checks[name] for name in self._failing()[:DETAILS])
        return "\n".join(f"{live.config.name}: {live.verdict.sentence}" for live in lives if live.verdict)

    def recall(self, now: float) -> None:
        """Go on with the storm of an earlier life of the daemon: it is found in what it kept back."""
        kept = [live for live in self.state.checks.values() if _is_kept_back(live)]
        network = self.state.checks.get(NETWORK)
        if not kept or network is None or self.rule is None:
            return
        opened = min(live.status.incident.opened for live in kept if live.status.incident)
        well_since = network.status.since
        if not network.status.fail and well_since is not None and well_since > opened:
            self.ended = well_since
            return
        self._fresh = {live.config.name: bad_since(live.status, now) for live in kept}
        began = min(self._fresh.values())
        self._begin(Storm(began, opened, tally(self._facts(began), began, self.rule.share)), {*self._fresh})

    def shift(self, seconds: float) -> None:
        """Move all times, after a step of the wall clock."""
        self._fresh = {name: at + seconds for name, at in self._fresh.items()}
        self.ended = None if self.ended is None else self.ended + seconds
        if self.storm:
            storm = replace(self.storm, began=self.storm.began + seconds, seen=self.storm.seen + seconds)
            self._begin(storm, self.members)

    def wake(self, now: float) -> None:
        """Begin to count anew after a standstill: meanwhile nobody could look."""
        self.ended = now if self.ended is not None else None
        if self.storm:
            self.storm = replace(self.storm, seen=now)

    def _begin(self, storm: Storm, members: set[str]) -> None:
        self.storm, self.members, self.ended, self._said = storm, members, None, explain(storm)

    def _look_for_the_end(self, storm: Storm, rule: StormRule, now: float) -> bool:
        self.members |= {name for name, at in self._fresh.items() if at >= storm.began}
        self.members &= self.state.checks.keys()
        members = [self._fact(self.state.checks[name]) for name in self.members]
        facts = self._facts(storm.began)
        if not is_over(storm, facts, members, rule):
            return False
        is_known = now >= storm.seen + MOST  # what it kept back was told long ago
        self.storm, self.ended, self._fresh, self._news = None, None if is_known else now, {}, 0
        log.warning("the monitor does not seem cut off any more", since=storm.began)
        return True

    def _facts(self, since: float) -> list[Fact]:
        """Return what is known of the checks that ran since then, but not of those that were bad before."""
        return [
            self._fact(live)
            for name, live in self.state.checks.items()
            if live.last_run is not None
            and live.last_run >= since
            and (not _is_bad(live) or self._fresh.get(name, 0.0) >= since)
            and not name.startswith(OWN)
        ]

    def _fact(self, live: Live) -> Fact:
        name = live.config.name
        bad = self._fresh.get(name) if _is_bad(live) else None
        return Fact(self.units.get(name, name), live.last_run or 0.0, bad)

    def _forget(self, before: float) -> None:
        """Let go of what is well again, gone, or bad for so long that it is no news."""
        lives = self.state.checks
        self._fresh = {
            name: at for name, at in self._fresh.items() if at >= before and name in lives and _is_bad(lives[name])
        }

    def _failing(self) -> list[str]:
        lives = self.state.checks
        began = self.storm.began if self.storm else 0.0
        found = ((at, name) for name, at in self._fresh.items() if at >= began and name in lives)
        return [name for _, name in sorted(found) if _is_bad(lives[name])]

    def _is_told(self) -> bool:
        """Say whether anybody hears of a storm: what nobody hears of may not keep anything back."""
        network = self.state.checks.get(NETWORK)
        return network is not None and bool(network.config.notify.usual)


def _is_bad(live: Live) -> bool:
    verdict = live.verdict
    return verdict is not None and (verdict.severity is Severity.FAIL or verdict.reason is Reason.NETWORK)


def _is_kept_back(live: Live) -> bool:
    incident = live.status.incident
    return incident is not None and incident.untold.startswith(WORD)

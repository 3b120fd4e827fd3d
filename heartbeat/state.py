"""The truth while the daemon runs: what is held of every check, in memory, owned by the main thread."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from heartbeat.config.model import CheckConfig
from heartbeat.core.model import Outcome, Reason, Result, Run, Severity, Verdict
from heartbeat.core.status import FRESH, Status, shift
from heartbeat.core.windows import Plan, Windows, plan_windows

MISSES_AT_MOST = 1000
"""Missed runs of one stretch that windows take in, the latest: none is so long that more of them matter."""
NO_MISSES: Mapping[Reason, int] = MappingProxyType({})


@dataclass(slots=True)
class Counts:
    """How many runs had each outcome; a mapping would take four times as much, ten thousand times."""

    ok: int = 0
    fail: int = 0
    error: int = 0
    missed: int = 0

    def __getitem__(self, outcome: Outcome) -> int:
        return int(getattr(self, outcome.value))

    def add(self, outcome: Outcome, count: int = 1) -> None:
        """Count runs."""
        if outcome is Outcome.OK:  # nearly always
            self.ok += count
        else:
            setattr(self, outcome.value, self[outcome] + count)

    def values(self) -> tuple[int, int, int, int]:
        """Return all of them, in the order of ``Outcome``."""
        return self.ok, self.fail, self.error, self.missed


@dataclass(slots=True)
class Live:
    """One check as it stands."""

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
    runs: Counts = field(default_factory=Counts)
    missed: Mapping[Reason, int] = field(default_factory=lambda: NO_MISSES)
    recovered: int = 0
    """How often a second look found all well before anything was raised."""
    buckets: list[int] = field(default_factory=list)
    """Runs per duration bucket, not cumulated; the last one is beyond the largest bound."""
    bounds: tuple[float, ...] | None = None
    """Of the buckets, as they were when these runs were counted."""
    duration_sum: float = 0.0
    retired: bool = False
    """Taken out of the configuration: a run that is still under way decides nothing any more."""
    windows: Windows | None = field(init=False)
    """What its limits and its objective need to remember of the runs; nearly always nothing."""

    def __post_init__(self) -> None:
        plan = plan_of(self.config)
        self.windows = Windows(plan) if plan else None

    @property
    def severity(self) -> Severity:
        """How bad it is after the policy."""
        return self.status.severity

    def observe(self, verdict: Verdict, result: Result, status: Status, bounds: tuple[float, ...]) -> None:
        """Take in a run: its result, the status after it, and the bucket (upper bounds in seconds) of its duration."""
        was_bad = self.verdict is not None and self.verdict.severity is not Severity.OK
        self.run, self.result, self.verdict, self.status = verdict.run, result, verdict, status
        self.runs.add(verdict.outcome)
        if self.bounds != bounds:  # the first run, or other buckets after a reload
            self.bounds, self.buckets, self.duration_sum = bounds, [0] * (len(bounds) + 1), 0.0
        self.buckets[bisect_left(bounds, result.duration)] += 1
        self.duration_sum += result.duration
        self.last_run = verdict.at
        if verdict.outcome in (Outcome.OK, Outcome.FAIL):
            self.up = verdict.outcome is Outcome.OK
            self.last_success = verdict.at if self.up else self.last_success
            if was_bad and verdict.run.attempt and self.up and not (verdict.severity or status.severity):
                self.recovered += 1

    def restore(self, run: Run, result: Result, verdict: Verdict) -> None:
        """Take over the latest run of an earlier life of the daemon: its time tells how old it is."""
        self.run, self.result, self.verdict = run, result, verdict
        self.last_run, self.up, self.last_success = verdict.at, self.status.up, self.status.last_success
        if verdict.outcome in (Outcome.OK, Outcome.FAIL):
            self.up = verdict.outcome is Outcome.OK
            self.last_success = verdict.at if self.up else self.last_success

    def forget(self) -> None:
        """Forget what was found last: of a check that is off it says nothing of now."""
        self.run = self.result = self.verdict = self.up = self.last_run = None

    def miss(self, reason: Reason, count: int = 1, at: float = 0.0) -> None:
        """Count runs that could not take place: those of so many slots in a row, of which the latest was ``at``."""
        self.runs.add(Outcome.MISSED, count)
        self.missed = {**self.missed, reason: self.missed.get(reason, 0) + count}
        if self.windows is not None:
            interval = self.config.policy.interval or 0.0
            for before in reversed(range(min(count, MISSES_AT_MOST))):
                self.windows.take(at - before * interval, Outcome.MISSED, None)

    def shift(self, seconds: float) -> None:
        """Move all times, after a step of the wall clock."""
        self.status = shift(self.status, seconds)
        self.last_run = None if self.last_run is None else self.last_run + seconds
        self.last_success = None if self.last_success is None else self.last_success + seconds
        if self.windows is not None:
            self.windows.shift(seconds)


def plan_of(config: CheckConfig) -> Plan | None:
    """Return what the limits and the objective of a check need to remember."""
    return plan_windows(config.limits, config.objective, config.policy.interval)


@dataclass(slots=True)
class State:
    """All checks by name; self checks (``heartbeat.*``) among them."""

    checks: dict[str, Live] = field(default_factory=dict)

    def type_of(self, name: str) -> str | None:
        """Return the type of a check; None where there is no such check."""
        live = self.checks.get(name)
        return live.config.type if live else None

    def unwell(self, at_most: int = 20) -> tuple[str, ...]:
        """Return the names of checks that warn or fail, the worst and longest first."""
        bad = [(-live.severity, live.status.since or 0.0, name) for name, live in self.checks.items() if live.severity]
        return tuple(name for _, _, name in sorted(bad)[:at_most])

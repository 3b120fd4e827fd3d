"""What one metrics page says of the checks, noted before it is written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

from heartbeat.config.model import CheckConfig
from heartbeat.core.model import NOTHING, Outcome, Reason
from heartbeat.core.objectives import budget_left
from heartbeat.core.quiet import QuietKind
from heartbeat.core.status import Status, incidents
from heartbeat.state import Live

Series = tuple[list[str], list[float]]
"""Labels and values, one of each per line."""


def is_broken(live: Live) -> bool:
    """Say whether the check itself is bad: its latest run says so, or its status has not recovered from it."""
    return live.status.broken or (live.verdict is not None and live.verdict.outcome is Outcome.ERROR)


def budget_of(live: Live) -> float | None:
    """Return the share of a check's error budget that was left at its latest run; None without an objective."""
    objective, windows, last_run = live.config.objective, live.windows, live.last_run
    if objective is None or windows is None or last_run is None:
        return None
    return budget_left(windows, objective, last_run)


def has_more(config: CheckConfig) -> bool:
    """Say whether the configuration of a check gives rise to more than is said of every check."""
    return config.objective is not None or config.policy.recheck is not None


def is_unknown(status: Status) -> bool:
    """Say whether nothing is known of a check that was well once: it does not run, and must not look well for it."""
    return status.absent is not None and not status.severity


@dataclass(slots=True)
class Columns:
    """What a page says of its checks: a list per value, with an entry per check, None where there is nothing to say.

    The lists hold nothing but numbers, words and what the checks hold anyway. An object per check would make work for
    the garbage collector, and that holds the loop for longer than all the rest.
    """

    bounds: tuple[float, ...]
    labels: list[str] = field(default_factory=list)
    up: list[int | None] = field(default_factory=list)
    severity: list[int | None] = field(default_factory=list)
    broken: list[int | None] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)
    """As many per check as there are outcomes."""
    buckets: list[int] = field(default_factory=list)
    """One more per check than there are bounds."""
    spent: list[float] = field(default_factory=list)
    phases: list[Mapping[str, float]] = field(default_factory=list)
    timeout: list[float] = field(default_factory=list)
    last_run: list[float | None] = field(default_factory=list)
    last_success: list[float | None] = field(default_factory=list)
    failure: list[Reason | None] = field(default_factory=list)
    measured: dict[str, Series] = field(default_factory=lambda: defaultdict(_nothing))
    """By name the labels and the values of the checks that measured it."""
    seldom: dict[str, Series] = field(default_factory=lambda: defaultdict(_nothing))
    """By family the labels and the values of the few checks of which it has something to say."""

    def note(self, live: Live, labels: str, suppressed: str = "") -> None:
        """Add a check as it is now; ``suppressed`` is the word for what keeps messages on it back, if anything does."""
        up, verdict, last_run, result = live.up, live.verdict, live.last_run, live.result
        ran, status = last_run is not None, live.status
        self.labels.append(labels)
        self.up.append(None if up is None else +up)  # the plus makes a plain number of it, as int() does, but sooner
        hidden = status.absent is not None or suppressed  # nearly never, so what it means is asked only then
        known = ran and not (hidden and (is_unknown(status) or suppressed == QuietKind.DISABLED))
        self.severity.append(+status.severity if known else None)
        self.broken.append(+is_broken(live) if ran else None)
        self.runs += live.runs.values()
        self.timeout.append(float(live.config.timeout))
        self.last_run.append(last_run)
        self.last_success.append(live.last_success)
        self.failure.append(verdict.reason if verdict else None)
        self.phases.append(result.phases if result else NOTHING)
        self._note_durations(live)
        if result:
            self._note_measurements(result.measurements, labels)
        if suppressed:
            self.say("heartbeat_check_suppressed", f'{labels},reason="{suppressed}"', 1)

    def note_more(self, live: Live, labels: str) -> None:
        """Add what only some configurations of a check give rise to."""
        if (left := budget_of(live)) is not None:
            self.say("heartbeat_check_error_budget_left_ratio", labels, left)
        if live.config.policy.recheck is not None:
            self.say("heartbeat_check_recovered_on_recheck_total", labels, live.recovered)

    def note_incidents(self, status: Status, labels: str) -> None:
        """Add what is open of a check."""
        if status.flapping:
            self.say("heartbeat_check_flapping", labels, 1)
        if status.absent:
            self.say("heartbeat_check_absent", labels, 1)
        if all(incident.acknowledged for _, incident in incidents(status)):
            self.say("heartbeat_check_acknowledged", labels, 1)

    def say(self, name: str, labels: str, value: float) -> None:
        """Add a line to a family that has something to say of few checks."""
        whose, values = self.seldom[name]
        whose.append(labels)
        values.append(value)

    def _note_durations(self, live: Live) -> None:
        # Counts that were kept for other bounds, before a reload, say nothing about these.
        known = live.bounds == self.bounds
        self.buckets += live.buckets if known else [0] * (len(self.bounds) + 1)
        self.spent.append(live.duration_sum if known else 0.0)

    def _note_measurements(self, measurements: Mapping[str, float], labels: str) -> None:
        measured = self.measured
        for name, value in measurements.items():
            if isfinite(value):
                whose, values = measured[name]
                whose.append(labels)
                values.append(value)


def _nothing() -> Series:
    return [], []

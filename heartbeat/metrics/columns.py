"""What one metrics page says of the checks, noted before it is written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

from heartbeat.core.model import NOTHING, Outcome, Reason
from heartbeat.state import Live


def is_broken(live: Live) -> bool:
    """Say whether the check itself is bad: its latest run says so, or its status has not recovered from it."""
    return live.status.broken or (live.verdict is not None and live.verdict.outcome is Outcome.ERROR)


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
    measured: dict[str, tuple[list[str], list[float]]] = field(default_factory=lambda: defaultdict(_nothing))
    """By name the labels and the values of the checks that measured it."""

    def note(self, live: Live, labels: str) -> None:
        """Add a check as it is now."""
        up, verdict, last_run, result = live.up, live.verdict, live.last_run, live.result
        ran = last_run is not None
        self.labels.append(labels)
        self.up.append(None if up is None else +up)  # the plus makes a plain number of it, as int() does, but sooner
        self.severity.append(+live.status.severity if ran else None)
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


def _nothing() -> tuple[list[str], list[float]]:
    return [], []

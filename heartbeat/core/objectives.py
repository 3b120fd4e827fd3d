"""Objectives: how often a check is to be ok over a long time, and how fast its error budget may burn.

The rule is that of Google's SRE Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts": a burn rate of 1 uses up
the budget exactly at the end of the objective's window. It is told where a long window has used up a share of the
budget, and a short one, a twelfth of it, says that it still burns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

from heartbeat.core.model import Finding, Severity
from heartbeat.core.units import format_duration

HOUR = 3600.0
DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Objective:
    """What is promised: ``availability`` (a ratio below 1) over ``window`` seconds.

    A burn rate counts only from ``failures`` failed samples on: few samples must not page on one failure.
    """

    availability: float
    window: float = 30 * DAY
    failures: int = 3

    @property
    def budget(self) -> float:
        """The share of runs that may fail."""
        return round(1.0 - self.availability, 12)


@dataclass(frozen=True, slots=True)
class Burn:
    """One line of the table: ``share`` of the budget used up in ``long`` seconds, and burning still in ``short``."""

    long: float
    short: float
    share: float
    severity: Severity

    def factor(self, objective: Objective) -> float:
        """Return the burn rate that uses up this share: 14.4 for 2 % of 30 days in an hour."""
        return round(self.share * objective.window / self.long, 9)


TABLE = (
    Burn(HOUR, HOUR / 12, 0.02, Severity.FAIL),
    Burn(6 * HOUR, HOUR / 2, 0.05, Severity.FAIL),
    Burn(3 * DAY, 6 * HOUR, 0.10, Severity.WARN),
)
"""Tables 5-8 and 5-6 of the chapter; for 30 days the burn rates are 14.4, 6 and 1."""


class Counted(NamedTuple):
    """How many runs of slots in a window were good and bad, and how many of its slots came before the first of them."""

    ok: int
    fail: int
    unseen: float = 0.0

    @property
    def failed(self) -> float:
        """The share that failed. What came before the first run counts as good: it has not used up any budget."""
        return self.fail / (self.ok + self.fail + self.unseen)


class History(Protocol):
    """What knows how many runs of a window were ok, and how many failed."""

    def tally(self, window: float, at: float) -> Counted | None:
        """Return how many, or None where there are none."""


@lru_cache(maxsize=256)
def lines_of(objective: Objective) -> tuple[Burn, ...]:
    """Return what can come true: no window longer than the objective's, no rate beyond that of nothing but failures."""
    return tuple(
        burn for burn in TABLE if burn.long <= objective.window and burn.factor(objective) * objective.budget < 1
    )


def windows_of(objective: Objective) -> tuple[float, ...]:
    """Return the windows that an objective needs, in seconds."""
    lines = lines_of(objective)
    return tuple(sorted({objective.window, *(burn.long for burn in lines), *(burn.short for burn in lines)}))


def burning(history: History, objective: Objective, at: float) -> tuple[Finding, ...]:
    """Return the burn rates that are too high, the fastest first."""
    found = []
    for burn in lines_of(objective):
        long = history.tally(burn.long, at)
        if long is None or long.fail < objective.failures:  # nearly always
            continue
        short, factor = history.tally(burn.short, at), burn.factor(objective)
        least = factor * objective.budget
        if short is not None and long.failed > least and short.failed > least:
            rate, still = long.failed / objective.budget, short.failed / objective.budget
            observed = f"{rate:.3g} ({still:.3g} in {format_duration(burn.short)})"
            name = f"burn rate {format_duration(burn.long)}"
            found.append(Finding(name, burn.severity, f"at most {factor:.3g} allowed", observed))
    return tuple(found)


def budget_left(history: History, objective: Objective, at: float) -> float | None:
    """Return the share of the error budget that is left: 1 untouched, 0 used up, less than 0 overdrawn.

    None before the first run. While less is known than the objective's window, the rest of it counts as good: the
    budget is that of the whole window from the start.
    """
    counted = history.tally(objective.window, at)
    return None if counted is None else 1.0 - counted.failed / objective.budget

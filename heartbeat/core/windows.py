"""Windows: what the runs of the last minutes to months did, kept small enough for ten thousand checks.

In a window are the runs of slots that were not distorted; rechecks are not, because they come just where it is bad, and
would weigh it double. Of the times (``duration``, ``phase.*``) only those of good runs are in it: a refused connection
is quick, and a timeout as long as we let it be, and neither says how fast the target is. Other measurements are in it
of good and of bad runs. A time that our own lag could have pushed over a level is left out.

Windows of up to an hour and 512 samples keep their samples, and are exact. Longer ones are buckets of time, which move
on by a hundredth of the window; their quantiles are right to 1 %. A window without samples has no value. One with few
has the value of these few: the p95 of fewer than 20 samples is their largest, so right after a check was added its
first slow run decides. ``samples`` in the limit asks for more; a restart does not empty a window.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Any

from heartbeat.core.buckets import Tally
from heartbeat.core.folds import Folded, Sketched
from heartbeat.core.limits import AVAILABILITY, COUNT, FOLDED, Limit, is_time, measured
from heartbeat.core.model import Outcome, Result
from heartbeat.core.objectives import Counted, Objective, windows_of
from heartbeat.core.series import Outcomes, Series

EXACT_SECONDS = 3600.0
EXACT_SAMPLES = 512
CRON_INTERVAL = 60.0
"""The shortest interval of a cron schedule."""
LARGEST = 1e290
"""Beyond it is no number that could be summed up."""
_JUDGED = (Outcome.OK, Outcome.FAIL)

Part = Series | Outcomes | Tally | Folded | Sketched
Key = tuple[str, str, float]
"""Aggregate, measure and window in seconds."""


@dataclass(frozen=True, slots=True)
class Need:
    """One part of the windows of a check: ``kind`` says which, ``edges`` are the levels of its limits."""

    kind: type[Part]
    seconds: float
    measure: str = ""
    aggregate: str = ""
    outcomes: tuple[Outcome, ...] = ()
    edges: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """Under which it is saved."""
        length = "" if self.kind in (Series, Outcomes) else str(self.seconds)
        return " ".join(word for word in (self.kind.__name__, self.aggregate, self.measure, length) if word)

    def make(self, interval: float | None) -> Part:
        """Return the part, empty."""
        if self.kind is Tally:
            return Tally(self.seconds, self.outcomes, interval)
        if self.kind is Folded:
            return Folded(self.seconds, self.aggregate)
        if self.kind is Sketched:
            return Sketched(self.seconds)
        return Outcomes(self.seconds) if self.kind is Outcomes else Series(self.seconds)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a check's limits and objective need to remember; the same for all checks that have the same."""

    interval: float | None
    objective: Objective | None
    needs: tuple[Need, ...]
    places: Mapping[Key, int]
    """Where in ``needs`` a window is."""

    @property
    def reach(self) -> float:
        """The seconds of the longest exact window."""
        return max((need.seconds for need in self.needs if need.kind in (Series, Outcomes)), default=0.0)


@lru_cache(maxsize=512)
def plan_windows(limits: tuple[Limit, ...], objective: Objective | None, interval: float | None) -> Plan | None:
    """Return what is to be remembered, or None where nothing is: of nearly all checks.

    Args:
        limits: all limits of the check; those on the current run need no window.
        objective: its objective.
        interval: seconds between two slots; None for cron.
    """
    windowed = [limit for limit in limits if limit.window]
    wanted = {(limit.aggregate, limit.measure, limit.window): None for limit in windowed}
    if objective:
        wanted |= dict.fromkeys((AVAILABILITY, "", window) for window in windows_of(objective))
    if not wanted:
        return None
    needs: dict[str, Need] = {}
    found = [(key, _need(key, tuple(wanted), windowed, interval)) for key in wanted]
    for _, need in found:
        needs[need.name] = need
    order = list(needs)
    return Plan(interval, objective, tuple(needs.values()), {key: order.index(need.name) for key, need in found})


def _need(key: Key, wanted: tuple[Key, ...], limits: list[Limit], interval: float | None) -> Need:
    aggregate, measure, window = key
    of_outcomes = aggregate in (AVAILABILITY, COUNT)
    alike = [
        other for other in wanted if (other[0] in (AVAILABILITY, COUNT)) is of_outcomes and _about(other) == _about(key)
    ]
    if is_exact(window, interval):
        reach = max(other[2] for other in alike if is_exact(other[2], interval))
        return Need(Outcomes, reach) if of_outcomes else Need(Series, reach, measure, edges=_edges(measure, limits))
    if of_outcomes:
        outcomes = dict.fromkeys(one for other in alike if other[2] == window for one in _outcomes(other))
        return Need(Tally, window, outcomes=tuple(outcomes))
    edges = _edges(measure, limits)
    if aggregate in FOLDED:
        return Need(Folded, window, measure, aggregate, edges=edges)
    return Need(Sketched, window, measure, edges=edges)


def _about(key: Key) -> str:
    """Return what keys must have in common to share a part: the measure, or that they are about outcomes."""
    return "" if key[0] in (AVAILABILITY, COUNT) else key[1]


def is_exact(window: float, interval: float | None) -> bool:
    """Say whether a window is kept sample by sample."""
    return window <= EXACT_SECONDS and window / (interval or CRON_INTERVAL) <= EXACT_SAMPLES


def _outcomes(key: Key) -> tuple[Outcome, ...]:
    return _JUDGED if key[0] == AVAILABILITY else (Outcome(key[1]),)


def _edges(measure: str, limits: list[Limit]) -> tuple[float, ...]:
    """Return the levels that our own lag must not push a time over."""
    if not is_time(measure):
        return ()
    bounds = [bound for limit in limits if limit.measure == measure for bound in limit.bounds]
    found = {side for bound in bounds for side in (bound.above, bound.below, bound.clear_above, bound.clear_below)}
    return tuple(sorted(side for side in found if side is not None))


class Windows:
    """The windows of one check; they belong to whoever owns its status, and change with each run."""

    __slots__ = ("parts", "plan")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.parts: tuple[Part, ...] = tuple(need.make(plan.interval) for need in plan.needs)

    @property
    def reach(self) -> float:
        """The seconds of the longest exact window: so far back results are needed to fill them again."""
        return self.plan.reach

    def take(self, at: float, outcome: Outcome, result: Result | None, counts: bool = True) -> None:
        """Take in a run that was not distorted.

        Args:
            at: when it was judged.
            outcome: how it ended.
            result: what it measured; None for one that was missed.
            counts: whether it was the slot's own run; a recheck is in no window.
        """
        if counts:
            for part, sample in self._samples(outcome, result):
                part.take(at, sample)  # type: ignore[arg-type]  # outcomes for the parts that count them

    def refill(self, at: float, outcome: Outcome, result: Result | None, counts: bool = True) -> None:
        """Take in a run of the past, as ``take`` does, into the exact windows that do not know it yet."""
        if counts:
            for part, sample in self._samples(outcome, result):
                if isinstance(part, (Series, Outcomes)) and not part.knows(at):
                    part.take(at, sample)  # type: ignore[arg-type]  # outcomes for the parts that count them

    def _samples(self, outcome: Outcome, result: Result | None) -> Iterator[tuple[Part, Outcome | float]]:
        for need, part in zip(self.plan.needs, self.parts, strict=True):
            if not need.measure:
                yield part, outcome
            elif result is not None and (value := sample_of(need, outcome, result)) is not None:
                yield part, value

    def value(self, limit: Limit, at: float) -> float | None:
        """Return the value of a limit's window, or None where it has none."""
        place = self.plan.places.get((limit.aggregate, limit.measure, limit.window))
        if place is None:
            return None
        part = self.parts[place]
        if isinstance(part, Series):
            return part.value(limit.aggregate, limit.window, at, limit.samples)
        if isinstance(part, Sketched):
            return part.value(limit.aggregate, at, limit.samples)
        if isinstance(part, Folded):
            return part.value(at, limit.samples)
        if limit.aggregate == COUNT:
            return self._count(part, limit, at)
        ok, fail = (_count(part, outcome, limit.window, at) for outcome in _JUDGED)
        return ok / (ok + fail) if ok + fail >= max(1, limit.samples) else None

    def _count(self, part: Outcomes | Tally, limit: Limit, at: float) -> float | None:
        """Return how many; where few are bad, only once the window has been filled."""
        filled_at = part.since + limit.window if any(bound.below is not None for bound in limit.bounds) else part.since
        return float(_count(part, Outcome(limit.measure), limit.window, at)) if filled_at <= at else None

    def tally(self, window: float, at: float) -> Counted | None:
        """Return how many runs of a window of the objective were ok, and how many failed; None before the first."""
        place = self.plan.places.get((AVAILABILITY, "", window))
        part = None if place is None else self.parts[place]
        if not isinstance(part, (Outcomes, Tally)):
            return None
        ok, fail = (_count(part, outcome, window, at) for outcome in _JUDGED)
        if not ok + fail:
            return None
        known = at - part.since
        interval = self.plan.interval or (known / (ok + fail - 1) if ok + fail > 1 else inf)
        return Counted(ok, fail, max(0.0, (window - known) / interval) if interval else 0.0)

    def shift(self, seconds: float) -> None:
        """Move all times: the wall clock was stepped, and differences must stay what they were."""
        for part in self.parts:
            part.shift(seconds)

    def dump(self) -> str:
        """Return all of it as JSON."""
        parts = zip(self.plan.needs, self.parts, strict=True)
        return json.dumps({need.name: part.dump() for need, part in parts}, separators=(",", ":"))

    @classmethod
    def load(cls, plan: Plan, text: str) -> Windows:
        """Return windows with what was dumped, perhaps under another plan: what fits is taken, the rest left."""
        windows = cls(plan)
        try:
            saved: Any = json.loads(text)
        except ValueError:
            return windows
        if not isinstance(saved, dict):
            return windows
        windows.parts = tuple(_loaded(need, plan.interval, saved.get(need.name)) for need in plan.needs)
        return windows


def _loaded(need: Need, interval: float | None, saved: Any) -> Part:
    part = need.make(interval)
    try:
        part.load(saved)
    except (KeyError, TypeError, ValueError, OverflowError, EOFError, AttributeError):
        return need.make(interval)
    return part


def _count(part: Part, outcome: Outcome, window: float, at: float) -> int:
    if isinstance(part, Outcomes):
        return part.count(outcome, window, at)
    return part.count(outcome, at) if isinstance(part, Tally) else 0


def sample_of(need: Need, outcome: Outcome, result: Result) -> float | None:
    """Return what a run measured for a part, or None where it says nothing, or where our own lag could have said it."""
    times = is_time(need.measure)
    if outcome not in _JUDGED or (times and outcome is not Outcome.OK):
        return None
    value = measured(result, need.measure)
    if value is None or not abs(value) <= LARGEST:  # NaN is not, either
        return None
    if times and result.lag > 0 and any(value > edge >= value - result.lag for edge in need.edges):
        return None
    return value

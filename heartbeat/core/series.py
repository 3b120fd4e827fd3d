"""Short windows: the latest samples as they are, so that what is made of them is exact."""

from __future__ import annotations

from array import array
from base64 import b64decode, b64encode
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from itertools import pairwise
from math import fsum, inf
from typing import Any

from heartbeat.core.model import Outcome
from heartbeat.core.sketch import rank_of

OUTCOMES = tuple(Outcome)
_CODES = {outcome: code for code, outcome in enumerate(OUTCOMES)}


def pack(numbers: array[Any]) -> str:
    """Return numbers as text, in the byte order of this machine: the store does not travel."""
    return b64encode(numbers.tobytes()).decode()


def unpack(kind: str, text: str) -> array[Any]:
    """Return what was packed. Raises ``ValueError`` or ``TypeError`` for anything else."""
    return array(kind, b64decode(text, validate=True))


def quantile_of(aggregate: str) -> float:
    """Return 0.95 for ``p95``."""
    return float(aggregate.removeprefix("p")) / 100


def increase(values: Sequence[float]) -> float:
    """Return by how much a counter grew; where it fell it had begun anew at zero, as Prometheus takes it."""
    return fsum(after - before if after >= before else after for before, after in pairwise(values))


def fold(aggregate: str, times: Sequence[float], values: Sequence[float]) -> float | None:
    """Return what is made of the values in a window, or None where they do not suffice. They are not empty."""
    match aggregate:
        case "min":
            return min(values)
        case "max":
            return max(values)
        case "mean":
            return fsum(values) / len(values)
        case "delta":
            return values[-1] - values[0] if len(values) > 1 else None
        case "rate":
            took = times[-1] - times[0]
            return increase(values) / took if took > 0 else None
    return sorted(values)[rank_of(quantile_of(aggregate), len(values)) - 1]


class Series:
    """What was measured in the last ``reach`` seconds.

    Once a quantile of all of it is asked for, the values are kept in order, too: sorting some hundred of them at each
    run would cost more than all the rest of judging it.
    """

    __slots__ = ("_ordered", "reach", "times", "values")

    def __init__(self, reach: float) -> None:
        self.reach = reach
        self.times = array("d")
        self.values = array("d")
        self._ordered: array[float] | None = None

    def take(self, at: float, value: float) -> None:
        """Take a sample; mostly the newest, but an older one finds its place too."""
        gone = bisect_right(self.times, at - self.reach)
        ordered = self._ordered
        if gone:
            if ordered is not None:
                for old in self.values[:gone]:
                    del ordered[bisect_left(ordered, old)]
            del self.times[:gone], self.values[:gone]
        place = bisect_right(self.times, at)
        self.times.insert(place, at)
        self.values.insert(place, value)
        if ordered is not None:
            insort(ordered, value)

    def knows(self, at: float) -> bool:
        """Say whether there is a sample of exactly this time."""
        place = bisect_right(self.times, at)
        return place > 0 and self.times[place - 1] == at

    def value(self, aggregate: str, window: float, at: float, least: int) -> float | None:
        """Return what is made of the samples after ``at - window``; None where they are fewer than ``least``."""
        first, last = bisect_right(self.times, at - window), bisect_right(self.times, at)
        if last - first < max(1, least):
            return None
        if aggregate[1:2].isdigit() and last - first == len(self.values):
            return self._quantile(quantile_of(aggregate))
        return fold(aggregate, self.times[first:last], self.values[first:last])

    def _quantile(self, quantile: float) -> float:
        if self._ordered is None:
            self._ordered = array("d", sorted(self.values))
        return self._ordered[rank_of(quantile, len(self._ordered)) - 1]

    def shift(self, seconds: float) -> None:
        """Move all times."""
        self.times = array("d", [at + seconds for at in self.times])

    def dump(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {"times": pack(self.times), "values": pack(self.values)}

    def load(self, saved: dict[str, Any]) -> None:
        """Take over what was dumped."""
        times, values = unpack("d", saved["times"]), unpack("d", saved["values"])
        if len(times) != len(values):
            raise ValueError("as many times as values")
        self.times, self.values, self._ordered = times, values, None


class Outcomes:
    """How the runs of the last ``reach`` seconds ended. ``since`` is when the first of all was taken."""

    __slots__ = ("codes", "reach", "since", "times")

    def __init__(self, reach: float) -> None:
        self.reach = reach
        self.since = inf
        self.times = array("d")
        self.codes = bytearray()

    def take(self, at: float, outcome: Outcome) -> None:
        """Take a run."""
        gone = bisect_right(self.times, at - self.reach)
        if gone:
            del self.times[:gone], self.codes[:gone]
        place = bisect_right(self.times, at)
        self.times.insert(place, at)
        self.codes.insert(place, _CODES[outcome])
        self.since = min(self.since, at)

    def knows(self, at: float) -> bool:
        """Say whether there is a run of exactly this time."""
        place = bisect_right(self.times, at)
        return place > 0 and self.times[place - 1] == at

    def count(self, outcome: Outcome, window: float, at: float) -> int:
        """Return how many runs of a window ended so."""
        first, last = bisect_right(self.times, at - window), bisect_right(self.times, at)
        return self.codes.count(_CODES[outcome], first, last)

    def shift(self, seconds: float) -> None:
        """Move all times."""
        self.times = array("d", [at + seconds for at in self.times])
        self.since += seconds

    def dump(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        since = None if self.since == inf else self.since
        return {"since": since, "times": pack(self.times), "codes": list(self.codes)}

    def load(self, saved: dict[str, Any]) -> None:
        """Take over what was dumped."""
        times, codes = unpack("d", saved["times"]), bytearray(list(saved["codes"]))  # of a number it would be as long
        if len(times) != len(codes) or max(codes, default=0) >= len(OUTCOMES):
            raise ValueError("as many times as outcomes")
        self.times, self.codes = times, codes
        self.since = inf if saved["since"] is None else float(saved["since"])

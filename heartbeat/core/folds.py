"""What long windows make of a measurement, from buckets of time."""

from __future__ import annotations

from array import array
from itertools import pairwise
from math import fsum, inf
from typing import Any

from heartbeat.core.buckets import Row
from heartbeat.core.series import increase, pack, quantile_of, unpack
from heartbeat.core.sketch import Sketch, bin_of


class Folded(Row):
    """What is made of a measurement besides quantiles, from the parts that each aggregate needs."""

    __slots__ = ("aggregate", "data", "empty")

    def __init__(self, window: float, aggregate: str) -> None:
        super().__init__(window)
        self.aggregate = aggregate
        self.empty = _EMPTY[aggregate]
        self.data = array("d")

    def take(self, at: float, value: float) -> None:
        """Take a sample."""
        place = self.place(at)
        if place is None:
            return
        start = place * len(self.empty)
        bucket = self.data[start : start + len(self.empty)]
        _ADD[self.aggregate](bucket, at - self.origin, value)
        bucket[0] += 1
        self.data[start : start + len(self.empty)] = bucket

    def value(self, at: float, least: int) -> float | None:
        """Return what is made of the window; None where it has fewer samples than ``least``."""
        self.expire(at)
        width = len(self.empty)
        count = sum(self.data[::width])
        if count < max(1, least):
            return None
        if self.aggregate in ("min", "max"):
            return (min if self.aggregate == "min" else max)(self.data[1::width])
        if self.aggregate == "mean":
            return fsum(self.data[1::width]) / count
        return self._change(count)

    def _change(self, count: float) -> float | None:
        buckets = [self.data[start : start + 6] for start in range(0, len(self.data), 6) if self.data[start]]
        oldest, newest = buckets[0], buckets[-1]
        if self.aggregate == "delta":
            return newest[4] - oldest[2] if count > 1 else None
        took = newest[3] - oldest[1]
        within = fsum(bucket[5] for bucket in buckets)
        between = fsum(increase((one[4], other[2])) for one, other in pairwise(buckets))
        return (within + between) / took if took > 0 else None

    def grow(self, place: int, count: int) -> None:
        """Put empty buckets at a place."""
        start = place * len(self.empty)
        self.data[start:start] = array("d", self.empty * count)

    def drop(self, count: int) -> None:
        """Remove the oldest buckets."""
        del self.data[: count * len(self.empty)]

    def dump(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {**self.dump_row(), "data": pack(self.data)}

    def load(self, saved: dict[str, Any]) -> None:
        """Take over what was dumped."""
        data = unpack("d", saved["data"])
        if len(data) % len(self.empty):
            raise ValueError("whole buckets")
        self.load_row(saved, len(data) // len(self.empty))
        self.data = data


def _add_least(bucket: array[float], _at: float, value: float) -> None:
    bucket[1] = min(bucket[1], value)


def _add_most(bucket: array[float], _at: float, value: float) -> None:
    bucket[1] = max(bucket[1], value)


def _add_sum(bucket: array[float], _at: float, value: float) -> None:
    bucket[1] += value


def _add_change(bucket: array[float], at: float, value: float) -> None:
    """Keep the first and the last sample, and how much a counter grew between them."""
    if not bucket[0]:
        bucket[1:5] = array("d", (at, value, at, value))
    elif at >= bucket[3]:
        bucket[5] += increase((bucket[4], value))
        bucket[3:5] = array("d", (at, value))


_ADD = {"min": _add_least, "max": _add_most, "mean": _add_sum, "delta": _add_change, "rate": _add_change}
_EMPTY = {
    "min": (0.0, inf), "max": (0.0, -inf), "mean": (0.0, 0.0), "delta": (0.0,) * 6, "rate": (0.0,) * 6,
}  # fmt: skip
"""An empty bucket of each aggregate; the first number counts its samples."""


class Sketched(Row):
    """Quantiles of a measurement: a sketch of the window, and what each bucket has to take away when it leaves."""

    __slots__ = ("bins", "counts", "lengths", "whole")

    def __init__(self, window: float) -> None:
        super().__init__(window)
        self.lengths = array("H")
        self.bins = array("h")
        self.counts = array("I")
        self.whole = Sketch()

    def take(self, at: float, value: float) -> None:
        """Take a sample."""
        place = self.place(at)
        if place is None:
            return
        number = bin_of(value)
        start = sum(self.lengths[:place])
        stop = start + self.lengths[place]
        known = self.bins[start:stop]
        if number in known:
            self.counts[start + known.index(number)] += 1
        else:
            self.bins.insert(stop, number)
            self.counts.insert(stop, 1)
            self.lengths[place] += 1
        self.whole.add(number)

    def value(self, aggregate: str, at: float, least: int) -> float | None:
        """Return a quantile of the window; None where it has fewer samples than ``least``."""
        self.expire(at)
        if least > 1 and sum(self.whole.counts) < least:
            return None
        return self.whole.quantile(quantile_of(aggregate))

    def grow(self, place: int, count: int) -> None:
        """Put empty buckets at a place."""
        self.lengths[place:place] = array("H", bytes(2 * count))

    def drop(self, count: int) -> None:
        """Remove the oldest buckets."""
        gone = sum(self.lengths[:count])
        for number, counted in zip(self.bins[:gone], self.counts[:gone], strict=True):
            self.whole.add(number, -counted)
        del self.lengths[:count], self.bins[:gone], self.counts[:gone]

    def dump(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {**self.dump_row(), "lengths": pack(self.lengths), "bins": pack(self.bins), "counts": pack(self.counts)}

    def load(self, saved: dict[str, Any]) -> None:
        """Take over what was dumped."""
        lengths, bins, counts = (unpack(kind, saved[key]) for key, kind in _COLUMNS)
        if sum(lengths) != len(bins) or len(bins) != len(counts):
            raise ValueError("as many counts as bins")
        self.load_row(saved, len(lengths))
        self.lengths, self.bins, self.counts, self.whole = lengths, bins, counts, Sketch()
        for number, counted in zip(bins, counts, strict=True):
            self.whole.add(number, counted)


_COLUMNS = (("lengths", "H"), ("bins", "h"), ("counts", "I"))

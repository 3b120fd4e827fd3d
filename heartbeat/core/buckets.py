"""Long windows: buckets of time. A window moves on by a hundredth of itself, and reaches back up to that much further.

The buckets of a window lie in a row without gaps, the oldest first, in arrays: a few hundred bytes for each column.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from math import floor, inf
from typing import Any

from heartbeat.core.model import Outcome

STEPS = 100


class Row:
    """A row of buckets: which times they stand for. What is in them is its kinds' business."""

    __slots__ = ("first", "origin", "size", "width", "window")

    def __init__(self, window: float) -> None:
        self.window = window
        self.width = window / STEPS
        self.origin = 0.0
        self.first = 0
        self.size = 0

    def index(self, at: float) -> int:
        """Return the number of the bucket of a time."""
        return floor((at - self.origin) / self.width)

    def place(self, at: float) -> int | None:
        """Return where in the row the bucket of a time is, made where it is not there; None for what is too old."""
        self.expire(at)
        number = self.index(at)
        if not self.size:
            self.first = number
        elif number < self.first:
            missing = self.first - number
            if self.size + missing > STEPS + 1:
                return None
            self.grow(0, missing)
            self.first, self.size = number, self.size + missing
        missing = number - self.first + 1 - self.size
        if missing > 0:
            self.grow(self.size, missing)
            self.size += missing
        return number - self.first

    def expire(self, at: float) -> None:
        """Drop the buckets that have left the window."""
        gone = min(self.size, self.index(at - self.window) - self.first)
        if gone > 0:
            self.drop(gone)
            self.first, self.size = self.first + gone, self.size - gone

    def shift(self, seconds: float) -> None:
        """Move all times."""
        self.origin += seconds

    def grow(self, place: int, count: int) -> None:
        """Put empty buckets at a place."""
        raise NotImplementedError

    def drop(self, count: int) -> None:
        """Remove the oldest buckets."""
        raise NotImplementedError

    def dump_row(self) -> dict[str, Any]:
        """Return the times for JSON."""
        return {"first": self.first, "origin": self.origin, "size": self.size}

    def load_row(self, saved: dict[str, Any], size: int) -> None:
        """Take over the times that were dumped, of ``size`` buckets."""
        if size != int(saved["size"]) or not 0 <= size <= 2 * STEPS + 2:
            raise ValueError("as many buckets as columns have")
        self.first, self.origin, self.size = int(saved["first"]), float(saved["origin"]), size


class Tally(Row):
    """How many runs ended in each of some ways. ``since`` is when the first of all was taken."""

    __slots__ = ("columns", "most", "since")

    def __init__(self, window: float, outcomes: Sequence[Outcome], interval: float | None) -> None:
        super().__init__(window)
        expected = self.width / (interval or 1.0)
        kind, self.most = next((kind, most) for kind, most in _KINDS if expected < most / 2)
        self.columns = {outcome: array(kind) for outcome in outcomes}
        self.since = inf

    def take(self, at: float, outcome: Outcome) -> None:
        """Take a run."""
        self.since = min(self.since, at)
        column = self.columns.get(outcome)
        if column is not None and (place := self.place(at)) is not None:
            column[place] = min(self.most, column[place] + 1)

    def count(self, outcome: Outcome, at: float) -> int:
        """Return how many runs of the window ended so."""
        self.expire(at)
        return sum(self.columns[outcome])

    def grow(self, place: int, count: int) -> None:
        """Put empty buckets at a place."""
        for column in self.columns.values():
            column[place:place] = array(column.typecode, bytes(count * column.itemsize))

    def drop(self, count: int) -> None:
        """Remove the oldest buckets."""
        for column in self.columns.values():
            del column[:count]

    def shift(self, seconds: float) -> None:
        """Move all times."""
        super().shift(seconds)
        self.since += seconds

    def dump(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        counts = {outcome.value: list(column) for outcome, column in self.columns.items()}
        return {**self.dump_row(), "since": None if self.since == inf else self.since, "counts": counts}

    def load(self, saved: dict[str, Any]) -> None:
        """Take over what was dumped."""
        columns = {outcome: self._column(saved["counts"][outcome.value]) for outcome in self.columns}
        sizes = {len(column) for column in columns.values()}
        self.load_row(saved, sizes.pop() if len(sizes) == 1 else -1)
        self.columns = columns
        self.since = inf if saved["since"] is None else float(saved["since"])

    def _column(self, counts: Sequence[int]) -> array[int]:
        kind = next(iter(self.columns.values())).typecode
        return array(kind, [min(self.most, count) for count in counts])


_KINDS = (("B", 2**8 - 1), ("H", 2**16 - 1), ("I", 2**32 - 1))
"""Counters as small as the interval allows; they stop at their largest number."""

"""The table of figures: what was measured, what must be reached, and whether it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
HEAD = ("figure", "ours", "theirs", "ratio or value", "must reach", "reached")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        key: its identity, by which two runs of the bench are compared.
        figure: what it is.
        ours: what we need, with units.
        theirs: what they need; empty where there is nobody to compare with.
        value: the number that is held against the limit.
        unit: of the value; empty for a ratio.
        limit: what must be reached; None where the row is there to be looked at.
        at_least: whether the limit is a lower bound.
        rounds: the value of each round.
        note: what a reader should know about this run of it.
    """

    key: str
    figure: str
    ours: str
    theirs: str
    value: float
    unit: str = ""
    limit: float | None = None
    at_least: bool = False
    rounds: tuple[float, ...] = field(default=())
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Say whether the limit is reached; None where there is none."""
        if self.limit is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def off(self) -> float:
        """How far the value is from the limit, as a share of it; positive where it is not reached."""
        if not self.limit:
            return 0.0
        return (self.limit - self.value if self.at_least else self.value - self.limit) / self.limit

    def cells(self) -> tuple[str, ...]:
        """Return the cells of the table."""
        bound = "" if self.limit is None else f"{'≥' if self.at_least else '≤'} {show(self.limit, self.unit)}"
        verdict = {None: "", True: "yes", False: f"**NO**, by {self.off:.0%}"}[self.reached]
        return (self.figure, self.ours, self.theirs or "-", show(self.value, self.unit), bound, verdict)


def show(value: float, unit: str) -> str:
    """Write a number with three digits that count, and its unit."""
    digits = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) >= 10 else f"{value:.2f}"
    return f"{digits} {unit}".strip()


def markdown(rows: Iterable[Row]) -> str:
    """Return the table."""
    lines = [HEAD, ("---",) * len(HEAD), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def notes(rows: Iterable[Row]) -> str:
    """Return what is to be known about single figures, as a list."""
    return "\n".join(f"* {row.figure}: {row.note}" for row in rows if row.note)


def plain(rows: Sequence[Row]) -> str:
    """Return the table for a terminal, its columns aligned."""
    lines = [HEAD, *(tuple(cell.replace("**", "") for cell in row.cells()) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def put_between_markers(document: Path, text: str) -> None:
    """Replace what stands between the markers of a document. Raises ValueError where it has none."""
    before, begin, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document} has no {BEGIN} ... {END}")
    document.write_text(f"{before}{BEGIN}\n{text.strip()}\n{END}{after}", encoding="utf-8")

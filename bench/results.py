"""Results on disk: as JSON to compare, as Markdown to read, and in the README."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import machine
from bench.table import Row, markdown, notes, put_between_markers

SAME = 0.15
"""Two runs of the bench on one machine must not lie further apart than this share."""


@dataclass(frozen=True, slots=True)
class Results:
    """One run of the bench."""

    taken: str
    seconds: float
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    rows: Sequence[Row]


def now(rows: Sequence[Row], seconds: float) -> Results:
    """Return the results of this machine, taken now."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Results(at, round(seconds, 1), machine.describe(), machine.versions(), tuple(rows))


def write(results: Results, stem: Path) -> Path:
    """Write both files; return that of JSON."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    data = asdict(results)
    for row, entry in zip(results.rows, data["rows"], strict=True):
        entry["reached"] = row.reached
    text = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
    stem.with_name(stem.name + ".json").write_text(text, encoding="utf-8")
    stem.with_name(stem.name + ".md").write_text(page(results), encoding="utf-8")
    return stem.with_name(stem.name + ".json")


def read(path: Path) -> Results:
    """Read what ``write`` wrote."""
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    rows = [Row(**{key: value for key, value in entry.items() if key != "reached"}) for entry in data.pop("rows")]
    return Results(**data, rows=tuple(rows))


def page(results: Results) -> str:
    """Return all of it as Markdown."""
    return (
        "\n\n".join(
            [f"# What it costs, {results.taken[:10]}", setting(results), markdown(results.rows), notes(results.rows)]
        ).rstrip()
        + "\n"
    )


def setting(results: Results) -> str:
    """Return the machine and the versions in a few lines."""
    on, of = results.machine, results.versions
    tools = ", ".join(f"{name} {version}" for name, version in of.items())
    return (
        f"{on['cpu']}, {on['cores']} cores, {on['memory']}, {on['system']}, {on['kernel']}, Python {on['python']};\n"
        f"{tools}.\nTaken {results.taken} in {results.seconds / 60:.0f} minutes by `make bench`."
    )


def show_in(document: Path, results: Results) -> None:
    """Put the table between the markers of the README."""
    put_between_markers(document, f"{markdown(results.rows)}\n\n{setting(results)}")


def compare(first: Results, second: Results) -> list[str]:
    """Return a line for each figure of both: how far apart they lie, and which further than they may."""
    others = {row.key: row for row in second.rows}
    return [_difference(row, others[row.key]) for row in first.rows if row.key in others]


def difference(first: float, second: float) -> float:
    """Return how far apart two values lie, as a share of their mean."""
    mean = (abs(first) + abs(second)) / 2
    return abs(first - second) / mean if mean else 0.0


def _difference(row: Row, other: Row) -> str:
    apart = difference(row.value, other.value)
    is_ratio = not row.unit
    remark = f"  more than {SAME:.0%} apart" if is_ratio and apart > SAME else ""
    return f"{row.key:24} {row.value:10.3f} {other.value:10.3f} {row.unit or 'ratio':8} {apart:6.1%}{remark}"

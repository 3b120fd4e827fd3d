from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench import machine, results
from bench.results import Results, compare, difference, read, write
from bench.table import Row, markdown

ROOT = Path(__file__).parents[2]
ROWS = (
    Row("cpu.http", "CPU per check", "600 µs", "2000 µs", 0.30, limit=0.40, rounds=(0.29, 0.30, 0.31), note="a note"),
    Row("lateness", "lateness", "4 ms", "", 4.0, "ms", 10.0),
)
RESULTS = Results(
    "2026-11-22T01:02:03+00:00", 720.0,
    {"cpu": "Some CPU", "cores": "2", "memory": "8 GiB", "kernel": "Linux 6", "system": "Debian", "python": "3.11.7"},
    {"heartbeat": "0.1.0", "nginx": "1.22.1"}, ROWS,
)  # fmt: skip


def test_what_is_written_can_be_read_again(tmp_path: Path) -> None:
    path = write(RESULTS, tmp_path / "new" / "2026-11-22-some-cpu")
    found = read(path)
    assert replace(found, rows=()) == replace(RESULTS, rows=())
    assert [replace(row, rounds=tuple(row.rounds)) for row in found.rows] == list(ROWS)


def test_the_json_says_what_is_reached(tmp_path: Path) -> None:
    data = json.loads(write(RESULTS, tmp_path / "one").read_text())
    assert [row["reached"] for row in data["rows"]] == [True, True]


def test_the_page_names_the_machine_the_tools_and_the_notes(tmp_path: Path) -> None:
    write(RESULTS, tmp_path / "one")
    text = (tmp_path / "one.md").read_text()
    for piece in ("Some CPU, 2 cores", "nginx 1.22.1", "12 minutes", markdown(ROWS), "* CPU per check: a note"):
        assert piece in text


def test_comparing_tells_how_far_apart_the_figures_lie() -> None:
    second = replace(RESULTS, rows=[replace(ROWS[0], value=0.36), replace(ROWS[1], value=9.0)])
    ratio, value = compare(RESULTS, second)
    assert ratio.split()[:4] == ["cpu.http", "0.300", "0.360", "ratio"]
    assert "18.2%" in ratio
    assert ratio.endswith("more than 15% apart")
    assert value.split() == ["lateness", "4.000", "9.000", "ms", "76.9%"]  # no ratio: machines differ in it


def test_figures_of_one_side_only_are_not_compared() -> None:
    assert compare(RESULTS, replace(RESULTS, rows=ROWS[:1])) == compare(replace(RESULTS, rows=ROWS[:1]), RESULTS)


@pytest.mark.parametrize(("first", "second", "apart"), [(1, 1, 0), (0, 0, 0), (1, 3, 1.0), (3, 1, 1.0)])
def test_how_far_two_values_lie_apart(first: float, second: float, apart: float) -> None:
    assert difference(first, second) == apart


def test_the_machine_is_described() -> None:
    assert all(machine.describe().values())
    assert machine.kind()
    assert set(machine.kind()) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_the_readme_shows_the_table_of_a_kept_result() -> None:
    shown = (ROOT / "README.md").read_text().partition("<!-- bench -->\n")[2].partition("<!-- /bench -->")[0]
    kept = [read(path) for path in sorted((ROOT / "bench/results").glob("2*.json"))]
    tables = [f"{markdown(one.rows)}\n\n{results.setting(one)}" for one in kept]
    assert shown.strip() in (tables or [""]), "type: make bench README=1, and keep bench/results"

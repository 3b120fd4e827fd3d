from __future__ import annotations

from pathlib import Path

import pytest

from bench.table import Row, markdown, notes, plain, put_between_markers, show

GOOD = Row("cpu", "CPU per check", "600 µs", "2000 µs", 0.30, limit=0.40, note="three rounds")
BAD = Row("start", "start", "12 s", "", 12.0, "s", 8.0)
FAST = Row("throughput", "checks/s", "2500/s", "1000/s", 2.5, limit=2.0, at_least=True)
OPEN = Row("other", "beside another", "600 µs", "4000 µs", 0.15)


def test_a_limit_is_reached_from_its_side() -> None:
    assert GOOD.reached is True
    assert BAD.reached is False
    assert FAST.reached is True
    assert Row("x", "x", "", "", 1.9, limit=2.0, at_least=True).reached is False
    assert OPEN.reached is None


def test_a_value_on_the_limit_is_good_enough() -> None:
    assert Row("x", "x", "", "", 0.4, limit=0.4).reached is True
    assert Row("x", "x", "", "", 0.0, limit=0.0).reached is True


def test_what_is_not_reached_says_no_and_by_how_much() -> None:
    assert BAD.cells()[-1] == "**NO**, by 50%"
    assert Row("x", "x", "", "", 1.5, limit=2.0, at_least=True).cells()[-1] == "**NO**, by 25%"


def test_the_table_in_markdown() -> None:
    assert markdown([GOOD, BAD, FAST, OPEN]).splitlines() == [
        "| figure | ours | theirs | ratio or value | must reach | reached |",
        "| --- | --- | --- | --- | --- | --- |",
        "| CPU per check | 600 µs | 2000 µs | 0.30 | ≤ 0.40 | yes |",
        "| start | 12 s | - | 12 s | ≤ 8.00 s | **NO**, by 50% |",
        "| checks/s | 2500/s | 1000/s | 2.50 | ≥ 2.00 | yes |",
        "| beside another | 600 µs | 4000 µs | 0.15 |  |  |",
    ]


def test_the_table_for_a_terminal_is_aligned() -> None:
    lines = plain([GOOD, BAD]).splitlines()
    assert "NO, by 50%" in lines[2]
    assert lines[1].index("600") == lines[2].index("12 s") == lines[0].index("ours")


def test_only_figures_with_a_note_have_one() -> None:
    assert notes([GOOD, BAD]) == "* CPU per check: three rounds"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.304, "", "0.30"), (12.34, "ms", "12.3 ms"), (1234.5, "s", "1234 s"), (-0.5, "KiB", "-0.50 KiB")],
)
def test_a_number_shows_the_digits_that_count(value: float, unit: str, text: str) -> None:
    assert show(value, unit) == text


def test_only_what_stands_between_the_markers_is_replaced(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    put_between_markers(document, "new")
    put_between_markers(document, "newer\n")
    assert document.read_text() == "before\n<!-- bench -->\nnewer\n<!-- /bench -->\nafter\n"


def test_a_document_without_markers_is_left_alone(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text("nothing here\n")
    with pytest.raises(ValueError, match="has no"):
        put_between_markers(document, "new")
    assert document.read_text() == "nothing here\n"

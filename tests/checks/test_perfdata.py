from __future__ import annotations

import sys
import time
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat import Probe
from heartbeat.plugins import discover, load_type

load_type(discover().sources["exec"])
perfdata: Any = sys.modules["heartbeat_checks.bundled._perfdata"]
Figure, Range = perfdata.Figure, perfdata.Range


def measured(text: str) -> dict[str, Any]:
    found, left_out = perfdata.measurements(perfdata.read(f"|{text}").figures, 100)
    assert not left_out
    return {name: pytest.approx(value) for name, value in found.items()}


def test_the_first_line_without_its_figures_is_the_status() -> None:
    report = perfdata.read("DISK OK - free space: / 77 GiB;| /=12B\nmore\n")
    assert report.status == "DISK OK - free space: / 77 GiB;"
    assert report.figures == (Figure("/", 12.0, "B"),)
    assert perfdata.read("all well").status == "all well"
    assert perfdata.read("").status == ""


def test_figures_also_stand_behind_a_later_bar_and_in_all_lines_after_it() -> None:
    report = perfdata.read("OK | a=1\nlong text\nor a | bar alone\nmore | b=2 c=3\nd=4")
    assert [figure.label for figure in report.figures] == ["a", "b", "c", "d"]
    assert report.unread == 0


@pytest.mark.parametrize(
    ("text", "figures"),
    [
        ("time=0.004s;1;2;0;10", [Figure("time", 0.004, "s", Range(0, 1), Range(0, 2), 0, 10)]),
        ("a=1 b=2", [Figure("a", 1), Figure("b", 2)]),
        ("'free space'=5%;;10:", [Figure("free space", 5, "%", None, Range(10, inf))]),
        ("'it''s'=1", [Figure("it's", 1)]),
        ("'a=b'=1", [Figure("a=b", 1)]),
        ("free space=5", [Figure("free space", 5)]),
        ("a=0,5s;1,5;", [Figure("a", 0.5, "s", Range(0, 1.5))]),
        ("a=-1.5e3 b=.5 c=5.", [Figure("a", -1500), Figure("b", 0.5), Figure("c", 5)]),
        ("a=1;~:10;10:20", [Figure("a", 1, "", Range(-inf, 10), Range(10, 20))]),
        ("a=1;@10:20;@5", [Figure("a", 1, "", Range(10, 20, is_inside=True), Range(0, 5, is_inside=True))]),
        ("a=1;-5:-1", [Figure("a", 1, "", Range(-5, -1))]),
        ("pl=0%;20%;60%", [Figure("pl", 0, "%", Range(0, 20), Range(0, 60))]),
        ("a=1;;;;", [Figure("a", 1)]),
        ("a=1;x;1:2:3", [Figure("a", 1)]),
        ("\ta=1   b=2 ", [Figure("a", 1), Figure("b", 2)]),
    ],
)
def test_a_figure_is_read(text: str, figures: list[Any]) -> None:
    report = perfdata.read(f"OK|{text}")
    assert (list(report.figures), report.unread) == (figures, 0)


@pytest.mark.parametrize("text", ["a=", "a=x", "=1x1", "word", "a=1;2;3;4;5;6", "a=1.2.3", "a=nan", "a=inf", "a=1e999"])
def test_what_cannot_be_read_is_counted_and_hides_no_other(text: str) -> None:
    report = perfdata.read(f"OK|b=1 {text}\n|c=2")
    assert {"b", "c"} <= {figure.label for figure in report.figures}
    assert report.unread == 1


def test_an_unknown_value_is_no_value_and_no_mistake() -> None:
    report = perfdata.read("OK|a=U b=u;1;2 c=3")
    assert [figure.label for figure in report.figures] == ["c"]
    assert report.unread == 0


@pytest.mark.parametrize(
    ("text", "measurements"),
    [
        ("a=1500ms", {"a_seconds": 1.5}),
        ("a=20us b=20µs", {"a_seconds": 2e-5, "xb_seconds": 2e-5}),
        ("a=2h", {"a_seconds": 7200}),
        ("/=2KB /home=2KiB", {"root_bytes": 2000, "home_bytes": 2048}),
        ("a=1MB", {"a_bytes": 1e6}),
        ("a=3TB", {"a_bytes": 3e12}),
        ("a=8Mb", {"a_bytes": 1e6}),
        ("used=50%", {"used_ratio": 0.5}),
        ("packets=7c", {"packets": 7}),
        ("packets_total=7c", {"packets_total_value": 7}),
        ("fan=900rpm", {"fan_rpm": 900}),
        ("a_z=1 'a z'=2", {"a_z": 1, "a_z_2": 2}),
        ("a=1s;2;3;0;4", {"a_seconds": 1, "a_warn_seconds": 2, "a_crit_seconds": 3, "a_max_seconds": 4}),
        (
            "a=50%;10:80;5:",
            {"a_ratio": 0.5, "a_warn_below_ratio": 0.1, "a_warn_ratio": 0.8, "a_crit_below_ratio": 0.05},
        ),
        ("a=1;~:5;@2:3", {"a": 1, "a_warn": 5, "a_crit_from": 2, "a_crit_to": 3}),
        ("a=1;;;-5;5", {"a": 1, "a_min": -5, "a_max": 5}),
        ("a=1;0:", {"a": 1, "a_warn_below": 0}),
        ("'a z'=1;2 a_z=3;4", {"a_z": 1, "a_z_2": 3, "a_z_warn": 2, "a_z_2_warn": 4}),
    ],
)
def test_figures_become_measurements_in_base_units(text: str, measurements: dict[str, float]) -> None:
    assert measured(text) == measurements


def test_values_come_before_what_they_are_held_against_where_there_is_not_room_for_all() -> None:
    report = perfdata.read("|" + " ".join(f"v{n}=1;2;3;1;5" for n in range(150)))
    assert (len(report.figures), report.unread) == (100, 50)
    found, left_out = perfdata.measurements(report.figures, 98)
    assert list(found) == [f"v{n}" for n in range(98)]
    assert left_out == 2 + 100 * 4


@pytest.mark.parametrize(
    "text",
    ["a" * 2**20, "'" * 2**20, "a=1 " * 2**18, "= " * 2**19, "x=" + "1" * 2**20, "'a" * 2**19 + "=", " " * 2**20],
)
def test_a_million_characters_of_anything_hold_nobody_up(text: str) -> None:
    started = time.process_time()
    perfdata.measurements(perfdata.read(f"|{text}").figures, 98)
    assert time.process_time() - started < 0.5


@given(
    st.text()
    | st.lists(st.sampled_from(["|", "'", "=", ";", "a", "1", " ", "\n", "@", ":", "~", "%", ".", "e9"])).map("".join)
)
def test_whatever_it_writes_can_be_recorded(text: str) -> None:
    report = perfdata.read(text)
    found, _ = perfdata.measurements(report.figures, 98)
    probe = Probe()
    for name, value in found.items():
        probe.record(name, value)
    assert not probe.refused

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat import Probe, measurement_name

WORDS = ["ms", "kb", "total", "count", "_", "5", "d", "s", "sum", "info", "a", "abcdefghij", "bytes", "seconds", "up"]
labels = st.text() | st.lists(st.sampled_from(WORDS)).map("_".join)
units = st.sampled_from(["", "bytes", "seconds", "ratio"])


@pytest.mark.parametrize(
    ("label", "unit", "name"),
    [
        ("load1", "", "load1"),
        ("Free Space", "bytes", "free_space_bytes"),
        ("time", "seconds", "time_seconds"),
        ("time_seconds", "seconds", "time_seconds"),
        ("time_ms", "seconds", "time_seconds"),
        ("used %", "ratio", "used_ratio"),
        ("D:\\ used", "bytes", "xd_used_bytes"),
        ("size_mb", "", "size_xmb"),
        ("5min", "", "x5min"),
        ("requests_total", "", "requests_total_value"),
        ("mem_total", "bytes", "mem_total_bytes"),
        ("duration", "", "duration_value"),
        ("duration", "seconds", "duration_seconds"),
        ("Länge", "", "lange"),
        ("", "bytes", "value_bytes"),
        ("日本", "", "value"),
        ("x" * 100, "ratio", "x" * 43 + "_ratio"),
    ],
)
def test_foreign_words_become_a_name(label: str, unit: str, name: str) -> None:
    assert measurement_name(label, unit) == name


def test_a_name_that_is_taken_is_numbered_before_its_unit() -> None:
    assert measurement_name("a z", "bytes", {"a_z_bytes"}) == "a_z_2_bytes"
    assert measurement_name("a z", "bytes", {"a_z_bytes", "a_z_2_bytes"}) == "a_z_3_bytes"


@given(labels, units)
def test_whatever_it_is_called_it_can_be_recorded(label: str, unit: str) -> None:
    probe, taken = Probe(), set[str]()
    for _ in range(3):
        name = measurement_name(label, unit, taken)
        assert name not in taken
        taken.add(name)
        probe.record(name, 1)
    assert (probe.refused, set(probe.measurements)) == ("", taken)

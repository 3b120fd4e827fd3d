from __future__ import annotations

import pytest

from heartbeat.core.limits import Bound, Limit, show
from heartbeat.core.model import Severity

WARN = (Bound(Severity.WARN, above=1.0),)


@pytest.mark.parametrize(
    ("limit", "name"),
    [
        (Limit("duration", WARN), "duration"),
        (Limit("duration", WARN, "s", "p95", 600.0), "p95 duration 10m"),
        (Limit("", WARN, "ratio", "availability", 5400.0), "availability 1h30m"),
        (Limit("fail", WARN, "", "count", 86400.0), "count fail 1d"),
        (Limit("duration", WARN, "s", "p95", 600.0, key="p95 duration 600s"), "p95 duration 600s"),
    ],
)
def test_a_limit_has_the_name_that_the_configuration_gives_it(limit: Limit, name: str) -> None:
    assert limit.name == name


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.85, "s", "850 ms"), (2.5, "s", "2.5 s"), (65536, "B", "64 KiB"), (0.995, "ratio", "99.5 %"), (12, "", "12"),
        (65536, "B/s", "64 KiB/s"), (0.25, "/s", "0.25/s"), (-0.2, "s", "-200 ms"),
    ],
)  # fmt: skip
def test_values_are_written_as_a_person_would(value: float, unit: str, text: str) -> None:
    assert show(value, unit) == text


def test_what_is_no_number_neither_breaks_nor_clears() -> None:
    bound = Bound(Severity.FAIL, above=2.0, below=1.0)
    assert not bound.broken_by(float("nan"))
    assert not bound.cleared_by(float("nan"))
    assert bound.cleared_by(1.5)

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.core.baseline import ENOUGH, Measured, Spread, compare, spread_of, why_not_compared
from heartbeat.core.model import Severity


def measured(*durations: float, **phases: Sequence[float]) -> Measured:
    return {"duration": spread_of(durations), **{f"phase.{name}": spread_of(some) for name, some in phases.items()}}


def around(middle: float) -> list[float]:
    return [middle * share for share in (0.98, 0.99, 1.0, 1.01, 1.02, 1.0, 1.0)]


@pytest.mark.parametrize(
    ("before", "now", "severity"),
    [
        (0.100, 0.100, None),
        (0.100, 0.050, None),
        (0.100, 0.124, None),  # within the tolerance
        (0.010, 0.020, None),  # nobody would notice
        (0.100, 0.130, Severity.WARN),
        (0.010, 0.050, Severity.WARN),  # many times as slow, and still quick
        (0.100, 0.190, Severity.WARN),
        (0.100, 0.250, Severity.FAIL),
    ],
)
def test_slower_is_what_grew_by_a_share_and_by_a_floor(before: float, now: float, severity: Severity | None) -> None:
    found = compare(measured(*around(now)), measured(*around(before)))
    assert (found.severity if found else None) is severity


def test_medians_of_runs_that_vary_much_are_not_told_apart() -> None:
    before, now = [0.01, 0.1, 0.2, 0.3, 0.9], [0.02, 0.1, 0.5, 0.8, 1.2]
    assert compare(measured(*now), measured(*before)) is None


def test_one_slow_run_is_no_slower_check() -> None:
    assert compare(measured(*around(0.1), 30.0), measured(*around(0.1))) is None


def test_few_runs_are_not_compared_and_that_is_said() -> None:
    few, many = measured(*[9.0] * (ENOUGH - 1)), measured(*around(0.1))
    assert compare(few, many) is None
    assert compare(many, few) is None
    assert why_not_compared(few, many) == "not compared: fewer than 5 good runs here"
    assert why_not_compared(many, few) == "not compared: fewer than 5 good runs in the baseline"
    assert why_not_compared({}, few) == "not compared: fewer than 5 good runs here and in the baseline"
    assert why_not_compared(many, None) == "not in the baseline"
    assert why_not_compared(many, many) == ""


def test_the_phase_that_grew_is_named() -> None:
    before = measured(*around(0.1), connect=around(0.05), processing=around(0.05))
    now = measured(*around(0.5), connect=around(0.06), processing=around(0.44), tls=around(0.3))
    found = compare(now, before)
    assert found is not None
    assert (found.observed, found.expected) == (
        "500 ms in 7 runs (most of it in processing)",
        "was 100 ms in the baseline's 7 runs",
    )


def test_quantiles_are_values_at_the_nearest_rank() -> None:
    assert spread_of([float(number) for number in range(100, 0, -1)]) == Spread(100, 25.0, 50.0, 75.0, 95.0)
    assert spread_of([3.0]) == Spread(1, 3.0, 3.0, 3.0, 3.0)


@given(st.lists(st.floats(0.001, 10), min_size=1, max_size=40))
def test_a_check_is_never_slower_than_itself(values: list[float]) -> None:
    assert compare(measured(*values), measured(*values)) is None


@given(st.lists(st.floats(0.001, 10), min_size=5, max_size=40), st.floats(0.1, 1.25))
def test_what_is_quicker_or_little_slower_is_not_slower(values: list[float], factor: float) -> None:
    assert compare(measured(*[value * factor for value in values]), measured(*values)) is None

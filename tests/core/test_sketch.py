from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.core.sketch import Sketch, bin_of, value_of

VALUES = st.floats(-1e15, 1e15) | st.floats(1e-6, 100)


@given(st.floats(1e-8, 1e200))
def test_a_bin_stands_for_its_values_within_one_percent(value: float) -> None:
    assert value_of(bin_of(value)) == pytest.approx(value, rel=0.01)
    assert value_of(bin_of(-value)) == pytest.approx(-value, rel=0.01)


@given(VALUES, VALUES)
def test_bins_are_in_the_order_of_their_values(one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert bin_of(small) <= bin_of(large)


@pytest.mark.parametrize("value", [0.0, 1e-12, -1e-12])
def test_next_to_nothing_is_nothing(value: float) -> None:
    assert value_of(bin_of(value)) == 0.0


@pytest.mark.parametrize("value", [1.7e308, -1.7e308])
def test_the_largest_numbers_have_a_bin_too(value: float) -> None:
    assert value_of(bin_of(value)) * value > 0


@given(st.lists(VALUES, min_size=1), st.lists(VALUES), st.sampled_from([0.01, 0.5, 0.95, 0.99]))
def test_quantiles_are_right_to_one_percent_also_after_some_were_taken_away(
    values: list[float], others: list[float], quantile: float
) -> None:
    sketch = Sketch()
    for value in [*others, *values]:
        sketch.add(bin_of(value))
    for value in others:
        sketch.add(bin_of(value), -1)
    rank = max(1, ceil(quantile * len(values) - 1e-9))
    assert sketch.quantile(quantile) == pytest.approx(sorted(values)[rank - 1], rel=0.01, abs=1e-8)


def test_an_empty_sketch_has_no_quantile() -> None:
    sketch = Sketch()
    assert sketch.quantile(0.5) is None
    sketch.add(5)
    sketch.add(5, -1)
    assert sketch.quantile(0.5) is None

from __future__ import annotations

import pytest

from bench.numbers import median_ratio, percentile, rise, slope


def test_a_percentile_is_a_value_that_was_seen() -> None:
    values = list(range(1, 101))
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile([3.0], 0.99) == 3.0
    assert percentile([2.0, 1.0], 0.0) == 1.0


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_a_ratio_is_the_median_of_those_of_the_rounds() -> None:
    # The machine was twice as slow in the second round; of medians the ratio would be another.
    assert median_ratio([10, 20, 11], [20, 40, 44]) == 0.5


def test_rounds_come_in_pairs() -> None:
    with pytest.raises(ValueError, match="zip"):
        median_ratio([1.0], [1.0, 2.0])


def test_the_slope_is_the_growth_per_unit() -> None:
    assert slope([(0, 5), (10, 25), (20, 45)]) == pytest.approx(2)
    assert slope([(0, 5), (1, 5), (2, 5)]) == 0


def test_a_rise_compares_the_last_quarter_with_the_first() -> None:
    assert rise([1, 1, 9, 1, 1, 1, 4, 4]) == 3
    assert rise([7]) == 0

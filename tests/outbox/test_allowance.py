from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.outbox.allowance import HOUR, Allowance


def leave(allowance: Allowance, wanted: list[float]) -> list[float]:
    """Return when messages leave that want to leave at these times, each as soon as it may."""
    left: list[float] = []
    for at in wanted:
        at = max(at, allowance.free_at(), left[-1] if left else at)  # noqa: PLW2901 - the same message, later
        allowance.take(at)
        left.append(at)
    return left


@given(st.integers(2, 60), st.lists(st.floats(0, 4 * HOUR), max_size=200))
def test_no_hour_has_more_messages_than_allowed(per_hour: int, wanted: list[float]) -> None:
    left = leave(Allowance(per_hour), sorted(wanted))
    for start in left:
        assert sum(start <= at < start + HOUR - 1 for at in left) <= per_hour


def test_half_of_them_may_leave_at_once_and_the_next_is_minutes_away() -> None:
    left = leave(Allowance(30), [100.0] * 20)
    assert left[:15] == [100.0] * 15
    assert left[15:18] == pytest.approx([340.0, 580.0, 820.0])


def test_one_per_hour_is_one_per_hour() -> None:
    assert leave(Allowance(1), [5.0, 5.0, 5.0]) == pytest.approx([5.0, 5.0 + HOUR, 5.0 + 2 * HOUR])


def test_what_was_not_received_is_not_counted() -> None:
    allowance = Allowance(1)
    allowance.take(5.0)
    allowance.give_back()
    assert allowance.free_at() == 5.0

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from heartbeat.core.schedule import FIRST_RUN_WITHIN, first_slot, next_slot, phase_of, skipped_slots, slot_at

names = st.text(min_size=1, max_size=10)
intervals = st.sampled_from([1.0, 1.5, 7.0, 30.0, 60.0, 86400.0])
moments = st.floats(0, 4e9)


@given(names, intervals)
def test_the_phase_lies_within_the_interval(name: str, interval: float) -> None:
    assert 0 <= phase_of(name, interval) <= interval


@given(names, intervals, moments)
def test_the_next_slot_is_the_first_one_after_now_and_on_the_grid(name: str, interval: float, now: float) -> None:
    slot = next_slot(name, interval, now)
    assert now - 1e-6 <= slot <= now + interval + 1e-3
    assert slot_at(name, interval, slot) == slot
    assert abs((slot - phase_of(name, interval)) / interval % 1 - 0.5) >= 0.499


@given(names, intervals, moments)
def test_a_slot_survives_a_trip_through_a_datetime(name: str, interval: float, now: float) -> None:
    slot = next_slot(name, interval, now)
    assert datetime.fromtimestamp(slot, UTC).timestamp() == slot


@given(names, intervals, moments)
def test_a_new_check_runs_soon(name: str, interval: float, now: float) -> None:
    assert now - 1e-3 <= first_slot(name, interval, now) <= now + min(interval, FIRST_RUN_WITHIN) + 1e-3


def test_checks_are_spread_over_the_interval() -> None:
    phases = sorted(phase_of(f"check-{number}", 60.0) for number in range(600))
    assert max(later - earlier for earlier, later in pairwise(phases)) < 2.0


@given(names, intervals, moments, st.integers(0, 10**6))
@example("\\\x7f", 30.0, 11.0, 0)
def test_slots_that_passed_are_counted_in_constant_time(name: str, interval: float, now: float, count: int) -> None:
    due = next_slot(name, interval, now)
    assert skipped_slots(name, interval, due, due + count * interval + interval / 2) == count

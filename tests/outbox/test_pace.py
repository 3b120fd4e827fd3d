from __future__ import annotations

from heartbeat.outbox.pace import ATTEMPTS, DELAYS, Pace


def plain_pace() -> Pace:
    return Pace(jitter=lambda: 0.5, monotonic=lambda: 100.0)


def test_the_schedule_begins_fast_and_then_repeats_every_ten_minutes() -> None:
    waits = [plain_pace().wait_after(attempts) for attempts in range(1, 12)]
    assert waits == [2, 5, 15, 30, 60, 120, 300, 600, 600, 600, 600]


def test_all_attempts_together_last_72_hours() -> None:
    total = sum(plain_pace().wait_after(attempts) for attempts in range(1, ATTEMPTS))
    assert 72 * 3600 - DELAYS[-1] <= total <= 72 * 3600


def test_waits_are_spread_by_a_fifth() -> None:
    assert Pace(jitter=lambda: 0.0).wait_after(9) == 480
    assert Pace(jitter=lambda: 1.0).wait_after(9) == 720


def test_what_the_receiver_asks_for_is_the_least_and_an_hour_the_most() -> None:
    assert plain_pace().wait_after(1, 120.0) == 120
    assert plain_pace().wait_after(9, 1.0) == 600
    assert plain_pace().wait_after(1, 1e9) == 3600


def test_a_time_that_was_written_down_is_never_far_away_and_never_past() -> None:
    assert plain_pace().due(next_at=50.0, now=20.0) == 130
    assert plain_pace().due(next_at=1e12, now=20.0) == 3700
    assert plain_pace().due(next_at=-1e12, now=20.0) == 100

from __future__ import annotations

import pytest

from heartbeat.clock import Clock, ClockChange, Jump, Reading, compare

START = Reading(wall=1_000_000.0, monotonic=50.0, boottime=80.0)


def later(wall: float = 1.0, monotonic: float = 1.0, boottime: float = 1.0) -> Reading:
    return Reading(START.wall + wall, START.monotonic + monotonic, START.boottime + boottime)


@pytest.mark.parametrize(
    ("after", "changes"),
    [
        (later(), []),
        (later(wall=1.4), []),
        (later(wall=-3599.0), [(Jump.STEP, -3600.0)]),
        (later(wall=86401.0), [(Jump.STEP, 86400.0)]),
        (later(wall=601.0, boottime=601.0), [(Jump.SUSPEND, 600.0)]),
        (later(wall=31.0, monotonic=31.0, boottime=31.0), [(Jump.PAUSE, 30.0)]),
        (later(wall=1201.0, monotonic=1.0, boottime=601.0), [(Jump.STEP, 600.0), (Jump.SUSPEND, 600.0)]),
    ],
)
def test_a_step_a_suspend_and_a_pause_are_told_apart(after: Reading, changes: list[tuple[Jump, float]]) -> None:
    assert compare(START, START, after, 1.0) == tuple(ClockChange(*change) for change in changes)


def test_the_clock_is_steady_until_the_ticker_says_otherwise() -> None:
    readings = [START]
    clock = Clock(lambda: readings[-1])
    readings.append(later(wall=-3590.0, monotonic=10.0, boottime=10.0))
    assert clock.now() == START.wall + 10.0
    assert [change.kind for change in clock.tick(10.0)] == [Jump.STEP]
    assert clock.now() == START.wall - 3590.0
    assert clock.tick(0.0) == ()


def test_it_knows_how_long_ago_it_ticked_also_after_a_sleep_of_the_machine() -> None:
    readings = [START]
    clock = Clock(lambda: readings[-1])
    readings.append(later(wall=600.0, monotonic=1.0, boottime=600.0))
    assert clock.since_tick() == 600.0
    clock.tick(1.0)
    assert clock.since_tick() == 0.0


def test_many_small_steps_add_up_to_one() -> None:
    readings = [START]
    clock = Clock(lambda: readings[-1])
    kinds = []
    for second in range(1, 11):
        readings.append(later(wall=second * 1.1, monotonic=second, boottime=second))
        kinds += [change.kind for change in clock.tick(1.0)]
    assert kinds == [Jump.STEP, Jump.STEP]
    assert clock.now() == pytest.approx(START.wall + 11.0)

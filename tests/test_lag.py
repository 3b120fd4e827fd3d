from __future__ import annotations

import time
from collections.abc import AsyncIterator
from time import perf_counter

import pytest

from heartbeat.lag import PERIOD, LagMeter
from heartbeat.testing.bench import until


@pytest.fixture
async def lag() -> AsyncIterator[LagMeter]:
    lag = LagMeter()
    lag.start()
    yield lag
    lag.stop()


def hold(seconds: float) -> None:
    """Hold the loop, as bad plugins do."""
    time.sleep(seconds)


async def wake(lag: LagMeter) -> None:
    """Wait until the meter has woken up once more."""
    before = lag.beat
    await until(lambda: lag.beat != before)


async def test_a_standstill_is_seen_while_nobody_has_woken_yet(lag: LagMeter) -> None:
    started = perf_counter()
    hold(0.3)
    assert 0.3 - PERIOD - 0.01 <= lag.worst_since(started) <= 0.5


async def test_a_standstill_is_remembered_for_the_runs_that_it_touched(lag: LagMeter) -> None:
    before = perf_counter()
    hold(0.3)
    await wake(lag)
    after = perf_counter()
    assert lag.worst_since(before) >= 0.3 - PERIOD - 0.01
    assert lag.worst_since(after) < 0.2


async def test_a_run_that_began_within_a_standstill_is_charged_with_its_own_part_only(lag: LagMeter) -> None:
    hold(0.2)
    started = perf_counter()
    hold(0.1)
    await wake(lag)
    assert 0.09 <= lag.worst_since(started) < 0.2


async def test_the_worst_of_several_counts(lag: LagMeter) -> None:
    started = perf_counter()
    for seconds in (0.1, 0.3, 0.1):
        hold(seconds)
        await wake(lag)
    assert 0.2 <= lag.worst_since(started) < 0.45


async def test_the_worst_is_told_once(lag: LagMeter) -> None:
    hold(0.3)
    await wake(lag)
    assert lag.take_worst() >= 0.2
    assert lag.take_worst() < 0.2


async def test_each_waking_is_a_sign_of_life(lag: LagMeter) -> None:
    before = lag.beat
    await wake(lag)
    assert lag.beat > before


async def test_a_meter_that_is_off_measures_nothing() -> None:
    lag = LagMeter()
    started = perf_counter()
    hold(0.1)
    assert lag.worst_since(started) == 0.0

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.core.schedule import Cron, Interval, next_slot
from heartbeat.scheduler import Scheduler, SlotTrigger, next_cron_time

PAST = datetime(2020, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 21, 12, 0, 0, 500, tzinfo=UTC)


def test_a_trigger_jumps_over_missed_slots_in_constant_time() -> None:
    trigger = SlotTrigger("shop", Interval(1.0), is_new=False)
    due = trigger.get_next_fire_time(PAST, NOW)
    assert 0 < (due - NOW).total_seconds() <= 1.001


@given(st.floats(1.0, 90.0), st.floats(1.6e9, 2e9))
def test_a_trigger_always_moves_on(seconds: float, at: float) -> None:
    trigger = SlotTrigger("shop", Interval(round(seconds, 3)), is_new=False)
    now = datetime.fromtimestamp(at, UTC)
    first = trigger.get_next_fire_time(None, now)
    second = trigger.get_next_fire_time(first, first)
    assert now < first < second


def test_a_restart_moves_nothing() -> None:
    trigger = SlotTrigger("shop", Interval(60.0), is_new=False)
    assert trigger.get_next_fire_time(None, NOW).timestamp() == next_slot("shop", 60.0, NOW.timestamp())


def test_a_new_check_does_not_wait_a_day_for_its_first_run() -> None:
    trigger = SlotTrigger("shop", Interval(86400.0), is_new=True)
    assert (trigger.get_next_fire_time(None, NOW) - NOW).total_seconds() <= 30.0


@pytest.mark.parametrize(
    ("expression", "zone", "after", "due"),
    [
        ("*/5 8-18 * * mon-fri", "Europe/Stockholm", "2026-11-20T17:58:00+00:00", "2026-11-23T07:00:00+00:00"),
        ("30 2 * * *", "Europe/Stockholm", "2026-03-28T12:00:00+00:00", "2026-03-29T01:00:00+00:00"),
        ("0 0 * * 0", "UTC", "2026-11-21T12:00:00+00:00", "2026-11-22T00:00:00+00:00"),
    ],
)
def test_cron_times_are_read_on_the_clocks_of_their_zone(expression: str, zone: str, after: str, due: str) -> None:
    assert next_cron_time(Cron(expression, zone), datetime.fromisoformat(after)) == datetime.fromisoformat(due)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_checks_fire_on_their_slots_and_can_be_dropped_and_planned_anew(new_loop: object) -> None:
    async def story() -> None:
        fired: asyncio.Queue[tuple[str, float]] = asyncio.Queue()
        scheduler = Scheduler(lambda name, slot: fired.put_nowait((name, slot)))
        scheduler.start()
        scheduler.plan("gone", Interval(1.0), is_new=True)
        scheduler.plan("shop", Interval(1.0), is_new=False)
        scheduler.drop("gone")
        due = scheduler.next_run("shop")
        assert scheduler.next_run("gone") is None
        scheduler.rearm()
        assert scheduler.next_run("shop") == due
        first, second = await fired.get(), await fired.get()
        assert (first[0], second[0]) == ("shop", "shop")
        assert first[1] == due
        assert second[1] - first[1] == pytest.approx(1.0)
        scheduler.stop()
        await asyncio.sleep(0)  # APScheduler stops its timer on the next turn of the loop

    with asyncio.Runner(loop_factory=new_loop) as runner:  # type: ignore[arg-type]  # parametrized
        runner.run(story())

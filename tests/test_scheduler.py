from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import uvloop

from heartbeat.core.schedule import Interval
from heartbeat.scheduler import PERIOD, Scheduler, TurnTrigger

NOW = datetime(2026, 11, 21, 12, 0, 0, 500, tzinfo=UTC)


def test_the_trigger_does_not_make_up_for_turns_that_were_missed() -> None:
    trigger = TurnTrigger()
    assert trigger.get_next_fire_time(None, NOW) == NOW
    assert trigger.get_next_fire_time(NOW - timedelta(days=1), NOW) == NOW + PERIOD


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_checks_fire_on_their_slots_and_can_be_dropped_and_planned_anew(new_loop: object) -> None:
    async def story() -> None:
        fired: asyncio.Queue[tuple[str, float]] = asyncio.Queue()
        scheduler = Scheduler(lambda name, slot: fired.put_nowait((name, slot)))
        scheduler.plan("gone", Interval(1.0), is_new=True)
        scheduler.start()
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

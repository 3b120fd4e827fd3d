from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from time import time

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.core.schedule import Cron, Interval, next_slot
from heartbeat.timetable import SLACK, Plan, Timetable, expect, next_cron_time

NOW = 1_795_262_400.5
Fired = list[tuple[str, float]]


class Loop:
    """What of a loop a timetable asks for: timers, run by hand in the order of their times."""

    def __init__(self) -> None:
        self.now = NOW
        self.set_by = 0.0
        """What the wall clock was set by."""
        self.timers: list[tuple[float, int, Callable[..., object], tuple[object, ...]]] = []

    @property
    def steady(self) -> float:
        return self.now - self.set_by

    def set_clock(self, seconds: float) -> None:
        self.now += seconds
        self.set_by += seconds

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> None:
        self.timers.append((self.steady + delay, len(self.timers), callback, args))

    def run_to(self, end: float) -> None:
        steady_end = end - self.set_by
        while due := sorted((timer for timer in self.timers if timer[0] <= steady_end), key=lambda timer: timer[:2]):
            self.timers.remove(due[0])
            self.now = due[0][0] + self.set_by
            due[0][2](*due[0][3])
        self.now = end


@contextmanager
def timetable() -> Iterator[tuple[Timetable, Loop, Fired]]:
    loop, fired = Loop(), Fired()
    asyncio.events._set_running_loop(loop)  # type: ignore[arg-type]  # as much of a loop as is needed
    try:
        table = Timetable(lambda name, slot: fired.append((name, slot)), lambda: loop.now, lambda: loop.steady)
        yield table, loop, fired
    finally:
        asyncio.events._set_running_loop(None)


def turn_until(table: Timetable, loop: Loop, end: float) -> None:
    while loop.now < end:
        table.turn(0.75)
        loop.run_to(min(end, loop.now + 0.5))


def test_a_plan_jumps_over_missed_slots_in_constant_time() -> None:
    plan = Plan("shop", Interval(1.0), NOW - 1e9, is_new=False)
    plan.go_on(NOW)
    assert 0 < plan.slot - NOW <= 1.001


@given(st.floats(0.1, 90.0), st.floats(1.6e9, 2e9))
def test_a_plan_always_moves_on(seconds: float, at: float) -> None:
    plan = Plan("shop", Interval(round(seconds, 3)), at, is_new=False)
    first = plan.slot
    plan.go_on(first)
    assert at < first < plan.slot


def test_a_restart_moves_nothing() -> None:
    assert Plan("shop", Interval(60.0), NOW, is_new=False).slot == next_slot("shop", 60.0, NOW)


def test_a_new_check_does_not_wait_a_day_for_its_first_run() -> None:
    assert 0 <= Plan("shop", Interval(86400.0), NOW, is_new=True).slot - NOW <= 30.0


@pytest.mark.parametrize(
    ("expression", "zone", "after", "due"),
    [
        ("*/5 8-18 * * mon-fri", "Europe/Stockholm", "2026-11-20T17:58:00+00:00", "2026-11-23T07:00:00+00:00"),
        ("30 2 * * *", "Europe/Stockholm", "2026-03-28T12:00:00+00:00", "2026-03-29T01:00:00+00:00"),
        ("0 0 * * 0", "UTC", "2026-11-21T12:00:00+00:00", "2026-11-22T00:00:00+00:00"),
    ],
)
def test_cron_times_are_read_on_the_clocks_of_their_zone(expression: str, zone: str, after: str, due: str) -> None:
    found = next_cron_time(Cron(expression, zone), datetime.fromisoformat(after).timestamp())
    assert found == datetime.fromisoformat(due).timestamp()


@given(st.lists(st.floats(0.1, 5.0), min_size=1, max_size=8))
def test_every_slot_comes_once_and_in_time(intervals: list[float]) -> None:
    with timetable() as (table, loop, fired):
        seconds = [round(interval, 3) for interval in intervals]
        for number, interval in enumerate(seconds):
            table.plan(f"c{number}", Interval(interval), is_new=False)
        first = {f"c{number}": table.next_slot(f"c{number}") or 0.0 for number in range(len(seconds))}
        turn_until(table, loop, NOW + 10)
    for number, interval in enumerate(seconds):
        slots = [slot for name, slot in fired if name == f"c{number}"]
        expected, slot = [], first[f"c{number}"]
        while slot < NOW + 10 - 0.001:
            expected.append(slot)
            slot = next_slot(f"c{number}", interval, slot + 0.0005)
        assert slots[: len(expected)] == expected
        assert len(slots) - len(expected) <= 1


def test_a_plan_in_the_middle_of_a_turn_does_not_wait_for_the_next() -> None:
    with timetable() as (table, loop, fired):
        table.turn(0.75)
        table.plan("shop", Interval(0.1), is_new=True)
        loop.run_to(NOW + 0.5)
        assert len(fired) >= 4


def test_what_was_dropped_or_planned_anew_does_not_fire_under_its_old_timer() -> None:
    with timetable() as (table, loop, fired):
        table.plan("gone", Interval(0.2), is_new=False)
        table.plan("slower", Interval(0.2), is_new=False)
        table.turn(0.75)
        table.drop("gone")
        table.plan("slower", Interval(86400.0), is_new=False)
        loop.run_to(NOW + 1)
        assert fired == []
        assert table.next_slot("gone") is None


def test_planning_anew_after_a_step_of_the_clock_fires_no_slot_twice() -> None:
    with timetable() as (table, loop, fired):
        table.plan("shop", Interval(0.6), is_new=False)
        table.turn(0.75)
        table.rearm()
        turn_until(table, loop, NOW + 5)
        assert len(fired) == len(set(fired)) >= 8


def test_after_the_clock_was_set_back_the_slots_come_at_once() -> None:
    with timetable() as (table, loop, fired):
        table.plan("shop", Interval(1.0), is_new=False)
        table.turn(0.75)
        loop.run_to(NOW + 0.5)
        loop.set_clock(-3600)
        table.rearm()
        turn_until(table, loop, loop.now + 2)
        assert any(slot < NOW - 3590 for _, slot in fired)


def test_plans_that_change_for_ever_leave_nothing_behind() -> None:
    with timetable() as (table, _, _):
        for _ in range(3 * SLACK):
            table.plan("shop", Interval(86400.0), is_new=False)
        table.turn(0.75)
        assert len(table._queue) == 1


def test_a_mistake_with_one_check_stops_no_other() -> None:
    with timetable() as (_, loop, fired):

        def fire(name: str, slot: float) -> None:
            fired.append((name, slot))
            raise RuntimeError(name)

        table = Timetable(fire, lambda: loop.now, lambda: loop.steady)
        table.plan("one", Interval(0.1), is_new=True)
        table.plan("other", Interval(0.1), is_new=True)
        table.turn(5.0)
        while loop.now < NOW + 1:
            with suppress(RuntimeError):
                loop.run_to(NOW + 1)
    assert min(sum(one == name for one, _ in fired) for name in ("one", "other")) >= 9


def test_after_the_end_nothing_fires() -> None:
    with timetable() as (table, loop, fired):
        table.plan("shop", Interval(0.1), is_new=True)
        table.turn(0.75)
        table.stop()
        loop.run_to(NOW + 2)
        assert fired == []


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_timers_are_never_early(new_loop: object) -> None:
    async def story() -> list[float]:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        early: list[float] = []

        def fire(_: str, slot: float) -> None:
            early.append(slot - time())
            if len(early) == 40 and not over.done():
                over.set_result(None)

        table = Timetable(fire)
        for number in range(40):
            table.plan(f"c{number}", Interval(0.4), is_new=False)
        table.turn(0.75)
        await over
        return early

    with asyncio.Runner(loop_factory=new_loop) as runner:  # type: ignore[arg-type]  # parametrized
        assert max(runner.run(story())) <= 0


def test_in_the_hour_that_comes_twice_the_next_time_is_not_past() -> None:
    at = datetime.fromisoformat("2018-10-28T01:30:00+00:00").timestamp()  # London has just had 01:30 for the first time
    assert next_cron_time(Cron("45 1 * * *", "Europe/London"), at) > at


def test_an_appointment_comes_once_and_then_there_is_nothing_more_to_come() -> None:
    with timetable() as (table, loop, fired):
        table.appoint("job", NOW + 5)
        assert table.next_slot("job") == NOW + 5
        turn_until(table, loop, NOW + 60)
        assert fired == [("job", NOW + 5)]
        assert table.next_slot("job") is None
        table.rearm()
        turn_until(table, loop, NOW + 120)
        assert len(fired) == 1


def test_a_later_appointment_takes_the_place_of_one_and_so_do_slots() -> None:
    with timetable() as (table, loop, fired):
        table.appoint("job", NOW + 0.3)
        table.turn(0.75)
        table.appoint("job", NOW + 5)
        table.appoint("shop", NOW + 5)
        table.plan("shop", Interval(10.0), is_new=False)
        turn_until(table, loop, NOW + 20)
        assert [slot for name, slot in fired if name == "job"] == [NOW + 5]
        assert len([slot for name, slot in fired if name == "shop"]) == 2


def test_an_appointment_in_the_past_comes_at_once_and_one_at_no_time_never() -> None:
    with timetable() as (table, loop, fired):
        table.appoint("never", float("inf"))
        table.turn(0.75)
        table.appoint("job", NOW - 100)
        loop.run_to(NOW + 0.1)
        assert fired == [("job", NOW - 100)]
        for _ in range(2 * SLACK):
            table.appoint("job", NOW + 1e6)
            table.appoint("job", float("inf"))
        table.turn(0.75)
        assert len(table._queue) <= 2 * SLACK


def test_a_report_is_expected_so_long_after_the_last_one_in_its_rhythm() -> None:
    every = expect(Interval(60.0), NOW)
    assert every(NOW) == NOW + 60
    assert every(NOW - 30) == NOW + 30
    assert every(NOW - 150) == NOW - 90
    assert every(NOW - 150, NOW) == NOW + 30
    assert not every.fixed


def test_a_report_is_expected_at_each_time_of_a_cron_expression() -> None:
    daily = expect(Cron("0 3 * * *", "Europe/Stockholm"), NOW)
    first = daily(NOW)
    assert datetime.fromtimestamp(first, UTC).hour == 2
    assert daily(first) == first + 86_400
    assert daily(NOW - 1e6, first) == first
    assert daily.fixed


@given(st.floats(1.0, 1e6), st.floats(0, 1e7), st.floats(0, 1e7))
def test_what_is_expected_lies_ahead_and_not_before_we_hear_and_keeps_its_rhythm(
    seconds: float, after: float, woke: float
) -> None:
    slot = expect(Interval(seconds), NOW + woke)(NOW + after, NOW + woke)
    assert slot > NOW + after
    assert slot >= NOW + woke - 1e-3
    assert slot - seconds <= max(NOW + after, NOW + woke) + 1e-3
    assert abs((slot - NOW - after) / seconds - round((slot - NOW - after) / seconds)) < 1e-3

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from heartbeat import absence as absence_module
from heartbeat.absence import Absences
from heartbeat.core.advance import Absence
from heartbeat.core.model import Kind, Reason
from heartbeat.core.policy import Policy
from heartbeat.core.schedule import Cron
from heartbeat.line import run_slot
from heartbeat.state import Live
from heartbeat.testing.bench import EVERY, NOON, Bench, a_check, bench
from heartbeat.timetable import next_cron_time

POLICY = Policy(missed=3, interval=EVERY)
FIVE = Cron("*/5 * * * *")
LONG = 3 * EVERY + 5.0 + absence_module.SLACK
"""Seconds after which three slots are past for sure, with the timeout of the last."""


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as on:
        yield on


def planned(on: Bench, name: str = "shop", **changes: Any) -> Live:
    live = on.enlist(a_check(name, **{"policy": POLICY, **changes}))
    on.scheduler.planned[name] = on.line.clock.now()
    return live


def find(on: Bench) -> list[Absence]:
    return [absence for _, absence in Absences(on.dispatch, on.scheduler).find()]


async def tick(on: Bench) -> None:
    on.time.pass_by(1.0)
    on.ticker._tick()
    await asyncio.gather(*on.dispatch.tasks)


async def test_a_check_that_has_not_run_for_its_slots_is_missed_once_and_resumes_with_a_run(on: Bench) -> None:
    live = planned(on)
    await run_slot(on.line, live, on.line.clock.now())
    for _ in range(int(LONG + EVERY)):
        await tick(on)
    (missed,) = await on.store.events("shop")
    assert missed.kind is Kind.MISSED
    assert LONG - EVERY < missed.at - NOON < LONG + 2.0
    assert missed.sentence.startswith("it has not run for 3 intervals (3 min), since Fri 15 Jan 2027 08:00:00 UTC, ")
    assert missed.sentence.endswith("and nothing says why: this machine may be too busy")
    await run_slot(on.line, live, on.line.clock.now())
    assert [event.kind for event in await on.store.events("shop")] == [Kind.RESUMED, Kind.MISSED]


async def test_a_check_that_runs_is_not_absent(on: Bench) -> None:
    live = planned(on)
    for _ in range(10):
        on.time.pass_by(EVERY)
        await run_slot(on.line, live, on.line.clock.now())
        assert find(on) == []


async def test_the_last_slot_is_given_its_timeout(on: Bench) -> None:
    planned(on)
    on.time.pass_by(2 * EVERY + 5.0 + absence_module.SLACK - 1.0)
    assert find(on) == []
    on.time.pass_by(EVERY + 2.0)
    assert len(find(on)) == 1


@pytest.mark.parametrize("missed", [1, 5])
async def test_the_policy_says_after_how_many_slots(on: Bench, missed: int) -> None:
    planned(on, policy=Policy(missed=missed, interval=EVERY))
    on.time.pass_by(missed * EVERY)
    assert find(on) == []
    on.time.pass_by(EVERY)
    (absence,) = find(on)
    assert f"has not run for {missed} intervals" in absence.sentence
    assert NOON < absence.since <= NOON + EVERY


async def test_a_policy_that_never_tells_of_it_is_heeded(on: Bench) -> None:
    planned(on, policy=Policy(missed=None, interval=EVERY))
    on.time.pass_by(1e6)
    assert find(on) == []


async def test_a_check_that_is_switched_off_is_not_planned_and_not_absent(on: Bench) -> None:
    planned(on)
    on.scheduler.drop("shop")
    on.time.pass_by(1e6)
    assert find(on) == []


@pytest.mark.parametrize("standstill", ["suspend", "pause"])
async def test_after_a_standstill_the_count_begins_anew(on: Bench, standstill: str) -> None:
    planned(on)
    if standstill == "suspend":
        on.time.suspend(3600.0)
    else:
        on.time.pass_by(3600.0)
    on.ticker._tick()
    assert find(on) == []
    on.time.pass_by(LONG - EVERY - 1.0)
    assert find(on) == []
    on.time.pass_by(EVERY + 2.0)
    assert len(find(on)) == 1


@pytest.mark.parametrize("step", [-86_400.0, 86_400.0])
async def test_a_step_of_the_clock_makes_nothing_absent(
    on: Bench, step: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heartbeat.scheduler.time", lambda: on.time.reading.wall)
    live = planned(on)
    await run_slot(on.line, live, on.line.clock.now())
    on.scheduler.start()
    on.time.pass_by(EVERY)
    on.time.step(step)
    on.ticker._tick()
    assert find(on) == []
    on.time.pass_by(LONG - EVERY - 1.0)
    assert find(on) == []
    on.time.pass_by(EVERY + 2.0)
    assert len(find(on)) == 1
    on.scheduler.stop()
    await asyncio.sleep(0)


async def test_a_stop_tells_of_no_absence(on: Bench) -> None:
    planned(on)
    on.time.pass_by(1e6)
    on.line.closing.set()
    assert find(on) == []


async def test_what_is_absent_is_not_told_again(on: Bench) -> None:
    live = planned(on)
    on.time.pass_by(1e6)
    (absence,) = find(on)
    assert absence.check == live.config.name
    on.line.clock.tick(1.0)  # what was no standstill must not look like one
    await tick(on)
    assert live.status.absent is not None
    assert find(on) == []


async def test_a_plugin_that_hangs_past_its_deadline_is_the_reason(on: Bench) -> None:
    live = planned(on)
    on.line.running.add("shop")
    live.miss(Reason.BUSY, 3)
    on.time.pass_by(1e4)
    (absence,) = find(on)
    assert absence.reason is Reason.BUSY
    assert absence.sentence.endswith("because its last run has not ended")
    on.line.running.discard("shop")


async def test_a_run_that_has_begun_at_last_is_waited_for(on: Bench) -> None:
    planned(on)
    on.line.running.add("shop")
    on.time.pass_by(1e4)
    assert find(on) == []
    on.line.running.discard("shop")


async def test_too_many_runs_at_once_are_the_reason(on: Bench) -> None:
    planned(on)
    on.time.pass_by(1e4)
    on.dispatch.overloaded_at = on.line.clock.now() - 1.0
    (absence,) = find(on)
    assert absence.reason is Reason.OVERLOAD
    assert "'concurrency'" in absence.sentence


async def test_cron_times_are_counted_one_by_one(on: Bench) -> None:
    planned(on, schedule=FIVE, policy=Policy(missed=2))
    on.time.pass_by(600.0 + 5.0 + absence_module.SLACK)
    assert find(on) == []
    on.time.pass_by(1.0)
    (absence,) = find(on)
    assert absence.since == NOON + 300.0
    assert "has not run for 2 of its times (10 min)" in absence.sentence


async def test_cron_expressions_are_worked_out_few_at_a_time_and_once(
    on: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked_out: list[float] = []

    def work_out(cron: Cron, at: float) -> float:
        worked_out.append(at)
        return next_cron_time(cron, at)

    monkeypatch.setattr(absence_module, "next_cron_time", work_out)
    for number in range(50):
        planned(on, f"daily-{number}", schedule=Cron("0 9 * * *"), policy=Policy(missed=1))
    on.time.pass_by(1200.0)
    absences = Absences(on.dispatch, on.scheduler)
    for _ in range(10):
        before = len(worked_out)
        assert list(absences.find()) == []
        assert len(worked_out) - before <= absence_module.CRONS_AT_ONCE
    assert len(worked_out) == 50


async def test_among_many_every_check_is_looked_at_within_seconds(on: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(absence_module, "AT_ONCE", 7)
    for number in range(30):
        planned(on, f"check-{number}")
    on.time.pass_by(1e4)
    absences = Absences(on.dispatch, on.scheduler)
    rounds = [[found.check for _, found in absences.find()] for _ in range(5)]
    assert sorted(name for names in rounds for name in names) == sorted(on.state.checks)
    assert max(len(names) for names in rounds) == 7

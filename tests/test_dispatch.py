from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from heartbeat import Probe
from heartbeat.core.model import Outcome, Reason
from heartbeat.core.policy import Latch, Policy
from heartbeat.core.schedule import Cron, slot_at
from heartbeat.line import run_slot
from heartbeat.testing.bench import EVERY, Bench, a_check, bench, down, until


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path, concurrency=2) as on:
        yield on


class Gate:
    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, probe: Probe) -> None:
        self.reached.set()
        await self.opened.wait()


def now(on: Bench) -> float:
    return on.line.clock.now()


def slot(on: Bench, name: str = "shop") -> float:
    return slot_at(name, EVERY, now(on))


def missed(on: Bench, reason: Reason) -> float:
    return float(on.instruments.missed_runs.labels(reason.value)._value.get())


async def finish(on: Bench) -> None:
    """Wait for what is under way, with nothing else."""
    await asyncio.gather(*on.dispatch.tasks)


async def test_a_slot_becomes_a_run(on: Bench) -> None:
    live = on.enlist(a_check())
    on.dispatch.fire("shop", slot(on))
    await finish(on)
    assert live.runs[Outcome.OK] == 1
    assert live.run is not None
    assert live.run.slot == slot(on)
    assert on.dispatch.tasks == set()


async def test_a_check_that_is_gone_runs_no_more(on: Bench) -> None:
    on.dispatch.fire("gone", now(on))
    assert on.dispatch.tasks == set()


async def test_a_run_that_still_goes_on_is_not_doubled(on: Bench) -> None:
    gate = Gate()
    live = on.enlist(a_check(behave=gate))
    on.dispatch.fire("shop", slot(on))
    await gate.reached.wait()
    on.time.pass_by(EVERY)
    on.dispatch.fire("shop", slot(on))
    assert live.missed == {Reason.BUSY: 1}
    assert missed(on, Reason.BUSY) == 1
    assert await on.dispatch.run_now(live) is None
    gate.opened.set()
    await finish(on)
    assert live.runs[Outcome.OK] == 1


async def test_more_than_may_run_at_once_are_missed_and_not_queued(on: Bench) -> None:
    gate = Gate()
    checks = [on.enlist(a_check(name, gate)) for name in ("one", "two", "three")]
    for live in checks:
        on.dispatch.fire(live.config.name, slot(on, live.config.name))
        await asyncio.sleep(0)
    assert [live.missed for live in checks] == [{}, {}, {Reason.OVERLOAD: 1}]
    assert on.dispatch.overloaded_at == now(on)
    gate.opened.set()
    await finish(on)
    assert [live.runs[Outcome.OK] for live in checks] == [1, 1, 0]


async def test_all_slots_of_one_instant_count_against_what_may_run_at_once(on: Bench) -> None:
    gate = Gate()
    checks = [on.enlist(a_check(name, gate)) for name in ("one", "two", "three")]
    for live in checks:
        on.dispatch.fire(live.config.name, slot(on, live.config.name))
    assert sum(live.missed.get(Reason.OVERLOAD, 0) for live in checks) == 1
    gate.opened.set()
    await finish(on)


async def test_a_late_slot_is_coalesced_into_the_latest_and_the_others_are_counted(on: Bench) -> None:
    live = on.enlist(a_check())
    due = slot(on)
    on.time.pass_by(3 * EVERY)
    on.dispatch.fire("shop", due)
    await finish(on)
    assert sum(live.missed.values()) == 3
    assert live.run is not None
    assert live.run.slot == slot(on)
    assert live.runs[Outcome.OK] == 1


async def test_a_late_cron_time_runs_once(on: Bench) -> None:
    live = on.enlist(a_check(schedule=Cron("0 * * * *")))
    due = now(on)
    on.time.pass_by(3 * EVERY)
    on.dispatch.fire("shop", due)
    await finish(on)
    assert live.missed == {}
    assert live.run is not None
    assert live.run.slot == due


async def test_how_late_a_run_started_is_known(on: Bench) -> None:
    on.enlist(a_check())
    on.dispatch.fire("shop", now(on) - 2.0)
    assert on.dispatch.late == pytest.approx(2.0)


async def test_a_slot_before_a_sleep_of_the_machine_is_nobodys_lateness(on: Bench) -> None:
    on.enlist(a_check())
    due = now(on)
    on.time.suspend(600.0)
    on.dispatch.wake()
    on.dispatch.fire("shop", due)
    assert on.dispatch.late == 0.0


@pytest.mark.parametrize("ticked", [False, True])
async def test_slots_that_passed_while_the_machine_slept_are_missed_as_paused(on: Bench, *, ticked: bool) -> None:
    live = on.enlist(a_check())
    due = slot(on)
    on.time.suspend(3 * EVERY)
    if ticked:
        on.line.clock.tick(1.0)
        on.dispatch.wake()
    on.dispatch.fire("shop", due)
    await finish(on)
    assert live.missed == {Reason.PAUSED: 3}
    assert live.runs[Outcome.OK] == 1


async def test_a_slot_ahead_of_the_steady_clock_comes_from_a_step_and_is_ignored(on: Bench) -> None:
    live = on.enlist(a_check())
    on.time.step(3600.0)
    on.dispatch.fire("shop", on.time.reading.wall)
    assert on.dispatch.tasks == set()
    assert live.missed == {}
    on.dispatch.fire("shop", now(on) + 0.4)
    assert len(on.dispatch.tasks) == 1


async def test_a_mistake_of_ours_is_logged_and_frees_the_check(on: Bench) -> None:
    live = on.enlist(a_check())
    live.config = replace(live.config, limits=(None,))  # type: ignore[arg-type]  # the mistake
    with capture_logs() as lines:
        on.dispatch.fire("shop", slot(on))
        with suppress(AttributeError):
            await finish(on)
        await asyncio.sleep(0)
    (line,) = [line for line in lines if line["log_level"] == "critical"]
    assert line["check"] == "shop"
    assert isinstance(line["exc_info"], AttributeError)
    live.config = a_check()
    on.dispatch.fire("shop", slot(on))
    await finish(on)
    assert live.runs[Outcome.OK] == 1


async def test_a_mistake_beside_a_run_does_not_free_its_check(on: Bench) -> None:
    gate = Gate()
    on.enlist(a_check(behave=gate))
    on.dispatch.fire("shop", slot(on))
    await gate.reached.wait()

    async def mistake() -> None:
        raise ValueError

    with capture_logs():
        on.dispatch.spawn(mistake(), "shop")
        await until(lambda: len(on.dispatch.tasks) == 1)
    assert on.line.running == {"shop"}
    gate.opened.set()
    await finish(on)


async def test_a_check_can_run_out_of_turn(on: Bench) -> None:
    verdict = await on.dispatch.run_now(on.enlist(a_check(behave=down)))
    assert verdict is not None
    assert verdict.outcome is Outcome.FAIL


async def test_a_look_that_others_ask_for_is_a_second_one_and_not_made_twice_at_a_time(on: Bench) -> None:
    live = on.enlist(a_check())
    for seconds, runs in ((0.0, 1), (1.0, 1), (1.0, 2)):
        on.time.pass_by(seconds)
        on.dispatch.look_at("shop")
        on.dispatch.look_at("shop")
        await finish(on)
        assert live.runs[Outcome.OK] == runs
    assert live.run is not None
    assert live.run.attempt == 1


async def test_looks_leave_half_of_what_may_run_at_once_to_the_slots(on: Bench) -> None:
    gate = Gate()
    checks = [on.enlist(a_check(name, gate)) for name in ("one", "two")]
    for live in checks:
        on.dispatch.look_at(live.config.name)
    assert on.line.running == {"one"}
    gate.opened.set()
    await finish(on)


async def test_nobody_looks_at_what_is_gone_or_after_the_end(on: Bench) -> None:
    on.dispatch.look_at("gone")
    on.enlist(a_check())
    on.line.closing.set()
    on.dispatch.look_at("shop")
    assert on.dispatch.tasks == set()


async def test_a_run_out_of_turn_outlives_whoever_asked_for_it(on: Bench) -> None:
    gate = Gate()
    live = on.enlist(a_check(behave=gate))
    asking = asyncio.ensure_future(on.dispatch.run_now(live))
    await gate.reached.wait()
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking
    gate.opened.set()
    await finish(on)
    assert on.line.running == set()
    assert live.runs[Outcome.OK] == 1


async def test_the_end_waits_for_runs_under_way_and_begins_nothing_new(on: Bench) -> None:
    gate = Gate()
    live = on.enlist(a_check(behave=gate))
    on.enlist(a_check("other"))
    on.dispatch.fire("shop", slot(on))
    await gate.reached.wait()
    draining = asyncio.ensure_future(on.dispatch.drain(5.0))
    await asyncio.sleep(0)
    on.dispatch.fire("other", slot(on, "other"))
    gate.opened.set()
    await draining
    assert live.runs[Outcome.OK] == 1
    assert on.state.checks["other"].runs[Outcome.OK] == 0


async def test_the_end_does_not_wait_longer_than_its_grace(on: Bench) -> None:
    on.enlist(a_check(behave=Gate(), timeout=60.0))
    on.dispatch.fire("shop", slot(on))
    await asyncio.sleep(0)
    await asyncio.wait_for(on.dispatch.drain(0.05), 5.0)
    assert on.line.running == {"shop"}
    assert on.dispatch.tasks == set()


async def test_what_was_not_recorded_gets_a_last_chance_at_the_end(on: Bench) -> None:
    live = on.enlist(a_check(behave=down))
    with on.locked_store():
        await run_slot(on.line, live, now(on))
    await on.store.forget("nobody")
    await on.dispatch.drain(1.0)
    assert (await on.store.load()).statuses["shop"] == live.status


async def test_the_end_does_not_wait_for_a_second_look(on: Bench) -> None:
    live = on.enlist(
        a_check(behave=down, policy=Policy(Latch(raise_=2, window=2), Latch(raise_=2, window=2), recheck=60.0))
    )
    on.dispatch.fire("shop", slot(on))
    await until(lambda: live.run)
    await asyncio.wait_for(on.dispatch.drain(60.0), 5.0)
    assert live.runs[Outcome.FAIL] == 1

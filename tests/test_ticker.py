from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from heartbeat import Probe
from heartbeat import ticker as ticker_module
from heartbeat.core.model import Kind
from heartbeat.core.policy import Policy, Routes
from heartbeat.core.schedule import Interval
from heartbeat.line import run_slot
from heartbeat.store import StoreFailed
from heartbeat.testing.bench import Bench, a_check, bench, down, ok, until


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as on:
        yield on


def tick(on: Bench, seconds: float = ticker_module.PERIOD) -> None:
    """Let a second pass, and the ticker see it."""
    on.time.pass_by(seconds)
    on.ticker._tick()


def changes(on: Bench, kind: str) -> float:
    return float(on.instruments.clock_changes.labels(kind)._value.get())


async def settle(on: Bench) -> None:
    await asyncio.gather(*on.dispatch.tasks)


async def test_it_ticks_by_itself_until_it_is_stopped(on: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticker_module, "PERIOD", 0.01)
    on.ticker.start()
    await until(lambda: len(on.looks) >= 3)
    on.ticker.stop()
    seen = len(on.looks)
    await asyncio.sleep(0.05)
    assert len(on.looks) == seen


async def test_a_tick_is_seen_from_outside(on: Bench) -> None:
    before = on.ticker.beat
    tick(on)
    assert on.ticker.beat > before
    assert on.instruments.last_tick_timestamp._value.get() == on.line.clock.now()
    assert on.instruments.loop_lag._sum.get() < 1.0
    assert on.looks == [on.line.clock.now()]


@pytest.mark.parametrize("step", [-3600.0, 86400.0])
async def test_a_step_moves_all_times_that_are_held_and_plans_anew(on: Bench, step: float) -> None:
    live = on.enlist(a_check(behave=down, policy=Policy(remind=100.0)))
    await run_slot(on.line, live, on.line.clock.now())
    before, overloaded = live.status, on.line.clock.now()
    on.dispatch.overloaded_at = overloaded
    on.scheduler.start()
    on.scheduler.plan("shop", Interval(60.0), is_new=False)
    rearmed: list[None] = []
    rearm, on.scheduler.rearm = on.scheduler.rearm, lambda: rearmed.append(rearm())  # type: ignore[method-assign]  # counted, and done
    on.time.step(step)
    with capture_logs() as lines:
        tick(on)
    assert [line["kind"] for line in lines if line["event"] == "the clock changed"] == ["step"]
    assert changes(on, "step") == 1
    assert live.status.since == (before.since or 0.0) + step
    assert live.status.wake_at == (before.wake_at or 0.0) + step
    assert on.dispatch.overloaded_at == overloaded + step
    assert len(rearmed) == 1
    await settle(on)
    assert [event.kind for event in await on.store.events()] == [Kind.RAISED]
    on.scheduler.stop()
    await asyncio.sleep(0)


@pytest.mark.parametrize(("kind", "seconds"), [("suspend", 600.0), ("pause", 30.0)])
async def test_a_sleep_and_a_pause_move_no_time_and_are_only_counted(on: Bench, kind: str, seconds: float) -> None:
    live = on.enlist(a_check(behave=down))
    await run_slot(on.line, live, on.line.clock.now())
    before = live.status
    on.dispatch.late = 99.0
    if kind == "suspend":
        on.time.suspend(seconds)
    else:
        on.time.pass_by(seconds)
    with capture_logs() as lines:
        tick(on)
    assert [(line["kind"], line["seconds"]) for line in lines if line["event"] == "the clock changed"] == [
        (kind, seconds)
    ]
    assert changes(on, kind) == 1
    assert changes(on, "step") == 0
    assert live.status == before
    assert (on.dispatch.late, on.dispatch.awake_since) == (0.0, on.line.clock.now())


@pytest.mark.parametrize("step", [-7200.0, 7200.0])
@pytest.mark.parametrize(
    ("policy", "kinds"),
    [
        (Policy(remind=4.0), [Kind.RAISED, Kind.REMINDER]),
        (Policy(escalate=4.0), [Kind.RAISED, Kind.ESCALATED]),
        (Policy(hold=4.0), [Kind.RAISED]),
    ],
)
async def test_a_step_brings_nothing_sooner_and_nothing_later(
    on: Bench, step: float, policy: Policy, kinds: list[Kind]
) -> None:
    oncall = Routes(("oncall",), escalation=("oncall",))
    live = on.enlist(a_check(behave=down, policy=policy, notify=oncall))
    await run_slot(on.line, live, on.line.clock.now())
    before = kinds[:-1]
    for after in range(5):
        if after == 2:
            on.time.step(step)
        await on.inbox.wait(len(before)) if before else None
        assert on.inbox.kinds == before
        tick(on)
        await settle(on)
    await on.inbox.wait(len(kinds))
    assert on.inbox.kinds == kinds


@pytest.mark.parametrize("step", [-7200.0, 7200.0])
async def test_a_step_neither_starts_nor_stops_flapping(on: Bench, step: float) -> None:
    turn = iter([down, ok] * 20)

    async def alternate(probe: Probe) -> None:
        await next(turn)(probe)

    live = on.enlist(a_check(behave=alternate))
    for run in range(20):
        on.time.pass_by(60.0)
        on.line.clock.tick(60.0)
        await run_slot(on.line, live, on.line.clock.now())
        if run in (3, 15):
            states, flapping = live.status.states, live.status.flapping
            on.time.step(step)
            tick(on)
            assert live.status.states == states
            assert (live.status.flapping is None) is (flapping is None)
    await settle(on)
    found = [event.kind for event in await on.store.events("shop", limit=100)]
    assert found.count(Kind.FLAPPING) == 1
    assert Kind.SETTLED not in found


async def test_a_crowd_that_is_kept_back_is_looked_at_in_turns(on: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticker_module, "AT_ONCE", 2)
    for name in "abcde":
        live = on.enlist(a_check(name, behave=down, policy=Policy(hold=2.0)))
        await run_slot(on.line, live, on.line.clock.now())
    for _ in range(6):
        tick(on)
        await settle(on)
    await on.inbox.wait(5)
    assert on.inbox.kinds == [Kind.RAISED] * 5


async def test_an_ordinary_second_is_no_change(on: Bench) -> None:
    for _ in range(5):
        tick(on)
    assert [changes(on, kind) for kind in ("step", "suspend", "pause")] == [0, 0, 0]


async def test_reminders_that_are_due_go_out_once(on: Bench) -> None:
    live = on.enlist(a_check(behave=down, policy=Policy(remind=3.0)))
    on.enlist(a_check("other"))
    await run_slot(on.line, live, on.line.clock.now())
    for _ in range(4):
        tick(on)
        await settle(on)
    await on.inbox.wait(2)
    assert on.inbox.kinds == [Kind.RAISED, Kind.REMINDER]


async def test_what_was_not_recorded_is_recorded_when_the_store_is_back(on: Bench) -> None:
    live = on.enlist(a_check(behave=down))
    with on.locked_store():
        await run_slot(on.line, live, on.line.clock.now())
        tick(on)
        assert on.dispatch.tasks == set()
        with pytest.raises(StoreFailed):
            await on.store.forget("nobody")
    await on.store.forget("nobody")
    tick(on)
    await settle(on)
    assert len(on.line.unrecorded) == 0
    assert len(await on.store.events("shop")) == 1

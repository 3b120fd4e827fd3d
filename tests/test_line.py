from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from heartbeat import Probe
from heartbeat.core.advance import Absence, Removal, Taken
from heartbeat.core.decide import NONE, Objections
from heartbeat.core.limits import Bound, Limit
from heartbeat.core.model import DeliveryState, Kind, Outcome, Result, Run, Severity, Track, Verdict
from heartbeat.core.passing import Tick
from heartbeat.core.policy import Latch, Policy, Routes
from heartbeat.core.status import Acknowledgement, Incident, Status
from heartbeat.core.trace import trace_id
from heartbeat.line import Line, record_again, run_slot, take, tick_of
from heartbeat.state import Live
from heartbeat.store import Entry, StoreFailed
from heartbeat.testing.bench import Bench, a_check, bench, broken, down, ok, until


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as on:
        yield on


def now(on: Bench) -> float:
    return on.line.clock.now()


class Gate:
    """A plugin that waits to be let through, and then finds what it is told to find."""

    def __init__(self, then: Any = down) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()
        self.then = then

    async def __call__(self, probe: Probe) -> None:
        self.reached.set()
        await self.opened.wait()
        await self.then(probe)


async def start(on: Bench, live: Live, gate: Gate) -> asyncio.Task[Verdict]:
    task = asyncio.ensure_future(run_slot(on.line, live, now(on)))
    await gate.reached.wait()
    return task


async def test_a_good_run_is_recorded_and_tells_nobody(on: Bench) -> None:
    live = on.enlist(a_check())
    verdict = await run_slot(on.line, live, now(on))
    assert verdict.outcome is Outcome.OK
    assert (live.up, live.runs[Outcome.OK]) == (True, 1)
    (recorded,) = await on.store.results("shop")
    assert recorded.verdict == verdict
    assert on.inbox.texts == []
    assert on.line.running == set()


async def test_a_bad_run_is_recorded_with_its_event_and_told(on: Bench) -> None:
    on.line.location = "eu"
    live = on.enlist(a_check(behave=down, labels={"team": "a"}, runbook="https://wiki"))
    await run_slot(on.line, live, now(on))
    assert await on.inbox.wait(1) == ["raised shop"]
    (event,) = await on.store.events("shop")
    about = {"type": "scripted", "labels": {"team": "a"}, "runbook": "https://wiki", "location": "eu"}
    assert event.context == {**about, "policy": "", "also_failing": []}
    assert event.result is not None
    assert event.result.sentence == "the shop is down"
    assert (await on.store.load()).statuses["shop"] == live.status
    assert live.severity is Severity.FAIL


async def test_what_a_limit_says_is_told_too(on: Bench) -> None:
    async def slow(probe: Probe) -> None:
        probe.record("depth", 7)

    limit = Limit("depth", (Bound(Severity.WARN, above=5.0),))
    live = on.enlist(a_check(behave=slow, limits=(limit,)))
    verdict = await run_slot(on.line, live, now(on))
    assert (verdict.outcome, live.severity) == (Outcome.OK, Severity.WARN)
    assert await on.inbox.wait(1) == ["raised shop"]


async def test_nobody_to_tell_is_recorded_as_suppressed_with_the_reason(on: Bench) -> None:
    live = on.enlist(a_check(behave=down, notify=Routes()))
    await run_slot(on.line, live, now(on))
    (delivery,) = await on.store.deliveries()
    assert delivery.state is DeliveryState.SUPPRESSED
    assert "no receiver" in delivery.note
    assert on.outbox.pending() == 0


async def test_a_run_of_a_check_that_changed_meanwhile_is_recorded_but_decides_nothing(on: Bench) -> None:
    gate = Gate()
    live = on.enlist(a_check(behave=gate))
    task = await start(on, live, gate)
    live.config = a_check(behave=ok, timeout=7.0)
    gate.opened.set()
    verdict = await task
    assert verdict.severity is Severity.FAIL
    assert live.severity is Severity.OK
    assert live.status.recent == ()
    assert live.runs[Outcome.FAIL] == 1
    assert len(await on.store.results("shop")) == 1
    assert await on.store.events() == []


async def test_a_run_of_a_check_that_was_removed_meanwhile_leaves_no_status_behind(on: Bench) -> None:
    gate = Gate()
    live = on.enlist(a_check(behave=gate))
    task = await start(on, live, gate)
    await take(on.line, live, Removal(live.config.name))
    await on.store.forget("shop")
    gate.opened.set()
    await task
    assert (await on.store.load()).statuses == {}
    assert len(await on.store.results("shop")) == 1


async def test_a_second_look_comes_soon_and_counts_its_attempts(on: Bench) -> None:
    attempts: list[int] = []

    async def body(probe: Probe) -> None:
        attempts.append(len(attempts))
        await down(probe)

    policy = Policy(Latch(raise_=3, window=3), Latch(raise_=3, window=3), recheck=0.01)
    live = on.enlist(a_check(behave=body, policy=policy))
    verdict = await run_slot(on.line, live, now(on))
    assert verdict.run.attempt == 2
    assert attempts == [0, 1, 2]
    assert await on.inbox.wait(1) == ["raised shop"]
    assert sorted(one.run.attempt for one in await on.store.results("shop")) == [0, 1, 2]


async def test_a_second_look_that_finds_all_well_tells_nobody(on: Bench) -> None:
    found = iter((down, ok))

    async def body(probe: Probe) -> None:
        await next(found)(probe)

    live = on.enlist(
        a_check(behave=body, policy=Policy(Latch(raise_=2, window=2), Latch(raise_=2, window=2), recheck=0.01))
    )
    assert (await run_slot(on.line, live, now(on))).outcome is Outcome.OK
    assert on.inbox.texts == []


@pytest.mark.parametrize("change", ["removed", "changed", "ran", "stopping"])
async def test_there_is_no_second_look_where_it_has_lost_its_sense(on: Bench, change: str) -> None:
    live = on.enlist(
        a_check(behave=down, policy=Policy(Latch(raise_=2, window=2), Latch(raise_=2, window=2), recheck=0.2))
    )
    task = asyncio.ensure_future(run_slot(on.line, live, now(on)))
    await until(lambda: live.run and not on.line.running)
    if change == "removed":
        live.retired = True
    elif change == "changed":
        live.config = replace(live.config, timeout=7.0)
    elif change == "ran":
        live.run = Run("run_other", "shop", now(on), 0, now(on), 5.0)
    else:
        on.line.closing.set()
    await task
    assert sum(live.runs.values()) == 1


async def test_a_plugin_that_goes_on_after_its_deadline_keeps_its_check_busy(on: Bench) -> None:
    let_go = asyncio.Event()

    async def stubborn(_: Probe) -> None:
        while not let_go.is_set():
            with suppress(asyncio.CancelledError):
                await let_go.wait()

    live = on.enlist(a_check(behave=stubborn, timeout=0.05))
    verdict = await run_slot(on.line, live, now(on))
    assert verdict.severity is Severity.FAIL
    assert on.line.running == {"shop"}
    let_go.set()
    await until(lambda: not on.line.running)


async def test_a_bug_in_the_line_frees_the_check(on: Bench) -> None:
    live = on.enlist(a_check())
    live.config = replace(live.config, limits=(None,))  # type: ignore[arg-type]  # the mistake
    with pytest.raises(AttributeError):
        await run_slot(on.line, live, now(on))
    assert on.line.running == set()


async def test_a_broken_check_is_told_apart_from_its_target(on: Bench) -> None:
    live = on.enlist(a_check(behave=broken, policy=Policy(broken=Latch())))
    await run_slot(on.line, live, now(on))
    assert await on.inbox.wait(1) == ["check_broken shop"]
    assert live.severity is Severity.OK


async def test_what_cannot_be_recorded_is_told_says_so_and_is_recorded_later(on: Bench) -> None:
    live = on.enlist(a_check(behave=down))
    with on.locked_store():
        await run_slot(on.line, live, now(on))
        assert await on.inbox.wait(1) == ["raised shop not recorded"]
        assert len(on.line.unrecorded) == 1
        await record_again(on.line)
        assert len(on.line.unrecorded) == 1
    while on.store.failing:
        with suppress(StoreFailed):
            await on.store.forget("nobody")
    await record_again(on.line)
    assert len(on.line.unrecorded) == 0
    (event,) = await on.store.events("shop")
    assert event.kind is Kind.RAISED
    assert len(await on.store.results("shop")) == 1
    assert (await on.store.load()).statuses["shop"] == live.status
    assert await on.inbox.wait(1) == ["raised shop not recorded"]


def a_refused_entry() -> Entry:
    run = Run("run_odd", "odd", 1.0, 0, 1.0, 5.0)
    duration: Any = object()  # what no store can take
    result = Result(Outcome.FAIL, duration)
    return Entry(run, result, Verdict(run, 1.0, Outcome.FAIL, Severity.FAIL))


async def test_an_entry_that_is_refused_for_ever_holds_nothing_up(on: Bench) -> None:
    run = Run("run_fine", "fine", 1.0, 0, 1.0, 5.0)
    fine = Entry(run, Result(Outcome.FAIL, 1.0), Verdict(run, now(on), Outcome.FAIL, Severity.FAIL))
    on.line.unrecorded.extend((a_refused_entry(), fine))
    await record_again(on.line)
    assert [entry.name for entry in on.line.unrecorded] == ["odd"]
    assert len(await on.store.results("fine")) == 1


async def test_recording_again_twice_at_once_is_harmless(on: Bench) -> None:
    runs = [Run(f"run_{n}", "shop", now(on) + n, 0, now(on), 5.0) for n in range(4)]  # old ones would be swept
    on.line.unrecorded.extend(
        Entry(run, Result(Outcome.FAIL, 1.0), Verdict(run, run.slot, Outcome.FAIL, Severity.FAIL)) for run in runs
    )
    await asyncio.gather(record_again(on.line), record_again(on.line))
    assert len(await on.store.results("shop")) == 4


async def test_a_tick_reminds_of_what_is_still_open(on: Bench) -> None:
    live = on.enlist(a_check(behave=down, policy=Policy(remind=100.0)))
    await run_slot(on.line, live, now(on))
    await on.inbox.wait(1)
    on.time.pass_by(99.0)
    await take(on.line, live, Tick(live.config.name))
    assert on.inbox.kinds == [Kind.RAISED]
    on.time.pass_by(1.0)
    await take(on.line, live, Tick(live.config.name))
    await on.inbox.wait(2)
    assert on.inbox.kinds == [Kind.RAISED, Kind.REMINDER]
    assert on.inbox.deliveries[1].event.incident == on.inbox.deliveries[0].event.incident


async def test_a_removal_withdraws_what_is_open(on: Bench) -> None:
    live = on.enlist(a_check(behave=down))
    await run_slot(on.line, live, now(on))
    await take(on.line, live, Removal(live.config.name))
    await on.inbox.wait(2)
    assert on.inbox.kinds == [Kind.RAISED, Kind.WITHDRAWN]


async def test_a_change_that_was_decided_on_before_the_check_went_or_was_renamed_changes_nothing(on: Bench) -> None:
    absence = Absence("shop", now(on), "it did not run")
    renamed = on.enlist(a_check("store"))
    await take(on.line, renamed, absence)
    live = on.enlist(a_check())
    await take(on.line, live, Removal("shop"))
    await take(on.line, live, absence)
    assert (live.status.absent, renamed.status.absent) == (None, None)
    assert await on.store.events() == []


async def test_what_is_held_survives_a_restart_and_is_told_when_its_time_has_come(on: Bench) -> None:
    policy = Policy(hold=60.0)
    live = on.enlist(a_check(behave=down, policy=policy))
    await run_slot(on.line, live, now(on))
    (kept,) = await on.store.deliveries()
    assert (kept.state, kept.note.partition(" until")[0]) == (DeliveryState.SUPPRESSED, "it is held")
    live = on.enlist(a_check(behave=down, policy=policy))
    live.status = (await on.store.load()).statuses["shop"]
    on.time.pass_by(59.0)
    assert tick_of(on.line, live, now(on)) is None
    on.time.pass_by(1.0)
    tick = tick_of(on.line, live, now(on))
    assert tick == Tick("shop", (Track.TARGET,))
    await asyncio.gather(take(on.line, live, tick), take(on.line, live, tick))  # the second one comes too late
    assert await on.inbox.wait(1) == ["raised shop"]
    (late, _) = await on.store.events("shop")
    assert late.why.startswith("it was kept back until now: it is held until")
    assert tick_of(on.line, live, now(on)) is None
    assert (await on.store.load()).statuses["shop"] == live.status


async def test_what_ends_while_it_is_held_is_told_to_nobody(on: Bench) -> None:
    found = iter((down, ok))

    async def body(probe: Probe) -> None:
        await next(found)(probe)

    live = on.enlist(a_check(behave=body, policy=Policy(hold=60.0)))
    await run_slot(on.line, live, now(on))
    await run_slot(on.line, live, now(on))
    states = [(one.event.kind, one.state) for one in await on.store.deliveries()]
    assert states == [(Kind.RESOLVED, DeliveryState.SUPPRESSED), (Kind.RAISED, DeliveryState.SUPPRESSED)]
    assert tick_of(on.line, live, now(on) + 60.0) is None


async def test_a_tick_that_was_decided_on_before_something_stood_against_it_tells_nothing(on: Bench) -> None:
    silence = [Objections(quiet="a silence")]
    on.line.against = lambda _live, _now: silence[0]
    live = on.enlist(a_check(behave=down))
    await run_slot(on.line, live, now(on))
    silence[0] = NONE
    on.time.pass_by(1.0)
    tick = tick_of(on.line, live, now(on))
    assert tick
    silence[0] = Objections(quiet="another silence")
    await take(on.line, live, tick)
    assert [one.note for one in await on.store.deliveries()] == ["another silence", "a silence"]
    assert live.status.incident
    assert live.status.incident.untold == "another silence"


async def test_an_end_goes_to_those_who_heard_although_a_reload_names_nobody(on: Bench) -> None:
    found = iter((down, ok))

    async def body(probe: Probe) -> None:
        await next(found)(probe)

    live = on.enlist(a_check(behave=body))
    await run_slot(on.line, live, now(on))
    await on.inbox.wait(1)
    live.config = replace(live.config, notify=Routes())
    await run_slot(on.line, live, now(on))
    assert await on.inbox.wait(2) == ["raised shop", "resolved shop"]


async def test_what_nobody_was_named_for_is_told_after_a_reload_that_names_somebody(on: Bench) -> None:
    live = on.enlist(a_check(behave=down, notify=Routes()))
    await run_slot(on.line, live, now(on))
    on.time.pass_by(5.0)
    assert tick_of(on.line, live, now(on)) is None
    on.roster.change(live, a_check(behave=down))
    on.time.pass_by(5.0)
    tick = tick_of(on.line, live, now(on))
    assert tick
    await take(on.line, live, tick)
    assert await on.inbox.wait(1) == ["raised shop"]


async def test_reminders_that_a_reload_asks_for_come_for_what_is_open(on: Bench) -> None:
    live = on.enlist(a_check(behave=down))
    await run_slot(on.line, live, now(on))
    await on.inbox.wait(1)
    assert live.status.wake_at is None
    on.roster.change(live, a_check(behave=down, policy=Policy(remind=100.0)))
    on.time.pass_by(100.0)
    tick = tick_of(on.line, live, now(on))
    assert tick
    await take(on.line, live, tick)
    assert await on.inbox.wait(2) == ["raised shop", "reminder shop"]


async def test_that_somebody_takes_care_is_saved(on: Bench) -> None:
    live = on.enlist(a_check(behave=down))
    await run_slot(on.line, live, now(on))
    by = Acknowledgement("ann", "on it", now(on))
    await take(on.line, live, Taken("shop", by))
    incident = (await on.store.load()).statuses["shop"].incident
    assert incident
    assert incident.acknowledged == by


async def test_what_an_earlier_version_saved_is_read_as_told(on: Bench) -> None:
    live = on.enlist(a_check(behave=down))
    await run_slot(on.line, live, now(on))
    saved = on.store.write(Entry(check="shop", status=old_status(live.status), steady_at=on.line.clock.steady() + 1))
    assert saved
    await saved
    live.status = (await on.store.load()).statuses["shop"]
    await on.inbox.wait(1)
    await run_slot(on.line, live, now(on))
    assert len(await on.store.events("shop")) == 1
    live.config = replace(live.config, check=a_check(behave=ok).check)
    await run_slot(on.line, live, now(on))
    assert await on.inbox.wait(2) == ["raised shop", "resolved shop"]


def old_status(status: Status) -> Status:
    """Return a status as the version before knew it."""
    incident = status.incident
    assert incident
    bare = Incident(incident.id, incident.since, incident.sequence, incident.told_at)
    return replace(status, incident=bare, states=())


async def test_a_removal_of_what_is_well_says_nothing(on: Bench) -> None:
    live = on.enlist(a_check())
    await run_slot(on.line, live, now(on))
    await take(on.line, live, Removal(live.config.name))
    assert await on.store.events() == []


async def test_a_status_after_the_wall_clock_was_set_back_replaces_the_one_before(on: Bench) -> None:
    found = iter((down, ok))

    async def body(probe: Probe) -> None:
        await next(found)(probe)

    live = on.enlist(a_check(behave=body))
    await run_slot(on.line, live, now(on))
    on.time.step(-3600.0)
    (change,) = on.line.clock.tick(0.0)
    live.shift(change.seconds)
    await run_slot(on.line, live, now(on))
    assert (await on.store.load()).statuses["shop"] == live.status


def test_the_line_forgets_the_oldest_when_too_much_is_unrecorded() -> None:
    unrecorded = Line.__dataclass_fields__["unrecorded"].default_factory
    assert callable(unrecorded)
    assert unrecorded().maxlen == 1000


@pytest.mark.parametrize("marks", [True, False])
async def test_what_is_told_has_the_trace_of_the_run_if_its_requests_told_of_it(on: Bench, *, marks: bool) -> None:
    async def ask(probe: Probe) -> None:
        asked.append(probe.marks)
        await down(probe)

    asked: list[object] = []
    backing = replace(on.line.workshop.backing, marks=lambda: marks)
    on.line.workshop = replace(on.line.workshop, backing=backing)
    await run_slot(on.line, on.enlist(a_check("asks", behave=ask)), now(on))
    await run_slot(on.line, on.enlist(a_check("asks-nobody", behave=down)), now(on))
    found = {one.event.check: one.event for one in await on.store.deliveries()}
    event = found["asks"]
    assert event.run is not None
    assert event.context.get("trace_id") == (trace_id(event.run.id) if marks else None)
    assert "trace_id" not in found["asks-nobody"].context

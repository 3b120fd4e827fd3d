from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any, ClassVar

import pytest
from structlog.testing import capture_logs

from heartbeat import CheckFailed, Expected, Kept, Probe, Reply, Report, Reported
from heartbeat.core.model import Outcome, Severity
from heartbeat.core.policy import Policy
from heartbeat.memories import Memories
from heartbeat.reports import NOT_NOW, TOO_MANY, WAITING
from heartbeat.roster import Changes
from heartbeat.state import Live
from heartbeat.testing.bench import EVERY, Bench, a_check, bench, until


class Door(Reported):
    """Is told how it is, and misses whoever does not come in time."""

    paths: tuple[str, ...] = ("/door",)
    gate: Any = None
    takes: Callable[[Report], Reply] = lambda _: Reply()
    late: ClassVar[float] = 30.0

    def routes(self) -> tuple[str, ...]:
        """Yield them."""
        return self.paths

    def take(self, report: Report, kept: Kept, now: float) -> Reply:
        """Note it."""
        kept.update(at=now, said=[*kept.get("said", ()), report.rest], late=False, new=True)
        return self.takes(report)

    def due(self, kept: Kept, expected: Expected, now: float) -> float:
        """Say when it is missed."""
        kept.setdefault("at", now)
        if kept.get("new"):
            return now
        due = expected(kept["at"], expected.listening) + self.late
        if due <= now:
            kept.update(at=now, late=True, new=True)
        return due

    async def run(self, probe: Probe) -> None:
        """Judge it."""
        said = list(probe.state.get("said", ()))
        if self.gate:
            await self.gate.wait()
        probe.state["new"] = False
        probe.record("said", len(said))
        if probe.state.get("late"):
            raise CheckFailed("nobody came", reason="absent")
        if said and said[-1] == "bad":
            raise CheckFailed("it is bad", reason="status")


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path, concurrency=2) as on:
        yield on


def enlist(on: Bench, door: Door | None = None, **changes: Any) -> Live:
    config = replace(a_check("door"), check=door or Door(), **changes)
    live = on.enlist(config)
    on.reports.adopt({"door": config})
    on.scheduler.plan("door", config.schedule, is_new=True)
    return live


async def tell(on: Bench, word: str = "") -> Reply:
    return await on.reports.accept("door", Report("GET", word))


def due(on: Bench) -> float:
    at = on.scheduler.next_run("door")
    assert at is not None
    return at - on.line.clock.now()


async def pass_by(on: Bench, seconds: float) -> None:
    """Let time pass, the ticker noticing it second by second, and what is due come due."""
    on.time.pass_by(seconds)
    on.line.clock._last = on.line.clock._read()
    while (at := on.scheduler.next_run("door")) is not None and at <= on.line.clock.now():
        on.reports.fire("door", at)
        await asyncio.gather(*on.dispatch.tasks)


# Where it is told


async def test_a_path_belongs_to_the_longest_route_that_it_begins_with(on: Bench) -> None:
    find = on.reports.find
    enlist(on, Door(paths=("/a", "/a/b", "/x/y/z")))
    assert find("/a") == find("/a/") == ("door", "")
    assert find("/a/c/d/e/f") == ("door", "c/d/e/f")
    assert find("/a/b/c") == ("door", "c")
    assert find("/x/y/z") == ("door", "")
    assert find("/x/y/z/start") == ("door", "start")
    assert [find(path) for path in ("/", "", "/x", "/x/y", "/b", "/A")] == [None] * 6
    on.reports.adopt({})
    assert find("/a") is None


# Taken, kept, judged, answered


async def test_a_report_is_kept_and_judged_before_it_is_answered(on: Bench) -> None:
    live = enlist(on)
    assert await tell(on, "good") == Reply()
    assert live.runs[Outcome.OK] == 1
    assert await tell(on, "bad") == Reply()
    assert live.severity is Severity.FAIL
    memories = Memories(on.store)
    memories.recall((await on.store.load()).memories)
    assert memories.of("door")["said"] == ["good", "bad"]
    assert await on.inbox.wait(1) == ["raised door"]


async def test_reports_that_come_together_are_judged_one_by_one(on: Bench) -> None:
    live = enlist(on)
    await asyncio.gather(*(tell(on, word) for word in ("good", "bad", "good", "bad", "good")))
    assert (live.runs[Outcome.OK], live.runs[Outcome.FAIL]) == (3, 2)
    assert await on.inbox.wait(4) == ["raised door", "resolved door", "raised door", "resolved door"]


async def test_a_few_reports_wait_and_more_are_asked_to_come_again(on: Bench) -> None:
    gate = asyncio.Event()
    enlist(on, Door(gate=gate))
    first = asyncio.create_task(tell(on))
    await until(lambda: on.line.running)
    waiting = [asyncio.create_task(tell(on)) for _ in range(WAITING)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await tell(on) is TOO_MANY
    gate.set()
    assert await asyncio.gather(first, *waiting) == [Reply()] * (WAITING + 1)
    assert await tell(on) == Reply()


async def test_a_report_waits_for_a_run_that_is_under_way_and_for_room(on: Bench) -> None:
    gate = asyncio.Event()

    async def stand(_: Probe) -> None:
        await gate.wait()

    live = enlist(on)
    others = [on.enlist(a_check(name, stand)) for name in ("one", "two")]
    runs = [asyncio.create_task(on.dispatch.run_now(other)) for other in others]
    await until(lambda: len(on.line.running) == 2)
    telling = asyncio.create_task(tell(on, "bad"))
    done, _ = await asyncio.wait([telling], timeout=0.2)
    assert not done
    gate.set()
    assert await telling == Reply()
    assert live.runs[Outcome.FAIL] == 1
    assert live.missed == {}
    await asyncio.gather(*runs)


async def test_who_does_not_wait_for_the_answer_is_heard_all_the_same(on: Bench) -> None:
    gate = asyncio.Event()
    live = enlist(on, Door(gate=gate))
    telling = asyncio.create_task(tell(on, "bad"))
    await until(lambda: on.line.running)
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)
    gate.set()
    await until(lambda: live.runs[Outcome.FAIL] == 1)


async def test_what_is_no_report_to_judge_does_not_run(on: Bench) -> None:
    live = enlist(on, Door(takes=lambda _: Reply(400, "no", runs=False)))
    assert (await tell(on)).status == 400
    assert live.run is None


async def test_a_plugin_that_breaks_while_it_takes_a_report_is_told_apart(on: Bench) -> None:
    def takes(_: Report) -> Reply:
        raise ZeroDivisionError

    enlist(on, Door(takes=takes))
    with capture_logs() as logs:
        assert (await tell(on)).status == 500
    assert logs[0]["event"] == "a report was not taken"
    assert logs[0]["check"] == "door"


async def test_while_it_must_not_run_a_report_is_kept_and_judged_when_it_may(on: Bench) -> None:
    live, off = enlist(on), True
    on.scheduler.is_off = lambda _: off
    on.scheduler.drop("door")
    assert await tell(on, "bad") == Reply()
    assert live.run is None
    assert on.scheduler.next_run("door") is None
    off = False
    on.scheduler.plan("door", live.config.schedule, is_new=False)
    await pass_by(on, 0)
    assert live.severity is Severity.FAIL


async def test_at_the_end_a_report_is_kept_and_the_next_start_judges_it(on: Bench) -> None:
    live = enlist(on)
    on.line.closing.set()
    assert await tell(on, "bad") == Reply()
    assert live.run is None
    memories = Memories(on.store)
    memories.recall((await on.store.load()).memories)
    assert memories.of("door")["new"] is True


async def test_a_report_to_a_check_that_is_not_there_now_is_to_come_again(on: Bench) -> None:
    assert await tell(on) is NOT_NOW
    on.enlist(a_check("door"))
    assert await tell(on) is NOT_NOW


async def test_a_first_failure_is_not_looked_at_again_as_it_would_be_the_same(on: Bench) -> None:
    live = enlist(on, policy=Policy(recheck=0.01))
    await tell(on, "bad")
    assert live.runs[Outcome.FAIL] == 1
    on.dispatch.look_at("door")
    assert on.dispatch.tasks == set()


# Missing


async def test_nothing_runs_until_something_is_missing_and_then_once_each_time(on: Bench) -> None:
    live = enlist(on)
    assert due(on) == EVERY + Door.late
    await pass_by(on, EVERY)
    assert live.run is None
    await pass_by(on, Door.late)
    assert live.runs[Outcome.FAIL] == 1
    assert due(on) == EVERY + Door.late
    await pass_by(on, EVERY + Door.late)
    assert live.runs[Outcome.FAIL] == 2
    await tell(on)
    assert live.severity is Severity.OK
    assert await on.inbox.wait(2) == ["raised door", "resolved door"]
    assert live.missed == {}


async def test_a_report_moves_what_is_expected(on: Bench) -> None:
    enlist(on)
    await pass_by(on, 50)
    await tell(on)
    assert due(on) == EVERY + Door.late


async def test_since_when_a_check_waits_survives_us(on: Bench, tmp_path: Path) -> None:
    enlist(on)
    await asyncio.gather(*on.dispatch.tasks)
    memories = Memories(on.store)
    memories.recall((await on.store.load()).memories)
    assert memories.of("door")["at"] == on.line.clock.now()


async def test_what_could_not_reach_us_while_we_stood_still_is_not_missing(on: Bench) -> None:
    live = enlist(on)
    on.time.pass_by(10 * EVERY)  # and nobody ticked: the process was stopped
    on.reports.fire("door", on.line.clock.now())
    await asyncio.gather(*on.dispatch.tasks)
    assert live.run is None
    assert due(on) >= Door.late
    on.ticker._tick()
    on.ticker.stop()
    assert on.dispatch.listening == on.line.clock.now()


@pytest.mark.parametrize("seconds", [86_400.0, -86_400.0])
async def test_a_clock_that_is_set_makes_nothing_missing(on: Bench, seconds: float) -> None:
    live = enlist(on)
    await tell(on)
    on.time.step(seconds)
    on.time.pass_by(1)
    on.ticker._tick()
    on.ticker.stop()
    await pass_by(on, 0)
    assert on.dispatch.listening == on.line.clock.now()
    assert live.runs[Outcome.FAIL] == 0
    assert due(on) > 0 or seconds < 0


async def test_what_did_not_come_while_it_was_switched_off_is_not_missing(on: Bench) -> None:
    live = enlist(on)
    await tell(on)
    off = True
    on.scheduler.is_off = lambda _: off
    on.scheduler.plan("door", live.config.schedule, is_new=False)
    await pass_by(on, 3 * EVERY)
    off = False
    on.scheduler.plan("door", live.config.schedule, is_new=True)
    assert due(on) > 0
    await pass_by(on, 1)
    assert live.runs[Outcome.FAIL] == 0
    await pass_by(on, EVERY + Door.late)
    assert live.runs[Outcome.FAIL] == 1


async def test_a_check_that_is_reported_to_is_never_overdue_nor_absent(on: Bench) -> None:
    enlist(on)
    assert on.scheduler.planned == {}
    await tell(on)
    assert on.scheduler.planned == {}


@pytest.mark.parametrize("answer", [float("nan"), inf])
async def test_one_that_is_never_due_never_runs(on: Bench, answer: float) -> None:
    class Patient(Door):
        def due(self, kept: Kept, expected: Expected, now: float) -> float:
            """Never."""
            return answer

    enlist(on, Patient())
    assert on.scheduler.next_run("door") is None


async def test_one_that_breaks_when_it_is_asked_is_asked_again_and_never_too_often(on: Bench) -> None:
    class Broken(Door):
        def due(self, kept: Kept, expected: Expected, now: float) -> float:
            """Break."""
            raise ZeroDivisionError

    class Hasty(Door):
        def due(self, kept: Kept, expected: Expected, now: float) -> float:
            """Want to run for ever."""
            return now - 5

    with capture_logs() as logs:
        live = enlist(on, Broken())
    assert logs[0]["event"] == "a check does not say when it is due"
    assert due(on) == 60
    on.roster.change(live, replace(live.config, check=Hasty()))
    on.reports.fire("door", on.line.clock.now())
    await asyncio.gather(*on.dispatch.tasks)
    assert due(on) >= 1


# Coming and going


async def test_changed_options_change_when_it_is_due(on: Bench) -> None:
    live = enlist(on)

    class Late(Door):
        late: ClassVar[float] = 500.0

    on.roster.change(live, replace(live.config, check=Late()))
    assert due(on) == EVERY + 500


async def test_a_check_that_becomes_another_type_gets_slots_and_back(on: Bench) -> None:
    live = enlist(on)
    before = live.config
    on.roster.change(live, a_check("door"))
    assert due(on) <= EVERY
    assert "door" in on.scheduler.planned
    on.roster.change(live, before)
    assert "door" not in on.scheduler.planned
    assert due(on) == EVERY + Door.late


async def test_a_renamed_check_goes_on_with_what_it_was_told(on: Bench) -> None:
    live = enlist(on)
    await tell(on, "good")
    config = replace(live.config, name="gate", was="door")
    await on.roster.enlist(Changes((), (config,), (), {"gate": "door"}))
    on.reports.adopt({"gate": config})
    assert on.reports.find("/door") == ("gate", "")
    await on.reports.accept("gate", Report("GET", "bad"))
    assert live.result is not None
    assert live.result.measurements == {"said": 2}

"""Windows go on where they were: after a restart anywhere, and where a reload asks for others."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from heartbeat.config.model import CheckConfig
from heartbeat.core.limits import AVAILABILITY, COUNT, Bound, Limit
from heartbeat.core.model import Outcome, Reason, Result, Severity, Verdict
from heartbeat.core.objectives import Objective
from heartbeat.core.policy import Latch, Policy
from heartbeat.line import Line, run_slot
from heartbeat.refill import parts_of
from heartbeat.saving import Saving
from heartbeat.state import Live
from heartbeat.store import StoreFailed
from heartbeat.store import windows as saved_windows
from heartbeat.testing.bench import EVERY, NOON, Bench, Time, a_check, bench

HOUR = 3600.0
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where files take no time."""


def below(measure: str, aggregate: str, window: float, bound: float, **changes: Any) -> Limit:
    bounds = (Bound(Severity.WARN, below=bound), Bound(Severity.FAIL, below=bound / 2))
    return Limit(measure, bounds, "", aggregate, window, **changes)


def above(measure: str, aggregate: str, window: float, bound: float) -> Limit:
    bounds = (Bound(Severity.WARN, above=bound), Bound(Severity.FAIL, above=2 * bound, clear_above=bound))
    return Limit(measure, bounds, "s", aggregate, window)


AVAILABLE = below("", AVAILABILITY, HOUR, 0.8)
QUICK = above("duration", "p95", HOUR / 2, 0.5)
LIMITS = (
    AVAILABLE,
    QUICK,
    above("duration", "mean", HOUR / 6, 0.4),
    above("depth", "max", 3 * HOUR, 5.0),
    above("depth", "p50", 5 * HOUR, 3.0),
    above("missed", COUNT, HOUR / 2, 1.0),
    above("fail", COUNT, 4 * HOUR, 6.0),
)
OBJECTIVE = Objective(0.9, window=86400.0)


def shop(limits: tuple[Limit, ...] = LIMITS, **changes: Any) -> CheckConfig:
    policy = Policy(warn=Latch(2, 2, 2), recheck=5.0, interval=EVERY, remind=1800.0)
    return a_check(limits=limits, **{"objective": OBJECTIVE, "policy": policy, **changes})


@dataclass(frozen=True)
class Step:
    """Some time passes, and then a run finds something, or does not take place."""

    seconds: float
    outcome: Outcome
    duration: float = 0.1
    depth: float | None = None
    lag: float = 0.0
    save: str = ""
    """What happens afterwards: windows are saved in a round, or the wall clock is stepped."""

    @property
    def result(self) -> Result:
        bad = self.outcome is not Outcome.OK
        measured = {} if self.depth is None else {"depth": self.depth}
        reason, sentence = (Reason.STATUS, "it is down") if bad else (None, "")
        return Result(self.outcome, self.duration, reason, sentence, measurements=measured, lag=self.lag)


outcomes = st.sampled_from([Outcome.OK] * 4 + [Outcome.FAIL] * 3 + [Outcome.ERROR, Outcome.MISSED])
steps = st.builds(
    Step,
    st.sampled_from([EVERY, EVERY, EVERY, 600.0, 5000.0]),
    outcomes,
    st.sampled_from([0.05, 0.3, 0.7, 1.5]),
    st.none() | st.sampled_from([1.0, 4.0, 9.0]),
    st.sampled_from([0.0, 0.0, 0.0, 1.0]),
    st.sampled_from(["", "", "round", "back", "forth"]),
)
stories = st.lists(steps, min_size=6, max_size=20)


async def play(on: Bench, saving: Saving, story: list[Step]) -> list[Any]:
    """Let the runs of a story happen, and return what was found and told."""
    live = on.state.checks["shop"]
    told: list[Any] = []
    for step in story:
        on.time.pass_by(step.seconds)
        now = on.line.clock.now()
        if step.outcome is Outcome.MISSED:
            on.dispatch.miss(live, Reason.LATE)
            saving.tick()
        else:
            on.line.perform = partial(found, step)
            verdict = await run_slot(on.line, live, now)
            told.append((verdict.at, verdict.severity, verdict.findings, verdict.burns, verdict.distorted))
        if live.windows is not None:
            told.append([live.windows.value(limit, on.line.clock.now()) for limit in LIMITS])
        if step.save in ("back", "forth"):
            on.time.step(-1800.0 if step.save == "back" else 1800.0)
            on.ticker._tick()
            on.ticker.stop()
        if step.save:
            for _ in range(3):
                saving.tick()
            await asyncio.sleep(0)
        await asyncio.gather(*on.dispatch.tasks)
    return told


async def found(step: Step, line: Line, live: Live, run: Any) -> Result:
    return step.result


async def start(on: Bench, check: CheckConfig) -> Saving:
    await on.roster.take_over([check], await on.store.load(), ())
    saving = Saving(on.dispatch)
    saving.start()
    return saving


async def live_through(folder: Path, story: list[Step], cuts: list[int], *, drained: bool) -> tuple[list[Any], Any]:
    """Play a story on one store, with a restart at each cut; return what was found, and the events."""
    told, time, events = [], Time(), []
    for first, last in zip([0, *cuts], [*cuts, len(story)], strict=True):
        async with bench(folder, time=time) as on:
            on.line.pause = no_pause
            saving = await start(on, shop())
            told += await play(on, saving, story[first:last])
            if drained:
                await saving.finish(9.0)
            await on.store.flush()
            events = [(one.kind, one.at, one.severity, one.sentence) for one in await on.store.events("shop")]
    return told, events


async def no_pause(_line: Line, _seconds: float) -> None:
    """Look again at once."""


@settings(max_examples=15)
@given(stories, st.lists(st.floats(0.2, 0.95), min_size=1, max_size=3), st.sampled_from([False, False, True]))
def test_a_restart_anywhere_changes_no_later_verdict_and_no_event(
    story: list[Step], shares: list[float], drained: bool
) -> None:
    cuts = sorted(int(share * len(story)) for share in shares)

    async def both() -> None:
        with TemporaryDirectory(dir=MEMORY) as one, TemporaryDirectory(dir=MEMORY) as other:
            through = await live_through(Path(one), story, [], drained=drained)
            assert await live_through(Path(other), story, cuts, drained=drained) == through

    asyncio.run(both())


# --- a start ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def lived(tmp_path: Path) -> Path:
    """A store with twenty runs of a check without windows, every second of them bad; the last is at 12:20."""
    async with bench(tmp_path) as on:
        await start(on, shop((), objective=None))
        await play(on, Saving(on.dispatch), twenty())
    return tmp_path


def twenty() -> list[Step]:
    return [Step(EVERY, Outcome.FAIL if n % 2 else Outcome.OK, depth=float(n)) for n in range(20)]


def later() -> Time:
    """Return a clock at 12:20."""
    time = Time()
    time.pass_by(20 * EVERY)
    return time


def value(on: Bench, limit: Limit) -> float | None:
    windows = on.state.checks["shop"].windows
    assert windows is not None
    return windows.value(limit, on.line.clock.now())


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (AVAILABLE, 0.5),
        (below("", AVAILABILITY, 600.0, 0.8), 0.5),
        (above("depth", "max", HOUR, 3.0), 19.0),
        (above("depth", "min", 600.0, 3.0), 10.0),
        (above("depth", "max", 5 * HOUR, 3.0), 19.0),
        (above("fail", COUNT, 5 * HOUR, 3.0), 10.0),
    ],
)
async def test_windows_that_are_new_at_a_start_are_filled_from_results(
    lived: Path, limit: Limit, expected: float
) -> None:
    async with bench(lived, time=later()) as on:
        await start(on, shop((limit,), objective=None))
        assert value(on, limit) == expected


async def test_a_check_that_is_new_starts_afresh_though_another_had_its_name(lived: Path) -> None:
    async with bench(lived, time=later()) as on:
        await on.roster.take_over([], await on.store.load(), ())
    async with bench(lived, time=later()) as on:
        await start(on, shop())
        assert value(on, AVAILABLE) is None


async def test_what_was_saved_is_older_than_the_results_that_are_left(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        saving = await start(on, shop())
        await play(on, saving, twenty())
        await saving.finish(9.0)
        await on.store._submit(lambda connection: connection.exec_driver_sql("DELETE FROM result"))
    async with bench(tmp_path, time=later()) as on:
        await start(on, shop())
        assert value(on, AVAILABLE) == 0.5


async def test_a_window_that_was_made_longer_while_we_were_down_reaches_back_into_the_results(lived: Path) -> None:
    quarter = below("", AVAILABILITY, 240.0, 0.8)
    async with bench(lived, time=later()) as on:
        saving = await start(on, shop((quarter,), objective=None))
        saving.tick()
        await saving.finish(9.0)
    async with bench(lived, time=later()) as on:
        await start(on, shop((AVAILABLE, QUICK), objective=None))
        windows = on.state.checks["shop"].windows
        assert windows is not None
        assert windows.tally(HOUR, on.line.clock.now()) is not None
        assert value(on, AVAILABLE) == 0.5
        assert value(on, QUICK) == 0.1


async def test_windows_of_checks_that_are_gone_are_dropped(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        on.store.save([saved_windows.Saved("gone", "", "{}", NOON)])
        await on.store.flush()
        await start(on, shop())
        assert await on.store.ask(saved_windows.names) == []


async def test_a_store_that_cannot_be_read_leaves_windows_empty_and_is_told(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        past = await on.store.load()
        await on.store._submit(lambda connection: connection.exec_driver_sql('DROP TABLE "window"'))
        with capture_logs() as lines:
            await on.roster.take_over([shop()], past, ())
        assert [line["event"] for line in lines] == ["windows not filled"]
        assert value(on, AVAILABLE) is None


async def test_a_clock_that_was_set_back_while_we_were_down_moves_the_windows(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        saving = await start(on, shop())
        await play(on, saving, twenty())
        await saving.finish(9.0)
    async with bench(tmp_path) as on:  # it is noon again
        await start(on, shop())
        assert value(on, AVAILABLE) == 0.5


# --- a reload --------------------------------------------------------------------------------------------------------


async def reload(on: Bench, check: CheckConfig) -> None:
    await on.roster.enlist(on.roster.compare({check.name: check}))


async def test_a_reload_keeps_what_fits_and_fills_the_rest_from_results(lived: Path) -> None:
    async with bench(lived, time=later()) as on:
        saving = await start(on, shop((AVAILABLE,), objective=None))
        await play(on, saving, [Step(EVERY, Outcome.OK)] * 5)
        live = on.state.checks["shop"]
        kept = parts_of(live.windows)["Outcomes 3600"]
        await reload(on, shop((AVAILABLE, QUICK)))
        assert parts_of(live.windows)["Outcomes 3600"] is kept
        assert value(on, QUICK) == 0.1
        assert live.windows is not None
        assert live.windows.plan.objective == OBJECTIVE
        counted = live.windows.tally(86400.0, on.line.clock.now())
        assert counted is not None
        assert (counted.ok, counted.fail) == (15, 10)


async def test_a_run_in_the_middle_of_a_reload_is_in_the_windows(lived: Path) -> None:
    async with bench(lived, time=later()) as on:
        saving = await start(on, shop((AVAILABLE,), objective=None))
        (reloading,) = [asyncio.ensure_future(reload(on, shop((AVAILABLE, QUICK))))]
        await asyncio.sleep(0)
        await play(on, saving, [Step(EVERY, Outcome.OK, duration=3.0)] * 2)
        await reloading
        assert value(on, AVAILABLE) == 12 / 22
        assert value(on, QUICK) == 3.0


async def test_a_longer_window_keeps_the_missed_runs_that_no_result_tells_of(tmp_path: Path) -> None:
    missed, longer = above("missed", COUNT, 600.0, 1.0), above("missed", COUNT, 1200.0, 1.0)
    async with bench(tmp_path) as on:
        saving = await start(on, shop((missed,)))
        await play(on, saving, [Step(EVERY, Outcome.MISSED)] * 3)
        await reload(on, shop((longer,)))
        assert value(on, longer) == 3.0


async def test_windows_that_nobody_asks_for_any_more_are_dropped_at_once(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        await start(on, shop())
        live = on.state.checks["shop"]
        on.roster.change(live, shop((), objective=None))
        assert live.windows is None


async def test_a_rename_takes_the_windows_along(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        saving = await start(on, shop())
        await play(on, saving, twenty())
        saving.tick()
        await asyncio.gather(*on.dispatch.tasks)
        windows = on.state.checks["shop"].windows
        await reload(on, replace(shop(), name="store", was="shop"))
        assert on.state.checks["store"].windows is windows
        assert await on.store.ask(saved_windows.names) == ["store"]


async def test_a_store_that_fails_leaves_what_is_new_empty(lived: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(lived, time=later()) as on:
        await start(on, shop((AVAILABLE,), objective=None))

        async def fail(_: Any) -> Any:
            raise StoreFailed("the disk is gone")

        monkeypatch.setattr(on.store, "ask", fail)
        with capture_logs() as lines:
            await reload(on, shop((AVAILABLE, QUICK)))
        assert [line["event"] for line in lines] == ["windows not filled"]
        assert (value(on, AVAILABLE), value(on, QUICK)) == (0.5, None)


# --- a run -----------------------------------------------------------------------------------------------------------


async def test_a_run_of_a_changed_check_is_in_no_window(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        await start(on, shop())
        live = on.state.checks["shop"]

        async def changed_meanwhile(_line: Line, _live: Live, _run: Any) -> Result:
            live.config = shop(timeout=2.0)
            return Step(0.0, Outcome.FAIL).result

        on.line.perform = changed_meanwhile
        verdict: Verdict = await run_slot(on.line, live, NOON)
        assert verdict.outcome is Outcome.FAIL
        assert value(on, AVAILABLE) is None

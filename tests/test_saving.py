from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from heartbeat import saving as saving_module
from heartbeat.config.model import History
from heartbeat.core.limits import AVAILABILITY, COUNT, Bound, Limit
from heartbeat.core.model import Reason, Severity
from heartbeat.line import run_slot
from heartbeat.saving import Saving
from heartbeat.store import windows
from heartbeat.store.windows import Saved
from heartbeat.testing.bench import Bench, a_check, bench, down

AVAILABLE = Limit("", (Bound(Severity.FAIL, below=0.9),), "ratio", AVAILABILITY, 3600.0)
MISSED = Limit("missed", (Bound(Severity.WARN, above=3.0),), "", COUNT, 3600.0)


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as on:
        yield on


def enlist(on: Bench, count: int = 1) -> list[str]:
    names = [f"shop-{number}" for number in range(count)]
    for name in names:
        on.enlist(a_check(name, down, limits=(AVAILABLE, MISSED)))
    return names


def started(on: Bench) -> Saving:
    saving = Saving(on.dispatch)
    saving.start()
    return saving


async def run(on: Bench, name: str) -> None:
    await run_slot(on.line, on.state.checks[name], on.line.clock.now())


async def tick(on: Bench, saving: Saving) -> None:
    saving.tick()
    await asyncio.gather(*on.dispatch.tasks)


async def on_disk(on: Bench) -> dict[str, Any]:
    """Return what is saved, by name."""
    await on.store.flush()
    names = await on.store.ask(windows.names)
    return await on.store.ask(partial(windows.find, checks=names))


async def test_a_check_without_windows_is_not_saved(on: Bench) -> None:
    on.enlist(a_check("plain"))
    saving = started(on)
    await run(on, "plain")
    await tick(on, saving)
    await saving.finish(1.0)
    assert await on_disk(on) == {}


async def test_each_round_saves_what_has_changed_a_part_with_each_tick(
    on: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving_module, "ROUND", 20)
    names, counts = enlist(on, 40), []
    saving = started(on)
    for name in names[:10]:
        await run(on, name)
    for _ in range(20):
        await tick(on, saving)
        counts.append(len(await on_disk(on)))
    assert counts[:6] == [2, 4, 6, 8, 10, 10]
    assert set(await on_disk(on)) == set(names[:10])


async def test_what_is_saved_is_what_the_windows_hold(on: Bench) -> None:
    (name,) = enlist(on)
    saving = started(on)
    await run(on, name)
    await tick(on, saving)
    held = on.state.checks[name].windows
    assert held is not None
    saved = (await on_disk(on))[name]
    assert (saved.data, saved.at, saved.outline) == (held.dump(), on.line.clock.now(), "Outcomes 3600")


async def test_missed_runs_are_saved_with_the_next_tick_because_no_result_tells_of_them(on: Bench) -> None:
    names = enlist(on, 50)
    saving = started(on)
    await tick(on, saving)
    on.dispatch.miss(on.state.checks[names[-1]], Reason.LATE)
    await tick(on, saving)
    assert set(await on_disk(on)) == {names[-1]}


async def test_new_windows_are_saved_with_the_next_tick(on: Bench) -> None:
    saving = started(on)
    await tick(on, saving)
    names = enlist(on, 3)
    await tick(on, saving)
    assert set(await on_disk(on)) == set(names)


async def test_after_a_step_of_the_clock_all_are_saved(on: Bench) -> None:
    names = enlist(on, 3)
    saving = started(on)
    on.time.step(3600.0)
    on.ticker._tick()
    on.ticker.stop()
    await tick(on, saving)
    assert {name: saved.at for name, saved in (await on_disk(on)).items()} == dict.fromkeys(names, on.line.clock.now())
    on.time.suspend(3600.0)
    before = await on_disk(on)
    await tick(on, saving)
    assert await on_disk(on) == before


async def test_after_a_step_of_the_clock_what_is_open_is_recorded_with_its_new_times(on: Bench) -> None:
    on.enlist(a_check("down", down))
    on.enlist(a_check("well"))
    for name in ("down", "well"):
        await run(on, name)
    saving, before = started(on), await on.store.load()
    on.time.step(3600.0)
    on.ticker._tick()
    on.ticker.stop()
    await tick(on, saving)
    after = (await on.store.load()).statuses
    assert after["down"] == on.state.checks["down"].status != before.statuses["down"]
    assert after["well"] == before.statuses["well"], "nothing in it depends on times"


async def test_work_is_done_in_slices_between_which_others_run(on: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    names = enlist(on, 5)
    saving = Saving(on.dispatch)
    monkeypatch.setattr(saving_module, "perf_counter", Seconds(0.001))
    monkeypatch.setattr(saving_module, "SLICE", 0.0025)
    sizes = []
    save = on.store.save

    def noted(saved: Sequence[Saved]) -> None:
        sizes.append(len(saved))
        save(saved)

    monkeypatch.setattr(on.store, "save", noted)
    await tick(on, saving)
    assert sizes == [2, 2, 1]
    assert set(await on_disk(on)) == set(names)


class Seconds:
    """A clock that goes on by a step each time it is read."""

    def __init__(self, step: float) -> None:
        self.step, self.now = step, 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


async def test_the_end_saves_what_has_changed_and_nothing_else(on: Bench) -> None:
    names = enlist(on, 4)
    saving = started(on)
    await run(on, names[2])
    await saving.finish(1.0)
    assert set(await on_disk(on)) == {names[2]}


async def test_the_end_does_not_wait_for_a_clock_that_has_run_out(on: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    names = enlist(on, 4)
    saving = Saving(on.dispatch)
    monkeypatch.setattr(saving_module, "monotonic", Seconds(1.0))
    await saving.finish(-5.0)
    assert len(await on_disk(on)) < len(names)


async def test_what_was_removed_meanwhile_is_not_saved(on: Bench) -> None:
    names = enlist(on, 2)
    saving = Saving(on.dispatch)
    saving.tick()
    del on.state.checks[names[0]]
    await asyncio.gather(*on.dispatch.tasks)
    assert set(await on_disk(on)) == {names[1]}


async def test_the_drain_ends_the_work_and_the_farewell_does_the_rest(on: Bench) -> None:
    names = enlist(on, 3)
    saving = Saving(on.dispatch)
    on.line.closing.set()
    await tick(on, saving)
    assert await on_disk(on) == {}
    await saving.finish(1.0)
    assert set(await on_disk(on)) == set(names)


@pytest.mark.parametrize(
    ("history", "portion"), [(History(), 1), (History(keep=60.0), 2), (History(rows=20), 6), (History(rows=1), 60)]
)
async def test_all_are_saved_before_the_results_are_gone_that_tell_of_them(
    on: Bench, history: History, portion: int
) -> None:
    """Sixty checks that run once a minute make one result a second."""
    enlist(on, 60)
    saving = started(on)
    on.store.history = history
    for live in on.state.checks.values():
        live.runs.ok += 1
    await tick(on, saving)
    assert len(await on_disk(on)) == portion

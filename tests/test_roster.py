from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from heartbeat import Probe
from heartbeat.config.model import CheckConfig
from heartbeat.core.model import Kind, Outcome, Severity
from heartbeat.core.schedule import Interval, next_slot
from heartbeat.line import run_slot
from heartbeat.roster import compare
from heartbeat.testing.bench import EVERY, Bench, a_check, bench, down

NAMES = st.sampled_from("abcde")


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as on:
        on.scheduler.start()
        yield on
        on.scheduler.stop()
        await asyncio.sleep(0)  # APScheduler stops its timer on the next turn of the loop


def now(on: Bench) -> float:
    return on.line.clock.now()


async def reload(on: Bench, *checks: CheckConfig) -> str:
    changes = on.roster.compare({check.name: check for check in checks})
    await on.roster.withdraw(changes)
    await on.roster.enlist(changes)
    return str(changes)


async def take_over(on: Bench, *checks: CheckConfig) -> None:
    await on.roster.take_over(checks, await on.store.load(), ("self",))


def configs(*, renaming: bool) -> st.SearchStrategy[dict[str, CheckConfig]]:
    was = NAMES if renaming else st.just("")
    entry = st.builds(lambda timeout, was: (timeout, was), st.sampled_from((1.0, 2.0)), st.just("") | was)
    return st.dictionaries(NAMES, entry).map(
        lambda found: {
            name: a_check(name, timeout=timeout, was="" if was == name else was)
            for name, (timeout, was) in found.items()
        }
    )


@given(configs(renaming=True), configs(renaming=True))
def test_applying_the_changes_gives_exactly_the_new_checks(
    old: dict[str, CheckConfig], new: dict[str, CheckConfig]
) -> None:
    changes, checks = compare(old, new), dict(old)
    for name in changes.removed:
        del checks[name]
    for name, was in changes.renamed.items():
        checks[name] = checks.pop(was)
    for check in changes.changed:
        assert check.name in checks
        checks[check.name] = check
    for check in changes.added:
        assert check.name not in checks
        checks[check.name] = check
    assert checks == new


@given(configs(renaming=True))
def test_nothing_changed_is_no_change(checks: dict[str, CheckConfig]) -> None:
    changes = compare(checks, checks)
    assert (changes.added, changes.changed, changes.removed, changes.renamed) == ((), (), (), {})
    assert str(changes) == "no check changed"


def test_the_changes_are_told_in_words() -> None:
    old = {name: a_check(name) for name in "abc"}
    new = {"a": a_check("a", timeout=9.0), "x": a_check("x", was="b"), "y": a_check("y"), "z": a_check("z")}
    assert str(compare(old, new)) == "2 added, 2 changed, 1 renamed, 1 removed"


def test_a_name_that_is_still_in_use_gives_its_history_to_nobody() -> None:
    changes = compare({"a": a_check("a")}, {"a": a_check("a"), "b": a_check("b", was="a")})
    assert changes.renamed == {}
    assert [check.name for check in changes.added] == ["b"]


async def test_a_reload_takes_in_changes_and_lets_go(on: Bench) -> None:
    assert await reload(on, a_check("one"), a_check("two")) == "2 added"
    two = on.state.checks["two"]
    changed = a_check("two", schedule=Interval(7.0))
    assert await reload(on, changed, a_check("three")) == "1 added, 1 changed, 1 removed"
    assert set(on.state.checks) == {"two", "three"}
    assert on.state.checks["two"] is two
    assert two.config is changed
    assert on.scheduler.next_run("one") is None
    assert await reload(on, changed, a_check("three")) == "no check changed"
    assert two.config is changed


async def test_a_changed_interval_is_planned_anew_and_another_change_is_not(on: Bench) -> None:
    await reload(on, a_check("shop"))
    due = on.scheduler.next_run("shop")
    await reload(on, a_check("shop", timeout=2.0))
    assert on.scheduler.next_run("shop") == due
    await reload(on, a_check("shop", schedule=Interval(86400.0)))
    assert on.scheduler.next_run("shop") != due


async def test_a_removed_check_is_withdrawn_and_forgotten(on: Bench) -> None:
    await reload(on, a_check("shop", down), a_check("other"))
    live = on.state.checks["shop"]
    await run_slot(on.line, live, now(on))
    await reload(on, a_check("other"))
    await on.inbox.wait(2)
    assert on.inbox.kinds == [Kind.RAISED, Kind.WITHDRAWN]
    assert live.retired
    assert "shop" not in (await on.store.load()).statuses


async def test_many_removed_at_once_do_not_wait_for_one_another(on: Bench) -> None:
    await reload(on, *(a_check(f"n{number}", down) for number in range(20)))
    for live in on.state.checks.values():
        await run_slot(on.line, live, now(on))
    with on.locked_store():
        # The lock makes each commit fail after 50 ms; one after the other they would need 40 of them.
        async with asyncio.timeout(1.0):
            await reload(on)
    assert on.state.checks == {}


async def test_a_renamed_check_keeps_its_status_and_history_and_is_planned_anew(on: Bench) -> None:
    await reload(on, a_check("old", down))
    live = on.state.checks["old"]
    await run_slot(on.line, live, now(on))
    status = live.status
    assert await reload(on, a_check("new", down, was="old")) == "1 changed, 1 renamed"
    assert on.state.checks == {"new": live}
    assert live.status == status
    assert on.scheduler.next_run("old") is None
    due = on.scheduler.next_run("new")
    assert due is not None
    assert due == pytest.approx(next_slot("new", EVERY, due - 0.01))
    assert set((await on.store.load()).statuses) == {"new"}
    assert len(await on.store.results("new")) == 1
    assert on.inbox.kinds in ([], [Kind.RAISED])


async def test_a_check_renamed_while_it_runs_is_not_run_twice_and_leaves_nothing_under_its_old_name(on: Bench) -> None:
    reached, opened = asyncio.Event(), asyncio.Event()

    async def body(probe: Probe) -> None:
        reached.set()
        await opened.wait()
        await down(probe)

    await reload(on, a_check("old", down))
    live = on.state.checks["old"]
    await run_slot(on.line, live, now(on))
    await reload(on, a_check("old", body))
    on.dispatch.fire("old", now(on))
    await reached.wait()
    await reload(on, a_check("new", body, was="old"))
    assert on.line.running == {"new"}
    on.dispatch.fire("new", now(on))
    assert live.runs[Outcome.MISSED] == 1
    opened.set()
    await asyncio.gather(*on.dispatch.tasks)
    assert on.line.running == set()
    assert set((await on.store.load()).statuses) == {"new"}


async def test_no_run_ever_sees_half_of_a_reload(on: Bench) -> None:
    """All checks change in one step of the loop: whom to tell is looked up in the configuration of that moment."""
    await reload(on, *(a_check(f"n{number}") for number in range(5)))
    new = [a_check(f"m{number}", was=f"n{number}", timeout=9.0) for number in range(5)] + [a_check("added")]
    enlisting = asyncio.ensure_future(on.roster.enlist(on.roster.compare({check.name: check for check in new})))
    await asyncio.sleep(0)
    assert [live.config for live in on.state.checks.values()] == new
    await enlisting


async def test_a_start_goes_on_where_the_last_life_ended(tmp_path: Path) -> None:
    async with bench(tmp_path) as before:
        live = before.enlist(a_check("shop", down))
        await run_slot(before.line, live, now(before))
        await before.inbox.wait(1)
    async with bench(tmp_path) as after:
        await take_over(after, a_check("shop", down), a_check("fresh"))
        again = after.state.checks["shop"]
        assert again.status == live.status
        assert (again.severity, again.last_run, again.up) == (Severity.FAIL, live.last_run, False)
        assert again.runs[Outcome.FAIL] == 0
        assert after.state.checks["fresh"].last_run is None
        await run_slot(after.line, again, now(after))
        assert len(await after.store.events("shop")) == 1


async def test_a_check_that_vanished_while_we_were_down_is_withdrawn_once(tmp_path: Path) -> None:
    async with bench(tmp_path) as before:
        await run_slot(before.line, before.enlist(a_check("shop", down)), now(before))
        await before.inbox.wait(1)
    async with bench(tmp_path) as after:
        await take_over(after)
        assert await after.inbox.wait(1) == ["withdrawn shop"]
        assert after.state.checks == {}
        await take_over(after)
        assert len(await after.store.events("shop")) == 2


async def test_a_check_renamed_while_we_were_down_keeps_its_status_and_its_latest_run(tmp_path: Path) -> None:
    async with bench(tmp_path) as before:
        live = before.enlist(a_check("old", down))
        await run_slot(before.line, live, now(before))
    async with bench(tmp_path) as after:
        await take_over(after, a_check("new", down, was="old"))
        assert after.state.checks["new"].status == live.status
        assert after.state.checks["new"].last_run == live.last_run
        assert set((await after.store.load()).statuses) == {"new"}


async def test_what_a_failed_rename_left_under_the_old_name_is_no_withdrawal(tmp_path: Path) -> None:
    async with bench(tmp_path) as before:
        for name in ("old", "new"):
            await run_slot(before.line, before.enlist(a_check(name, down)), now(before))
        await before.inbox.wait(2)
    async with bench(tmp_path) as after:
        await take_over(after, a_check("new", down, was="old"))
        assert set((await after.store.load()).statuses) == {"new"}
        assert [event.kind for event in await after.store.events()] == [Kind.RAISED, Kind.RAISED]


async def test_what_cannot_be_read_is_said_and_starts_afresh(on: Bench) -> None:
    past = replace(await on.store.load(), unreadable=("The status of shop cannot be read (x); it starts afresh.",))
    with capture_logs() as lines:
        await on.roster.take_over([a_check("shop")], past, ())
    assert [line["error"] for line in lines if line["event"] == "not taken over"] == list(past.unreadable)
    assert on.state.checks["shop"].last_run is None


async def test_a_store_that_fails_does_not_keep_a_check_in_place(on: Bench) -> None:
    await reload(on, a_check("shop"), a_check("old"))
    with on.locked_store(), capture_logs() as lines:
        await reload(on, a_check("new", was="old"))
    assert set(on.state.checks) == {"new"}
    assert [line["event"] for line in lines].count("not recorded") == 2

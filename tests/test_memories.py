from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from heartbeat import Check, Probe
from heartbeat.backing import Memory
from heartbeat.config.model import CheckConfig, History
from heartbeat.memories import Memories
from heartbeat.store import Store
from heartbeat.testing.bench import Bench, a_check, bench


async def opened(folder: Path) -> Store:
    return await Store.open(folder / "heartbeat.db", history=History(), clock=lambda: 1.0, patience=0.05)


async def recalled(store: Store) -> Memories:
    memories = Memories(store)
    memories.recall((await store.load()).memories)
    return memories


async def test_what_a_check_remembers_outlives_us(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    memories = await recalled(store)
    memories.of("shop")["orders"] = [7]
    await memories.of("shop").save()
    await memories.of("shop").save()
    await store.close()
    store = await opened(tmp_path)
    assert (await recalled(store)).of("shop").data == {"orders": [7]}
    await store.close()


async def test_it_follows_a_rename_also_in_the_middle_of_a_run(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    memories = await recalled(store)
    held = memories.of("shop")
    held["orders"] = [7]
    await held.save()
    memories.rename("shop", "store")
    await store.rename("shop", "store")
    held["orders"] = [7, 8]
    await held.save()
    assert memories.of("store") is held
    assert memories.of("shop").data == {}
    assert (await recalled(store)).of("store").data == {"orders": [7, 8]}
    await store.forget("store")
    memories.forget("store")
    assert (await recalled(store)).of("store").data == {}
    await store.close()


async def catch_up(store: Store, memories: Memories) -> None:
    async with asyncio.timeout(5):
        while memories.lag_behind:
            await store.flush()
            await memories.write_again()


async def test_where_the_store_fails_it_is_written_when_it_is_back(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    memories = await recalled(store)
    memory = memories.of("shop")
    memory["orders"] = [7]
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await memory.save()
        await memories.write_again()
        is_behind = memories.lag_behind
        other.execute("ROLLBACK")
    assert is_behind
    await catch_up(store, memories)
    assert (await recalled(store)).of("shop").data == {"orders": [7]}
    await store.close()


async def test_what_was_remembered_meanwhile_is_not_written_over_when_the_store_is_back(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    memories = await recalled(store)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for name in ("a", "b"):
            memories.of(name)["at"] = "old"
            await memories.of(name).save()
        other.execute("ROLLBACK")
    async with asyncio.timeout(5):
        while store.failing:
            await store.flush()
    writing = asyncio.create_task(memories.write_again())
    await asyncio.sleep(0)
    memories.of("b")["at"] = "new"
    await memories.of("b").save()
    await writing
    assert (await recalled(store)).of("b").data == {"at": "new"}
    await store.close()


async def test_what_the_store_could_not_take_is_written_under_the_new_name(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    memories = await recalled(store)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        memories.of("shop")["orders"] = [7]
        await memories.of("shop").save()
        memories.rename("shop", "store")
        other.execute("ROLLBACK")
    await catch_up(store, memories)
    again = await recalled(store)
    assert (again.of("store").data, again.of("shop").data) == ({"orders": [7]}, {})
    await store.close()


class Keeps(Check):
    """A type that remembers."""

    async def run(self, probe: Probe) -> None:
        """Do nothing."""


def keeping(name: str = "shop", kind: str = "keeps") -> CheckConfig:
    return a_check(name, check=Keeps(), type=kind, fingerprint=kind)


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as on:
        yield on


def memory_of(on: Bench, name: str = "shop") -> Memory:
    return on.line.workshop.backing.memory(name)


async def reload(on: Bench, *checks: CheckConfig) -> None:
    changes = on.roster.compare({check.name: check for check in checks})
    await on.roster.withdraw(changes)
    await on.roster.enlist(changes)


async def start(on: Bench, *checks: CheckConfig) -> None:
    await on.roster.take_over(checks, await on.store.load(), ())


async def test_a_check_of_another_type_does_not_see_what_was_remembered(on: Bench) -> None:
    await start(on, keeping())
    held = memory_of(on)
    held["left"] = [1]
    held.owed = "one thing is left: heartbeat-1"
    await held.save()
    with capture_logs() as logged:
        await reload(on, keeping(kind="other"))
    assert memory_of(on).data == {}
    assert [(line["check"], line["left"]) for line in logged if "left" in line] == [("shop", held.owed)]
    held["left"] = [1, 2]
    await held.save()  # a run of the old type that is still under way
    await on.memories.write_again()
    assert "left" not in (await on.store.load()).memories["shop"]


@pytest.mark.parametrize("names", [("shop", "shop"), ("shop", "store")])
async def test_nor_does_one_that_became_another_type_while_we_were_down(tmp_path: Path, names: tuple[str, str]) -> None:
    old, new = names
    async with bench(tmp_path) as on:
        await start(on, keeping(old))
        memory_of(on, old).owed = "one thing is left: heartbeat-1"
        memory_of(on, old)["left"] = [1]
        await memory_of(on, old).save()
        await on.dispatch.run_now(on.state.checks[old])
    for count in (1, 0):
        async with bench(tmp_path) as on:
            with capture_logs() as logged:
                await start(on, a_check(new, check=Keeps(), type="other", fingerprint="other", was=old))
            await on.memories.write_again()
            assert len([line for line in logged if "left" in line]) == count
            assert memory_of(on, new).data == {}


@pytest.mark.parametrize("kind", ["keeps", "behält"])
async def test_the_same_type_goes_on_with_it_after_a_restart(tmp_path: Path, kind: str) -> None:
    async with bench(tmp_path) as on:
        await start(on, keeping(kind=kind))
        memory_of(on)["left"] = [1]
        memory_of(on).owed = "one thing"
        await memory_of(on).save()
    async with bench(tmp_path) as on:
        await start(on, keeping(kind=kind))
        assert (memory_of(on).data, memory_of(on).owed) == ({"left": [1]}, "one thing")


async def test_what_was_remembered_before_types_were_noted_is_kept(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        await on.store.remember("shop", '{"left":[1]}')
    async with bench(tmp_path) as on:
        await start(on, keeping())
        assert memory_of(on).data == {"left": [1]}


async def test_a_run_that_outlives_its_check_writes_nothing_more(on: Bench) -> None:
    await start(on, keeping())
    held = memory_of(on)
    held["left"] = [1]
    held.owed = "one thing is left: heartbeat-1"
    await held.save()
    with capture_logs() as logged:
        await reload(on)
    assert [line["left"] for line in logged if "left" in line] == [held.owed]
    held["left"] = [1, 2]
    await held.save()
    assert (await on.store.load()).memories == {}


async def test_what_a_check_owed_that_was_removed_while_we_were_down_is_told_once(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        await start(on, keeping())
        memory_of(on)["left"] = [1]  # and it has not run, so that there is nothing else of it
        memory_of(on).owed = "one thing is left: heartbeat-1"
        await memory_of(on).save()
    for count in (1, 0):
        async with bench(tmp_path) as on:
            with capture_logs() as logged:
                await start(on, a_check("another"))
            assert len([line for line in logged if line.get("left") == "one thing is left: heartbeat-1"]) == count

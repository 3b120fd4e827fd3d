from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from heartbeat.config.model import History
from heartbeat.memories import Memories
from heartbeat.store import Store


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
    async with asyncio.timeout(5):
        while memories.lag_behind:
            await store.flush()
            await memories.write_again()
    assert (await recalled(store)).of("shop").data == {"orders": [7]}
    await store.close()

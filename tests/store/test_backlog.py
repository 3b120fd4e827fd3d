from __future__ import annotations

import asyncio
import threading
from typing import Any

from heartbeat.store.backlog import GROUP, Backlog
from heartbeat.store.entry import Entry


def entries(count: int) -> list[Entry]:
    return [Entry(check=str(n)) for n in range(count)]


def names(backlog: Backlog) -> list[str]:
    return [work.check for work, _ in backlog.take(0) if isinstance(work, Entry)]


async def test_it_is_first_in_first_out(make: Any) -> None:
    backlog, future = Backlog(), asyncio.get_running_loop().create_future()
    for n, entry in enumerate(entries(6)):
        backlog.put(entry, future if n % 2 else None)
    assert names(backlog) == ["0", "1", "2", "3", "4", "5"]


async def test_overload_drops_the_oldest_steady_work_and_counts_it() -> None:
    backlog, future = Backlog(limit=20), asyncio.get_running_loop().create_future()
    for n, entry in enumerate(entries(21)):
        assert backlog.put(entry, future if n < 3 else None)
    assert backlog.dropped == 2
    assert names(backlog) == ["0", "1", "2", *map(str, range(5, 21))]


async def test_durable_work_is_never_dropped_but_refused_when_nothing_else_is_left() -> None:
    backlog, future = Backlog(limit=3), asyncio.get_running_loop().create_future()
    for entry in entries(3):
        assert backlog.put(entry, future)
    assert not backlog.put(Entry(check="late"), future)
    assert backlog.dropped == 0
    assert not backlog.put(Entry(check="steady"))
    assert backlog.dropped == 1
    assert names(backlog) == ["0", "1", "2"]


def test_what_is_left_after_a_group_is_taken_at_once() -> None:
    backlog = Backlog()
    for entry in entries(GROUP + 1):
        backlog.put(entry)
    assert len(backlog.take(60)) == GROUP
    assert len(backlog.take(60)) == 1


async def test_durable_work_ends_the_wait() -> None:
    backlog = Backlog()
    taken = asyncio.get_running_loop().run_in_executor(None, backlog.take, 50)
    backlog.put(Entry(check="now"), asyncio.get_running_loop().create_future())
    assert len(await asyncio.wait_for(taken, 20)) == 1


def test_steady_work_waits_for_company() -> None:
    backlog, taken = Backlog(), []
    waiting = threading.Thread(target=lambda: taken.append(backlog.take(0.2)))
    waiting.start()
    for entry in entries(5):
        backlog.put(entry)
    waiting.join(20)
    assert [len(group) for group in taken] == [5]


async def test_a_full_queue_of_durable_work_is_told(store: Any, make: Any) -> None:
    hang = threading.Event()
    store._writer.backlog._limit = 2
    futures = [store._submit(lambda connection: hang.wait(20))]
    while store.backlog:  # noqa: ASYNC110 - until the thread took it; nobody tells of that
        await asyncio.sleep(0.01)
    futures += [store.write(make.raised(n)) for n in range(2)]
    refused = store.write(make.raised(9))
    assert "2 records behind" in str(refused.exception())
    hang.set()
    await asyncio.gather(*futures)
    assert len(await store.events()) == 2

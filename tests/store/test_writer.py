# ruff: noqa: ASYNC220, ASYNC240 - a test may wait for its own child and its own files
from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sqlalchemy import Connection

from heartbeat.core.model import DeliveryState
from heartbeat.store import StoreError, StoreFailed
from heartbeat.store import reserve as reserve_module
from heartbeat.store import store as store_module
from heartbeat.store import writer as writer_module
from heartbeat.store.files import log_size

Opener = Callable[..., Awaitable[Any]]

CHILD = """
import asyncio, sys
from dataclasses import replace
from pathlib import Path
from heartbeat.config.model import History
from heartbeat.core.model import *
from heartbeat.core.status import Status
from heartbeat.store import Entry, Store, StoreFailed

NOW = 1.8e9

def raised(n):
    at = NOW + n
    run = Run(f"run_{n}", f"check-{n % 7}", at, 0, at, 5.0)
    result = Result(Outcome.FAIL, 1.0, Reason.TIMEOUT, "no answer", evidence={"head": "x" * 300})
    verdict = Verdict(run, at, Outcome.FAIL, Severity.FAIL, Reason.TIMEOUT, "no answer")
    event = Event(f"evt_{n}", Kind.RAISED, run.check, f"inc_{n}", 1, at, Severity.OK, Severity.FAIL, at,
                  Reason.TIMEOUT, "no answer", (), run, result)
    delivery = Delivery(f"dlv_{n}", event, Address("oncall", "oncall/email"))
    return Entry(run, result, verdict, Status(fail=True, since=at), (event,), (delivery,))

async def open_store():
    return await Store.open(Path(sys.argv[1]), history=History(), clock=lambda: NOW)
"""
KILLED = (
    CHILD
    + """
async def one(store: Any, n):
    await store.write(raised(n))
    print(n, flush=True)

async def main():
    store = await open_store()
    for n in range(0, 1_000_000, 8):
        await asyncio.gather(*(one(store, n + k) for k in range(8)))

asyncio.run(main())
"""
)
CUT = (
    CHILD
    + """
import json, resource
async def main():
    store = await open_store()
    await store.write(raised(0))
    wal = Path(sys.argv[1] + "-wal")
    free = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal.stat().st_size, free[1]))
    told = []
    for n in (1, 2):
        try:
            await store.write(raised(n))
        except StoreFailed as failure:
            told.append(str(failure))
    failing = store.failing
    resource.setrlimit(resource.RLIMIT_FSIZE, free)
    await store.write(raised(1))
    recovered = store.failing == ""
    await store.close()
    sys.stderr.write(json.dumps([told, failing, recovered]))

asyncio.run(main())
"""
)


@pytest.mark.parametrize("confirmed", [1, 40, 333])
async def test_what_was_confirmed_survives_a_kill_in_the_middle_of_writing(
    path: Path, opened: Opener, confirmed: int
) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said: list[int] = []
        while len(said) < confirmed:
            line = child.stdout.readline()
            assert line, "the child ended by itself"
            said += [int(line)] if line.strip().isdigit() else []
        child.kill()
        said += [int(line) for line in child.stdout.read().splitlines() if line.isdigit()]
    store = await opened()
    with closing(sqlite3.connect(path)) as look:
        runs, events, deliveries = (
            {int(name.rpartition("_")[2]) for (name,) in look.execute(f"SELECT {column} FROM {table}")}
            for table, column in (("result", "run"), ("event", "id"), ("delivery", "id"))
        )
    assert set(said) <= events
    assert runs == events == deliveries
    snapshot = await store.load()
    newest = {f"check-{n % 7}": 1.8e9 + n for n in sorted(events)}
    assert {name: status.since for name, status in snapshot.statuses.items()} == newest
    assert len(snapshot.pending) == len(events)


async def test_a_kill_during_the_very_first_opening_can_be_repeated(path: Path, opened: Opener) -> None:
    path.parent.mkdir()
    path.touch()  # what is left of an opening that was killed before its migration was committed
    assert (await opened()).boot == 1


def test_a_disk_that_takes_no_more_bytes_fails_the_record_and_recovers(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CUT, str(path)], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    told, failing, recovered = json.loads(done.stderr)
    assert len(told) == 2
    assert "quota" in told[0]
    assert failing == told[1]
    assert recovered
    with closing(sqlite3.connect(path)) as look:
        assert look.execute("SELECT group_concat(id) FROM (SELECT id FROM event ORDER BY id)").fetchone() == (
            "evt_0,evt_1",
        )


FULL = "the disk is full; free some space"


async def limit(store: Any, pages: int) -> None:
    """Let the store grow to so many pages at most (1: not at all), as if the disk were full then."""
    await store._submit(lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count={pages}").scalar())


async def test_a_full_disk_is_said_counted_and_survived(store: Any, make: Any) -> None:
    store._writer._reserve.release()
    store._writer._reserve.spent = False  # there never was one
    await limit(store, 1)
    for n in range(400):
        store.write(make.steady(n))
    with pytest.raises(StoreFailed, match=FULL):
        await store.write(make.raised(1000))
    assert "SQLITE_FULL" in store.failing
    assert store.lost == 400
    assert await store.results("shop") == await store.events() == await store.deliveries() == []
    store.write(make.steady(1))
    await limit(store, 1_000_000)
    assert store.failing == ""
    await store.write(make.raised(1000))
    assert len(await store.events()) == 1


async def test_on_a_full_disk_the_reserve_is_given_up_for_alerts_and_nothing_else(
    store: Any, path: Path, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = Path(f"{path}.reserve")
    assert reserve.stat().st_size == reserve_module.SIZE
    free = [0]
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result([1, 1, 9, 9, free[0], 9, 9, 9, 0, 255]))
    await limit(store, 1)
    for n in range(400):
        store.write(make.steady(n))
    await store.write(make.raised(1000))
    assert not reserve.exists()
    assert store.lost == 400
    assert "keeps alerts only, on its last room" in store.failing
    assert FULL in store.failing
    with pytest.raises(StoreFailed, match="keeps alerts only"):
        await store.write(make.failed(1001))
    assert [kept.run.id for kept in await store.results("shop")] == ["run_shop_1000"]
    assert len((await store.load()).pending) == 1
    free[0] = 3 * reserve_module.SIZE
    await limit(store, 1_000_000)
    while store.failing:  # noqa: ASYNC110 - the store looks for room once a second; it tells nobody
        await asyncio.sleep(0.02)
    assert reserve.exists()
    await store.write(make.failed(1002))


async def test_a_lock_held_by_another_program_fails_the_record_and_recovers(
    opened: Opener, path: Path, make: Any
) -> None:
    store = await opened(patience=0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreFailed, match="another program holds a lock"):
            await store.write(make.raised(1))
        assert "another program" in store.failing
        other.execute("ROLLBACK")
    await store.write(make.raised(1))
    assert store.failing == ""
    assert len(await store.results("shop")) == 1


async def test_failed_operations_are_counted_by_kind(
    opened: Opener, path: Path, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await opened(patience=0.05)
    await store.write(make.failed(1))
    assert store.failures == {"write": 0, "prune": 0}
    monkeypatch.setattr(writer_module, "SWEEP", 0.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store._writer._next_sweep = 0.0
        with pytest.raises(StoreFailed):
            await store.write(make.failed(2))
        async with asyncio.timeout(10):
            while not store.failures["prune"]:  # noqa: ASYNC110 - it happens in the store's thread, which tells nobody
                await asyncio.sleep(0.01)
    assert store.failures["write"] == 1


async def test_a_lock_held_for_a_moment_is_waited_for(store: Any, path: Path, make: Any) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        future = store.write(make.raised(1))
        assert await store.events() == []
        other.execute("ROLLBACK")
    await future
    assert len(await store.events()) == 1


async def test_a_lock_held_while_opening_is_told(path: Path, opened: Opener) -> None:
    await (await opened()).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another program holds a lock"):
            await opened(patience=0.05)


async def test_a_disk_that_hangs_fails_the_record_which_is_written_all_the_same_once_it_answers(
    store: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "GIVE_UP", 0.1)
    hang = threading.Event()
    stuck = store._submit(lambda _: hang.wait(30))
    with pytest.raises(StoreFailed, match=r"has not answered for over 0\.05 s"):
        await store.write(make.raised(1))
    assert "hangs" in store.failing
    with pytest.raises(StoreFailed):
        await stuck
    hang.set()
    while not (await store.load()).pending:  # noqa: ASYNC110 - the future of the record is gone: there is no event
        await asyncio.sleep(0.01)
    await store.write(make.raised(2))
    assert store.failing == ""


async def test_a_store_removed_under_the_daemon_confirms_nothing(store: Any, path: Path, make: Any) -> None:
    await store.write(make.raised(1))
    shutil.move(path, path.with_suffix(".away"))
    with pytest.raises(StoreFailed, match="removed or replaced while in use; restart"):
        await store.write(make.raised(2))
    shutil.move(path.with_suffix(".away"), path)
    await store.write(make.raised(2))
    assert store.failing == ""


async def test_one_record_that_cannot_be_written_does_not_take_its_neighbours_along(store: Any, make: Any) -> None:
    poison = make.raised(2)
    poison = dataclasses.replace(poison, result=dataclasses.replace(poison.result, duration=None))
    good, bad, other = [store.write(entry) for entry in (make.raised(1), poison, make.raised(3))]
    with pytest.raises(StoreFailed, match="NOT NULL"):
        await bad
    await asyncio.gather(good, other)
    assert store.failing == ""
    assert [event.id for event in await store.events()] == ["evt_shop_3", "evt_shop_1"]


async def test_a_broken_change_fails_alone(store: Any, make: Any) -> None:
    def broken(connection: Connection) -> NoReturn:
        raise ZeroDivisionError

    with pytest.raises(StoreFailed, match="ZeroDivisionError"):
        await store._submit(broken)
    await store.write(make.raised(1))
    assert store.failing == ""


async def test_text_that_no_utf8_can_say_does_not_lose_the_alert(store: Any, make: Any) -> None:
    entry = make.raised(1)
    event = make.event(1, sentence="half a pair: \udc80, and nul: \0")
    delivery = make.delivery(event, note="\udc81")
    result = dataclasses.replace(entry.result, observed="\udc82", evidence={"\udc83": "\udc84"})
    await store.write(dataclasses.replace(entry, result=result, events=(event,), deliveries=(delivery,)))
    assert (await store.events())[0].sentence == "half a pair: \\udc80, and nul: \0"
    assert (await store.deliveries())[0].note == "\\udc81"
    assert (await store.results("shop"))[0].result.evidence == {"\\udc83": "\\udc84"}


async def test_numbers_that_json_lacks_do_not_lose_the_alert(store: Any, make: Any) -> None:
    event = dataclasses.replace(make.event(1), since=float("inf"))
    await store.write(dataclasses.replace(make.raised(1), events=(event,), deliveries=(make.delivery(event),)))
    assert (await store.load()).pending[0].event.since == float("inf")


async def test_the_delivery_of_an_event_that_was_never_recorded_is_settled_with_it(store: Any, make: Any) -> None:
    (delivery,) = make.raised(1).deliveries
    await store.settle(dataclasses.replace(delivery, state=DeliveryState.LEASED))
    assert [sent.state for sent in await store.deliveries()] == [DeliveryState.LEASED]


async def test_the_log_is_carried_over_when_it_is_long_and_begun_anew(
    store: Any, path: Path, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "LOG_BYTES", 400_000)
    for n in range(300):
        await store.write(make.raised(n))
    assert log_size(path) < 800_000
    assert len((await store.load()).pending) == 300


async def test_a_log_that_a_reader_holds_back_grows_and_is_carried_over_afterwards(
    store: Any, path: Path, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "LOG_BYTES", 100_000)
    await store.write(make.raised(0))
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM event").fetchone()
        for n in range(1, 100):
            await store.write(make.raised(n))
        held = log_size(path)
        assert reader.execute("SELECT count(*) FROM event").fetchone() == (1,)
        reader.execute("COMMIT")
    for n in range(100, 300):
        await store.write(make.raised(n))
    assert held > 400_000
    assert log_size(path) <= held + 100_000
    assert len((await store.load()).pending) == 300

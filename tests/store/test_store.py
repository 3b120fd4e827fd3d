from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import uvloop
from sqlalchemy import Connection

from heartbeat.config.model import History
from heartbeat.core.model import Address, Delivery, DeliveryState, Outcome, Reason, Severity, Verdict
from heartbeat.core.status import Status
from heartbeat.store import Entry, Store, StoreFailed

Opener = Callable[..., Awaitable[Any]]


async def reopen(store: Any, opened: Opener) -> Any:
    await store.close()
    return await opened()


async def test_status_event_and_delivery_are_there_when_the_future_is_done(
    store: Any, opened: Opener, make: Any
) -> None:
    entry = make.raised(1)
    await store.write(entry)
    again = await reopen(store, opened)
    snapshot = await again.load()
    assert snapshot.statuses == {"shop": entry.status}
    assert snapshot.pending == entry.deliveries
    assert await again.events("shop") == list(entry.events)
    assert snapshot.unreadable == ()


async def test_what_comes_back_of_a_failed_run_is_what_was_recorded(store: Any, make: Any) -> None:
    entry = make.failed(1)
    await store.write(entry)
    (kept,) = await store.results("shop")
    assert (kept.run, kept.result, kept.verdict) == (entry.run, entry.result, entry.verdict)
    assert type(kept.verdict.severity) is Severity
    assert type(kept.verdict.reason) is Reason


async def test_a_result_that_only_a_limit_turned_bad_comes_back_as_it_was_found(store: Any, make: Any) -> None:
    steady = make.steady(1)
    verdict = Verdict(
        steady.run, steady.verdict.at, Outcome.FAIL, Severity.FAIL, Reason.LIMIT, "duration 2 s, above 1 s"
    )
    await store.write(dataclasses.replace(steady, verdict=verdict))
    (kept,) = await store.results("shop")
    assert (kept.result, kept.verdict) == (steady.result, verdict)


async def test_a_steady_result_returns_nothing_and_is_written_within_a_second_or_so(store: Any, make: Any) -> None:
    assert store.write(make.steady(1)) is None
    async with asyncio.timeout(10):
        while not await store.results("shop"):  # noqa: ASYNC110 - there is no event: nobody is told of steady results
            await asyncio.sleep(0.05)


async def test_a_durable_entry_takes_along_what_was_queued_before_it(store: Any, make: Any) -> None:
    for n in range(3):
        store.write(make.steady(n))
    await store.write(make.failed(3))
    assert [kept.run.id for kept in await store.results("shop")] == [f"run_shop_{n}" for n in (3, 2, 1, 0)]


async def test_results_are_newest_first_and_limited(store: Any, make: Any) -> None:
    for n in (2, 0, 1):
        store.write(make.steady(n))
    await store.write(make.failed(3, "other"))
    assert [kept.run.id for kept in await store.results("shop", 2)] == ["run_shop_2", "run_shop_1"]


async def test_evidence_is_kept_on_failure_only(store: Any, make: Any) -> None:
    steady = make.steady(1)
    store.write(dataclasses.replace(steady, result=dataclasses.replace(steady.result, evidence={"head": "x"})))
    await store.write(make.failed(2))
    assert [kept.result.evidence for kept in await store.results("shop")] == [{"head": "HTTP/1.1"}, {}]


async def test_the_same_entry_handed_over_again_is_recorded_once(store: Any, make: Any) -> None:
    entry = make.raised(1)
    await store.write(entry)
    await store.write(entry)
    assert len(await store.results("shop")) == len(await store.events()) == len(await store.deliveries()) == 1


async def test_an_entry_handed_over_again_does_not_take_back_an_acknowledged_delivery(store: Any, make: Any) -> None:
    entry = make.raised(1)
    (delivery,) = entry.deliveries
    done = dataclasses.replace(delivery, state=DeliveryState.ACKNOWLEDGED, attempts=1, note="250 ok")
    await store.settle(done)  # sent from memory while the store failed
    await store.write(entry)
    assert await store.deliveries() == [done]
    assert await store.events() == list(entry.events)
    assert (await store.load()).pending == ()


async def test_a_tick_needs_no_run(store: Any, make: Any) -> None:
    status = Status(warn=True, since=5.0)
    await store.write(Entry(check="shop", status=status))
    assert (await store.load()).statuses == {"shop": status}
    assert await store.results("shop") == []


async def test_a_later_status_replaces_an_earlier_one_in_the_same_commit(store: Any) -> None:
    futures = [store.write(Entry(check="shop", status=Status(since=float(n)))) for n in range(20)]
    await asyncio.gather(*futures)
    assert (await store.load()).statuses == {"shop": Status(since=19.0)}


async def test_an_entry_handed_over_late_does_not_take_back_a_newer_status(store: Any, make: Any) -> None:
    late, newer = make.raised(1), dataclasses.replace(make.steady(2), status=Status(since=2.0))
    await store.write(newer)
    await store.write(late)
    assert (await store.load()).statuses == {"shop": newer.status}
    assert len(await store.events()) == 1


async def test_a_status_of_a_later_boot_replaces_one_of_an_earlier_boot_though_the_clock_was_set_back(
    store: Any, opened: Opener, make: Any
) -> None:
    await store.write(make.raised(5000))
    again = await reopen(store, opened)
    await again.write(dataclasses.replace(make.steady(1), status=Status(since=1.0)))
    assert (await again.load()).statuses == {"shop": Status(since=1.0)}


async def test_a_suppressed_delivery_keeps_its_reason_and_is_not_pending(store: Any, make: Any) -> None:
    entry = make.raised(1, state=DeliveryState.SUPPRESSED, note="silenced until noon")
    await store.write(entry)
    assert await store.deliveries(state=DeliveryState.SUPPRESSED) == list(entry.deliveries)
    assert (await store.load()).pending == ()


async def test_progress_of_a_delivery_survives(store: Any, opened: Opener, make: Any) -> None:
    (delivery,) = make.raised(1).deliveries
    await store.write(make.raised(1))
    waiting = dataclasses.replace(delivery, attempts=3, next_at=77.5, note="451 later")
    await store.settle(waiting)
    assert (await (await reopen(store, opened)).load()).pending == (waiting,)


async def test_a_lease_of_an_older_boot_comes_back_as_it_was_and_order_is_that_of_creation(
    store: Any, opened: Opener, make: Any
) -> None:
    first, second, third = make.raised(3), make.raised(1), make.raised(2)
    for entry in (first, second, third):
        await store.write(entry)
    leased = dataclasses.replace(second.deliveries[0], state=DeliveryState.LEASED, attempts=1, sealed_at=7.5)
    await store.settle(leased)
    again = await reopen(store, opened)
    assert again.boot == 2
    pending = (await again.load()).pending
    assert [sent.event.id for sent in pending] == ["evt_shop_3", "evt_shop_1", "evt_shop_2"]
    assert pending == (first.deliveries[0], leased, third.deliveries[0])
    boots = await again.ask(lambda connection: connection.exec_driver_sql("SELECT lease_boot FROM delivery").all())
    assert [boot for (boot,) in boots] == [None, 1, None], "whose lease it is can be seen"


async def test_a_batch_comes_back_as_it_was(store: Any, opened: Opener, make: Any) -> None:
    entries = [make.raised(n, batch="bat_1", closes_at=77.5) for n in (1, 2)]
    for entry in entries:
        await store.write(entry)
    together = [entry.deliveries[0] for entry in entries]
    assert (await store.load()).pending == tuple(together)
    sealed = [dataclasses.replace(one, state=DeliveryState.LEASED, sealed_at=78.5) for one in together]
    await store.settle(*sealed)
    assert (await (await reopen(store, opened)).load()).pending == tuple(sealed)


async def test_what_is_settled_together_is_there_together_and_new_ones_are_inserted(store: Any, make: Any) -> None:
    entry = make.raised(1)
    await store.write(entry)
    dead = dataclasses.replace(entry.deliveries[0], state=DeliveryState.DEAD, attempts=1, note="550", done_at=9.5)
    address = Address("fallback", "fallback/email", "ops@example.com")
    heir = make.delivery(dead.event, id="dlv_heir", address=address, why="oncall/email could not tell: 550")
    await store.settle(dead, heir)
    assert await store.find([dead.id, "dlv_heir", "dlv_nobody"]) == [dead, heir]
    assert (await store.load()).pending == (heir,)


async def test_what_is_settled_together_fails_together(store: Any, make: Any) -> None:
    (first,), (second,) = make.raised(1).deliveries, make.raised(2).deliveries
    with pytest.raises(StoreFailed):
        await store.settle(first, dataclasses.replace(second, attempts=None))
    assert await store.deliveries() == []


async def test_many_ids_are_found(store: Any, make: Any) -> None:
    deliveries = [make.raised(n).deliveries[0] for n in range(1201)]
    await store.settle(*deliveries)
    assert len(await store.find([one.id for one in deliveries])) == 1201


async def test_deliveries_are_found_by_incident_and_state(store: Any, make: Any) -> None:
    await store.write(make.raised(1))
    await store.write(make.raised(2, state=DeliveryState.DEAD))
    assert [sent.event.id for sent in await store.deliveries(incident="inc_shop_1")] == ["evt_shop_1"]
    assert [sent.event.id for sent in await store.deliveries(state=DeliveryState.DEAD)] == ["evt_shop_2"]
    assert len(await store.deliveries(limit=1)) == 1


async def test_the_newest_result_of_every_check_is_loaded(store: Any, make: Any) -> None:
    for check in ("a", "b", "c"):
        for n in range(3):
            await store.write(make.failed(n, check))
    last = (await store.load()).last
    assert {check: kept.run.id for check, kept in last.items()} == {name: f"run_{name}_2" for name in "abc"}


async def test_an_empty_store_loads_nothing(store: Any) -> None:
    snapshot = await store.load()
    assert (snapshot.statuses, snapshot.pending, snapshot.last) == ({}, (), {})


async def test_a_renamed_check_keeps_its_past(store: Any, make: Any) -> None:
    entry = make.raised(1, "old")
    await store.write(entry)
    await store.rename("old", "new")
    snapshot = await store.load()
    assert snapshot.statuses == {"new": entry.status}
    assert [kept.run.check for kept in await store.results("new")] == ["new"]
    assert len(await store.events("new")) == 1
    assert await store.results("old") == []


async def test_a_rename_is_done_once_and_never_steals_the_past_of_a_later_check(store: Any, make: Any) -> None:
    await store.write(make.raised(1, "old"))
    await store.rename("old", "new")
    await store.write(make.raised(2, "old"))  # someone reuses the name while `was: old` is still configured
    await store.rename("old", "new")
    assert [kept.run.id for kept in await store.results("new")] == ["run_old_1"]
    assert [kept.run.id for kept in await store.results("old")] == ["run_old_2"]


async def test_a_rename_keeps_its_place_among_writes(store: Any, make: Any) -> None:
    futures = [store.write(make.failed(1, "old")), store.rename("old", "new"), store.write(make.failed(2, "new"))]
    await asyncio.gather(*futures)
    assert [kept.run.id for kept in await store.results("new")] == ["run_new_2", "run_old_1"]


async def test_a_forgotten_check_starts_afresh_and_keeps_its_history(store: Any, make: Any) -> None:
    await store.write(make.raised(1))
    await store.forget("shop")
    snapshot = await store.load()
    assert snapshot.statuses == {}
    assert len(snapshot.pending) == len(await store.results("shop")) == 1


async def test_a_status_that_cannot_be_read_is_named_and_the_rest_is_loaded(store: Any, path: Path, make: Any) -> None:
    await store.write(make.raised(1, "a"))
    await store.write(make.raised(2, "b"))
    with sqlite3.connect(path) as other:
        other.execute("UPDATE check_status SET status = '{\"fail\": \"purple\"}' WHERE name = 'a'")
        other.execute("UPDATE event SET data = 'nonsense' WHERE id = 'evt_b_2'")
    other.close()
    snapshot = await store.load()
    assert list(snapshot.statuses) == ["b"]
    assert [sent.event.id for sent in snapshot.pending] == ["evt_a_1"]
    assert len(snapshot.unreadable) == 2
    assert "status of a " in snapshot.unreadable[0]


async def test_a_status_written_before_a_field_existed_takes_its_default(store: Any, path: Path) -> None:
    await store.write(Entry(check="shop", status=Status(fail=True)))
    with sqlite3.connect(path) as other:
        other.execute("UPDATE check_status SET status = json_remove(status, '$.since')")
    other.close()
    assert (await store.load()).statuses == {"shop": Status(fail=True)}


async def test_under_load_many_durable_entries_share_a_commit(
    store: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = []
    commit = store._writer._commit

    def counted(connection: Connection, group: Sequence[Any]) -> None:
        groups.append(len(group))
        commit(connection, group)

    monkeypatch.setattr(store._writer, "_commit", counted)
    await asyncio.gather(*(store.write(make.raised(n)) for n in range(300)))
    assert sum(groups) == 300
    assert len(groups) < 30
    assert len((await store.load()).pending) == 300


async def test_only_the_store_thread_writes_and_readers_cannot(store: Any, make: Any) -> None:
    names: set[str] = set()
    await store._submit(lambda _: names.add(threading.current_thread().name))
    assert names == {"store"}
    with pytest.raises(StoreFailed, match="read-only"):
        await store._read(lambda connection: connection.exec_driver_sql("DELETE FROM result"))


async def test_durable_commits_are_synced_and_steady_ones_are_not(store: Any, make: Any) -> None:
    levels = []
    look = "PRAGMA synchronous"
    await store._submit(lambda connection: levels.append(connection.exec_driver_sql(look).scalar()))
    store._writer.backlog.put(lambda connection: levels.append(connection.exec_driver_sql(look).scalar()))
    store._writer.backlog.wake()
    await store.close()
    assert levels == [2, 1]


async def test_close_writes_what_waits(store: Any, opened: Opener, make: Any) -> None:
    for n in range(1200):
        store.write(make.steady(n))
    await store.close()
    assert len(await (await opened()).results("shop", 5000)) == 1200


async def test_a_closed_store_refuses_and_says_so(store: Any, make: Any) -> None:
    await store.close()
    await store.close()
    with pytest.raises(StoreFailed, match="closed"):
        await store.write(make.raised(1))
    assert store.write(make.steady(2)) is None
    assert store.lost == 1


async def test_close_is_bounded_when_the_disk_hangs(store: Any, make: Any) -> None:
    hang = threading.Event()
    stuck = store._submit(lambda connection: hang.wait(20))
    await store.close(timeout=0.1)
    assert not stuck.done()
    hang.set()
    await stuck
    await store.close()


async def test_a_caller_that_gave_up_waiting_changes_nothing(store: Any, make: Any) -> None:
    future = store.write(make.raised(1))
    future.cancel()
    await store.write(make.raised(2))
    assert len(await store.events()) == 2


async def test_history_may_be_changed_while_open(store: Any) -> None:
    store.history = History(keep=1.0)
    assert store._writer.history.keep == 1.0


def test_it_works_on_uvloop(path: Path, clock: Any, make: Any) -> None:
    async def story() -> tuple[Delivery, ...]:
        store = await Store.open(path, history=History(), clock=clock)
        committed = store.write(make.raised(1))
        assert committed is not None
        await committed
        found = (await store.load()).pending
        await store.close()
        return found

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(story()) == make.raised(1).deliveries

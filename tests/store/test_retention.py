from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

import pytest
from sqlalchemy import Connection

from heartbeat.config.model import History
from heartbeat.core.model import DeliveryState
from heartbeat.store.entry import Entry
from heartbeat.store.retention import STEP, Sweep

Opener = Callable[..., Awaitable[Any]]

DAY = 86400.0
HISTORY = History(keep=7 * DAY, keep_failures=30 * DAY, rows=1_000_000)
DONE = {"state": DeliveryState.ACKNOWLEDGED}


@pytest.fixture
async def store(store: Any) -> Any:
    """A store that does not tidy by itself while a test does."""
    store._writer._next_sweep = inf
    await store.forget("nobody")
    return store


async def sweep(store: Any, now: float, history: History = HISTORY) -> int:
    """Sweep to the end in the store's own thread; return how many steps did something."""
    steps = 0
    one = Sweep(history, now)

    def step(connection: Connection) -> bool:
        nonlocal steps
        steps += (more := one.step(connection))
        return more

    before = -1
    while before != steps:
        before = steps
        await store._submit(step)
    return steps


async def kept(store: Any, check: str = "shop") -> list[str]:
    return [one.run.id for one in await store.results(check, 100_000)]


async def test_plain_results_go_by_age_and_failures_stay_longer(store: Any, make: Any) -> None:
    now = 1_800_000_000.0
    for n, days in enumerate((31, 8, 6)):
        store.write(make.steady(n, "calm", at=now - days * DAY))
        await store.write(make.failed(n, "bad", at=now - days * DAY))
    await sweep(store, now)
    assert await kept(store, "calm") == ["run_calm_2"]
    assert await kept(store, "bad") == ["run_bad_2", "run_bad_1"]


async def test_failures_are_never_kept_shorter_than_the_rest(store: Any, make: Any) -> None:
    now = 1_800_000_000.0
    await store.write(make.failed(1, at=now - 5 * DAY))
    await sweep(store, now, History(keep=7 * DAY, keep_failures=DAY))
    assert await kept(store) == ["run_shop_1"]


async def test_over_the_cap_the_oldest_go_plain_ones_first(store: Any, make: Any) -> None:
    now = 1_800_000_000.0
    for n in range(6):
        store.write((make.failed if n < 2 else make.steady)(n, at=now - 100 + n))
    await store.forget("nobody")
    await sweep(store, now, History(rows=3))
    assert await kept(store) == ["run_shop_5", "run_shop_1", "run_shop_0"]
    await sweep(store, now, History(rows=1))
    assert await kept(store) == ["run_shop_1"]


async def test_large_deletes_are_done_in_small_steps(store: Any, make: Any) -> None:
    now = 1_800_000_000.0
    for n in range(STEP * 2 + 1):
        store.write(make.steady(n, at=now - 9 * DAY))
    await store.forget("nobody")
    assert await sweep(store, now) == 3
    assert await kept(store) == []


@pytest.mark.parametrize("state", [DeliveryState.PENDING, DeliveryState.LEASED])
async def test_what_is_still_on_its_way_is_never_touched(store: Any, make: Any, state: DeliveryState) -> None:
    await store.write(make.raised(1, at=1000.0, state=state))
    await store.forget("shop")
    await sweep(store, 1_800_000_000.0)
    assert len((await store.load()).pending) == 1
    assert len(await store.events()) == 1


@pytest.mark.parametrize("state", [DeliveryState.ACKNOWLEDGED, DeliveryState.SUPPRESSED, DeliveryState.DEAD])
async def test_what_is_finished_goes_with_its_event_when_it_is_old(store: Any, make: Any, state: DeliveryState) -> None:
    now = 1_800_000_000.0
    await store.write(make.raised(1, at=now - 31 * DAY, state=state))
    await store.write(make.raised(2, at=now - 29 * DAY, state=state))
    await store.forget("shop")
    await sweep(store, now)
    assert [event.id for event in await store.events()] == ["evt_shop_2"]
    assert [sent.event.id for sent in await store.deliveries()] == ["evt_shop_2"]


async def test_events_of_an_incident_that_is_still_open_stay(store: Any, make: Any) -> None:
    now = 1_800_000_000.0
    entry = make.raised(1, at=now - 90 * DAY, **DONE)
    await store.write(entry)
    await sweep(store, now)
    assert len(await store.events()) == 1
    await store.write(Entry(check="shop", status=type(entry.status)()))
    await sweep(store, now)
    assert await store.events() == []
    assert await store.deliveries() == []


async def test_a_status_outlives_its_history(store: Any, make: Any) -> None:
    await store.write(make.raised(1, at=1000.0, **DONE))
    await sweep(store, 1_800_000_000.0)
    assert list((await store.load()).statuses) == ["shop"]


async def test_the_thread_tidies_by_itself_and_writes_meanwhile(
    store: Any, make: Any, opened: Opener, clock: Any
) -> None:
    for n in range(STEP + 1):
        store.write(make.steady(n))
    await store.write(make.raised(STEP + 1, **DONE))
    await store.close()
    clock.now += 8 * DAY
    again = await opened()
    while len(await kept(again)) > 1:
        await again.write(make.failed(1, "other"))
    assert await kept(again) == [f"run_shop_{STEP + 1}"]


async def explained(store: Any, query: str) -> str:
    plan: list[Any] = []
    explain = f"EXPLAIN QUERY PLAN {query}"
    await store._submit(lambda connection: plan.extend(connection.exec_driver_sql(explain).fetchall()))
    return " ".join(str(row[3]) for row in plan)


async def test_retention_uses_the_index_by_age(store: Any) -> None:
    oldest = "SELECT id FROM result WHERE failed = 0 AND at < 1 ORDER BY failed, at LIMIT 9"
    words = await explained(store, f"DELETE FROM result WHERE id IN ({oldest})")
    assert "result_age" in words
    assert "TEMP B-TREE" not in words


async def test_pending_deliveries_are_found_by_the_partial_index(store: Any) -> None:
    words = await explained(store, "SELECT * FROM delivery WHERE state IN ('pending', 'leased') ORDER BY number")
    assert "delivery_open" in words


async def test_what_was_given_up_stays_as_long_as_failures_from_then_on(store: Any, make: Any) -> None:
    now = 1_800_000_000.0
    for n, days in enumerate((29, 31)):
        died = {"state": DeliveryState.DEAD, "done_at": now - days * DAY}
        await store.write(make.raised(n, f"check-{n}", at=now - 60 * DAY, **died))
        await store.forget(f"check-{n}")
    await sweep(store, now)
    assert [one.event.check for one in await store.deliveries()] == ["check-0"]

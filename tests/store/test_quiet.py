from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, insert
from structlog.testing import capture_logs

from heartbeat.config.model import History
from heartbeat.core.quiet import Matcher, Order, QuietKind, end
from heartbeat.store.quiet import forget, load, past, save
from heartbeat.store.retention import Sweep
from heartbeat.store.schema import metadata, quiet

NOON = 1_800_000_000.0
DAY = 86_400.0
FULL = Order(
    "sil_1", QuietKind.SILENCE, Matcher(("shop-*",), ("http",), (("team", "shop"),)), "alice", 'a "reason"\n', NOON,
    NOON + 60, True, "name", ("inc_1", "inc_2"),
)  # fmt: skip
texts = st.text(max_size=20)
orders = st.builds(
    Order,
    id=st.uuids().map(str),
    kind=st.sampled_from(QuietKind),
    matcher=st.builds(
        Matcher,
        st.lists(texts).map(tuple),
        st.lists(texts).map(tuple),
        st.lists(st.tuples(texts, texts)).map(tuple),
    ),
    owner=texts,
    reason=texts,
    start=st.floats(0, 1e10),
    end=st.none() | st.floats(0, 1e10),
    until_recovered=st.booleans(),
    name=texts,
    incidents=st.lists(texts).map(tuple),
    ended=st.none() | st.floats(0, 1e10),
    why_ended=texts,
)


@given(orders)
def test_what_was_asked_for_comes_back_as_it_was(order: Order) -> None:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.begin() as connection:
        save(connection, order)
        assert (load(connection) if order.ended is None else past(connection, 1)) == [order]
    engine.dispose()


async def test_what_is_open_survives_a_restart_and_what_has_ended_is_kept_for_the_record(
    opened: Callable[..., Awaitable[Any]],
) -> None:
    store = await opened()
    await store.keep(FULL)
    off = Order("dis_1", QuietKind.DISABLED, Matcher(("shop",)), "bob", "moved", NOON - 5)
    await store.keep(off)
    over = end(replace(FULL, id="sil_2"), NOON + 9, "ended by bob")
    await store.keep(over)
    await store.close()
    again = await opened()
    assert await again.ask(load) == [off, FULL]
    assert await again.ask(partial(past, limit=10)) == [over]


async def test_what_has_ended_is_not_opened_again_by_a_late_record(store: Any) -> None:
    await store.keep(end(FULL, NOON + 9, "ended by bob"))
    await store.keep(FULL)
    assert await store.ask(load) == []


async def test_what_becomes_of_it_takes_its_place(store: Any) -> None:
    await store.keep(FULL)
    renamed = replace(FULL, matcher=Matcher(("till",)))
    await store.keep(renamed)
    assert await store.ask(load) == [renamed]


async def test_what_cannot_be_read_is_said_and_keeps_nothing_else_back(store: Any) -> None:
    await store.keep(FULL)
    row = {"id": "sil_0", "kind": "silence", "data": "{}", "at": 1.0, "ended": None}
    await store._submit(lambda connection: connection.execute(insert(quiet).values(row)))
    with capture_logs() as lines:
        assert await store.ask(load) == [FULL]
    assert "The order sil_0 cannot be read" in lines[0]["error"]


@pytest.mark.parametrize(("days", "kept"), [(31.0, 0), (29.0, 1)])
async def test_retention_lets_go_of_what_ended_long_ago(store: Any, days: float, kept: int) -> None:
    await store.keep(end(FULL, NOON - days * DAY, "over"))
    await store.keep(replace(FULL, id="sil_open", start=NOON - 400 * DAY))
    sweep = Sweep(History(keep=7 * DAY, keep_failures=30 * DAY), NOON)
    await store._submit(sweep.step)
    assert len(await store.ask(partial(past, limit=10))) == kept
    assert [one.id for one in await store.ask(load)] == ["sil_open"]


async def test_retention_bounds_how_many_that_ended_are_kept(store: Any) -> None:
    for number in range(5):
        await store.keep(end(replace(FULL, id=f"sil_{number}"), NOON + number, "over"))
    await store.keep(replace(FULL, id="sil_open"))
    await store._submit(partial(forget, before=0.0, most=2))
    assert [one.id for one in await store.ask(partial(past, limit=10))] == ["sil_4", "sil_3"]
    assert len(await store.ask(load)) == 1

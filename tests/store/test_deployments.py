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
from heartbeat.core.deployment import Deployment, DeploymentState, finish, release
from heartbeat.core.quiet import Matcher
from heartbeat.store.deployments import forget, load, save
from heartbeat.store.retention import Sweep
from heartbeat.store.schema import deployment, metadata

NOON = 1_800_000_000.0
DAY = 86_400.0
SHOP = Deployment("dep_1", "shop", "4f2c", "ci", Matcher(tags=("post-deploy",)), NOON, NOON + 600)
texts = st.text(max_size=20)
made = st.builds(
    Deployment,
    id=st.uuids().map(str),
    name=texts,
    version=texts,
    owner=texts,
    matcher=st.builds(Matcher, labels=st.lists(st.tuples(texts, texts)).map(tuple), tags=st.lists(texts).map(tuple)),
    start=st.floats(0, 1e10),
    hold=st.none() | st.floats(0, 1e10),
    state=st.sampled_from(DeploymentState),
    ended=st.none() | st.floats(0, 1e10),
    released=st.none() | st.floats(0, 1e10),
)


@given(made)
def test_what_was_marked_comes_back_as_it_was(one: Deployment) -> None:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.begin() as connection:
        save(connection, one)
        assert load(connection, 9) == [one]
    engine.dispose()


async def test_the_latest_survive_a_restart_oldest_first(opened: Callable[..., Awaitable[Any]]) -> None:
    store = await opened()
    later = replace(SHOP, id="dep_2", name="till", start=NOON + 5)
    for one in (later, SHOP):
        await store.mark(one)
    await store.close()
    again = await opened()
    assert await again.ask(partial(load, limit=9)) == [SHOP, later]
    assert await again.ask(partial(load, limit=1)) == [later]
    assert await again.ask(partial(load, limit=9, name="shop")) == [SHOP]


async def test_what_is_over_is_not_opened_again_by_a_late_record_but_can_be_released(store: Any) -> None:
    over = finish(SHOP, DeploymentState.FAILED, NOON + 9)
    for one in (SHOP, over, SHOP):
        await store.mark(one)
    assert await store.ask(partial(load, limit=9)) == [over]
    await store.mark(release(over, NOON + 12))
    assert await store.ask(partial(load, limit=9)) == [release(over, NOON + 12)]


async def test_what_cannot_be_read_is_said_and_keeps_nothing_else_back(store: Any) -> None:
    await store.mark(SHOP)
    row = {"id": "dep_0", "name": "x", "data": "{}", "at": 1.0, "ended": None}
    await store._submit(lambda connection: connection.execute(insert(deployment).values(row)))
    with capture_logs() as lines:
        assert await store.ask(partial(load, limit=9)) == [SHOP]
    assert "The deployment dep_0 cannot be read" in lines[0]["error"]


@pytest.mark.parametrize(("days", "kept"), [(31.0, 0), (29.0, 1)])
async def test_retention_lets_go_of_what_began_long_ago(store: Any, days: float, kept: int) -> None:
    await store.mark(replace(SHOP, start=NOON - days * DAY))
    sweep = Sweep(History(keep=7 * DAY, keep_failures=30 * DAY), NOON)
    await store._submit(sweep.step)
    assert len(await store.ask(partial(load, limit=9))) == kept


async def test_retention_bounds_how_many_are_kept(store: Any) -> None:
    for number in range(4):
        await store.mark(replace(SHOP, id=f"dep_{number}", start=NOON + number))
    await store._submit(partial(forget, before=0.0, most=2))
    assert [one.id for one in await store.ask(partial(load, limit=9))] == ["dep_2", "dep_3"]

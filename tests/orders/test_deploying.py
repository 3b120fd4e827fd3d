from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from heartbeat.control import Refused
from heartbeat.core.deployment import ABANDONED, DeploymentState
from heartbeat.core.model import DeliveryState, Kind
from heartbeat.line import run_slot
from heartbeat.orders.deploying import Deploying
from heartbeat.quiet.deployments import KNOWN, SHOWN
from heartbeat.state import Live
from heartbeat.store.deployments import load
from heartbeat.testing.bench import Bench, a_check, bench, down, ok


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as on:
        yield on


@pytest.fixture
def deploying(on: Bench) -> Deploying:
    return Deploying(on.dispatch, on.surroundings.quiet, lambda text: text.replace("hunter2", "***"))


def body(**changes: Any) -> dict[str, Any]:
    return {"name": "shop", "version": "4f2c", "by": "ci"} | changes


async def run(on: Bench, live: Live) -> None:
    await run_slot(on.line, live, on.line.clock.now())


async def settle(on: Bench) -> None:
    while on.dispatch.tasks:
        await asyncio.gather(*on.dispatch.tasks)


async def pass_by(on: Bench, deploying: Deploying, seconds: float) -> None:
    on.time.pass_by(seconds)
    deploying.tick()
    on.ticker._tick()
    await settle(on)


async def kept(on: Bench) -> list[Any]:
    return await on.store.ask(partial(load, limit=99))


async def test_a_message_says_how_long_after_a_deployment_the_trouble_began(on: Bench, deploying: Deploying) -> None:
    live = on.enlist(a_check(behave=down))
    other = on.enlist(a_check("till", behave=down))
    answer = await deploying.start_deployment("", body(checks=["shop"]))
    assert answer["message"] == "deployment 4f2c of shop began; it concerns 1 check"
    assert [one.id for one in await kept(on)] == [answer["deployment"]["id"]]
    on.time.pass_by(180.0)
    await run(on, live)
    await run(on, other)
    await on.inbox.wait(2)
    told = {one.event.check: one.event.context.get("deployment") for one in on.inbox.deliveries}
    assert told["till"] is None
    found = told["shop"] or {}
    assert (found.get("version"), found.get("by"), found.get("state")) == ("4f2c", "ci", "running")


async def test_what_is_held_and_still_fails_is_told_at_the_end_after_a_look(on: Bench, deploying: Deploying) -> None:
    bad = on.enlist(a_check(behave=down, tags=("post-deploy",)))
    good = on.enlist(a_check("mended", behave=down, tags=("post-deploy",)))
    answer = await deploying.start_deployment("", body(hold="10m", tags=["post-deploy"]))
    assert answer["message"].endswith(
        "nobody is told of them until it is over, at most until Fri 15 Jan 2027 08:10:00 UTC"
    )
    for live in (bad, good):
        await run(on, live)
    await pass_by(on, deploying, 60.0)
    assert on.inbox.kinds == []
    notes = {one.note for one in await on.store.deliveries(state=DeliveryState.SUPPRESSED)}
    assert notes == {"held during deployment 4f2c of shop by ci, until Fri 15 Jan 2027 08:10:00 UTC at most"}
    good.config = replace(good.config, check=a_check(behave=ok).check)
    answer = await deploying.finish_deployment("shop", {"by": "ci"})
    assert answer["message"] == "deployment 4f2c of shop finished; 2 checks run now"
    await settle(on)
    assert (bad.runs.fail, good.runs.ok) == (2, 1)
    await pass_by(on, deploying, 1.0)
    await on.inbox.wait(1)
    (told,) = on.inbox.deliveries  # and of the one that was mended nobody heard
    assert (told.event.check, told.event.kind) == ("shop", Kind.RAISED)
    assert told.event.why.startswith("it was kept back until now: held during deployment 4f2c of shop")
    (over,) = await kept(on)
    assert (over.state, over.is_holding) == (DeploymentState.FINISHED, False)


async def test_a_deployment_that_nobody_finishes_holds_no_longer_than_it_said(on: Bench, deploying: Deploying) -> None:
    live = on.enlist(a_check(behave=down))
    await deploying.start_deployment("", body(hold="10m"))
    await run(on, live)
    await pass_by(on, deploying, 601.0)
    await on.inbox.wait(1)
    (one,) = await kept(on)
    assert (one.state, one.released) == (DeploymentState.RUNNING, one.start + 601.0)
    await pass_by(on, deploying, ABANDONED)
    (one,) = await kept(on)
    assert (one.state, one.ended) == (DeploymentState.ABANDONED, one.start + 601.0 + ABANDONED)


async def test_the_next_start_of_the_same_name_takes_the_place_of_one_that_nobody_finished(
    on: Bench, deploying: Deploying
) -> None:
    await deploying.start_deployment("", body(hold="10m"))
    await deploying.start_deployment("", body(version="77aa"))
    await settle(on)
    assert [(one.version, one.state) for one in sorted(await kept(on), key=lambda one: one.version)] == [
        ("4f2c", DeploymentState.SUPERSEDED),
        ("77aa", DeploymentState.RUNNING),
    ]
    assert list(deploying.deployments.holding()) == []
    answer = await deploying.finish_deployment("shop", {"failed": True, "by": "ci"})
    assert (answer["deployment"]["version"], answer["deployment"]["state"]) == ("77aa", "failed")


async def test_a_restart_in_the_middle_goes_on_holding_and_after_the_end_holds_nothing(
    on: Bench, deploying: Deploying, tmp_path: Path
) -> None:
    await deploying.start_deployment("", body(hold="10m"))
    ended = await deploying.start_deployment("", body(name="till", hold="10m"))
    over = replace(deploying.deployments.known[ended["deployment"]["id"]], state=DeploymentState.FINISHED, ended=1.0)
    await on.store.mark(over)  # and then the daemon was killed, before its checks had run
    await on.store.close()
    async with bench(tmp_path, time=on.time) as later:
        again = Deploying(later.dispatch, later.surroundings.quiet)
        await again.recall()
        assert [one.name for one in again.deployments.holding()] == ["shop"]
        assert again.quiet.kind(a_check(), on.line.clock.now()) == "deployment"


async def test_where_the_store_fails_it_holds_in_memory_and_is_recorded_later(on: Bench, deploying: Deploying) -> None:
    with on.locked_store():
        answer = await deploying.start_deployment("", body(hold="10m"))
        assert "in memory only" in answer["warning"]
    assert deploying.quiet.kind(a_check(), on.line.clock.now()) == "deployment"
    await on.store.flush()
    await pass_by(on, deploying, 1.0)
    assert [one.name for one in await kept(on)] == ["shop"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": ""}, "is no name"),
        ({"name": "a b"}, "is no name"),
        ({"version": "a\nb"}, "one line of at most 80"),
        ({"by": ""}, "it must be known who deploys"),
        ({"hold": "ten"}, "such as 10m"),
        ({"hold": "2d"}, "at most 1d"),
        ({"tags": ["a b"]}, "is no pattern"),
        ({"labels": {"team": ""}}, "is no label"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"tags": "x"}, "tags: "),
    ],
)
async def test_what_makes_no_sense_is_refused(deploying: Deploying, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refused) as refused:
        await deploying.start_deployment("", body(**changes))
    assert sentence in refused.value.sentence
    assert refused.value.status == 400
    assert deploying.deployments.known == {}


async def test_what_is_not_under_way_cannot_be_finished(deploying: Deploying) -> None:
    with pytest.raises(Refused, match='no deployment "shop" is under way') as refused:
        await deploying.finish_deployment("shop", {"by": "ci"})
    assert refused.value.status == 404


async def test_who_comes_with_a_token_is_known_by_it(deploying: Deploying) -> None:
    first = await deploying.start_deployment("", body(by="alice"), "ci")
    second = await deploying.start_deployment("", body(by="", version="hunter2"), "ci")
    assert [one["deployment"]["by"] for one in (first, second)] == ["alice (token ci)", "token ci"]
    assert second["deployment"]["version"] == "***"


async def test_a_check_that_is_at_work_runs_again_once_it_is_done(on: Bench, deploying: Deploying) -> None:
    go = asyncio.Event()

    async def wait(_: Any) -> None:
        await go.wait()

    live = on.enlist(a_check(behave=wait))
    under_way = asyncio.ensure_future(on.dispatch.run_now(live))
    await asyncio.sleep(0)
    await deploying.start_deployment("", body())
    await deploying.finish_deployment("shop", {"by": "ci"})
    go.set()
    await under_way
    await settle(on)
    assert live.runs.ok == 2


async def test_memory_and_metrics_are_bounded_however_many_names_there_are(on: Bench, deploying: Deploying) -> None:
    for number in range(KNOWN + 20):
        await deploying.start_deployment("", body(name=f"app-{number}"))
    await settle(on)
    assert len(deploying.deployments.known) == KNOWN
    on.instruments.deployments = deploying.deployments.latest
    page = on.instruments.text().decode()
    assert page.count("heartbeat_deployment_info{") == SHOWN
    assert 'heartbeat_deployment_info{deployment="app-119",state="running",version="4f2c"} 1.0' in page
    assert 'heartbeat_deployment_timestamp_seconds{deployment="app-119",event="start"} 1.8e+09' in page

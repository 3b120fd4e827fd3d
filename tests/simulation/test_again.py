from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from heartbeat.config.model import CheckConfig, Config, Receiver
from heartbeat.core.limits import Bound, Limit
from heartbeat.core.model import Severity
from heartbeat.core.policy import Latch, Policy
from heartbeat.line import Line, run_slot
from heartbeat.orders.asking import Ask
from heartbeat.orders.deploying import Deploying
from heartbeat.orders.given import Orders
from heartbeat.orders.upkeep import Upkeep
from heartbeat.probe import Probe
from heartbeat.redaction import Redactor
from heartbeat.simulation.replaying import Replayed, counts_of, replay, select
from heartbeat.state import Live
from heartbeat.testing.bench import EVERY, NOON, ONCALL, Bench, Kept, a_check, bench, broken, down, ok

QUICK = Policy(interval=EVERY, flapping=None)
CALM = Policy(warn=Latch(3, 3, 2), fail=Latch(3, 3, 2), interval=EVERY)


def deep(depth: float) -> Any:
    async def measure(probe: Probe) -> None:
        probe.record("depth", depth)

    return measure


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as on:

        async def pause(_: Line, seconds: float) -> None:
            on.time.pass_by(seconds)

        on.line.pause = pause
        yield on


@pytest.fixture
def orders(on: Bench) -> Orders:
    return Orders(Upkeep(on.dispatch, on.scheduler, on.surroundings.quiet))


def config_of(on: Bench, *checks: CheckConfig) -> Config:
    return Config(
        files=(),
        store=on.store.path,
        control=Path("unused"),
        checks={check.name: check for check in checks},
        receivers={"oncall": Receiver("oncall", {ONCALL.channel: Kept(inbox=None)})},
        redactor=Redactor(),
    )


async def live_through(on: Bench, live: Live, *behaviours: Any) -> None:
    """Run once a minute, and tick once a second between."""
    for behave in behaviours:
        live.config = replace(live.config, check=a_check(behave=behave).check)
        await run_slot(on.line, live, on.line.clock.now())
        await pass_by(on, EVERY)


async def pass_by(on: Bench, seconds: float) -> None:
    for _ in range(int(seconds)):
        on.time.pass_by(1.0)
        on.ticker._tick()
        while on.dispatch.tasks:
            await asyncio.gather(*on.dispatch.tasks)


async def replayed(on: Bench, *checks: CheckConfig, only: tuple[str, ...] = (), late: float = 0.0) -> Replayed:
    await on.store.flush()
    config = config_of(on, *checks)
    names = select(config, only)
    loop = asyncio.get_running_loop()

    def read(query: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(on.store.ask(query), loop).result()

    now = on.line.clock.now()
    return await asyncio.to_thread(replay, read, config, names, NOON, now, now + late)


def said(tellings: Any) -> list[tuple[float, str, str, str, str]]:
    return sorted((one.at, one.check, one.kind.value, one.who, one.kept_back) for one in tellings)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "policy",
    [
        QUICK,
        CALM,
        Policy(fail=Latch(2, 3, 2), recheck=5.0, interval=EVERY),
        Policy(fail=Latch(1, 1, 2), remind=300.0, hold=90.0, escalate=240.0, interval=EVERY),
    ],
    ids=["quick", "calm", "recheck", "hold"],
)
async def test_under_the_same_configuration_the_same_is_told_at_the_same_times(
    on: Bench, policy: Policy, seed: int
) -> None:
    random = Random(seed)
    limits = (
        Limit("depth", (Bound(Severity.WARN, above=5.0, clear_above=3.0),)),
        Limit("", (Bound(Severity.WARN, below=0.5),), "ratio", "availability", 600.0, samples=3),
    )
    live = on.enlist(a_check(policy=policy, limits=limits))
    behaviours = [random.choice([ok, ok, down, down, broken, deep(7.0), deep(4.0), deep(1.0)]) for _ in range(40)]
    await live_through(on, live, *behaviours)
    found = await replayed(on, live.config)
    assert found.runs >= 40
    assert found.was
    assert [one[1:] for one in said(found.was)] == [one[1:] for one in said(found.would)]
    # A tick of the daemon comes up to a second after its time; one that waits for another, after that.
    for was, would in zip(said(found.was), said(found.would), strict=True):
        assert abs(was[0] - would[0]) < EVERY / 20 + 1
    counts = counts_of(found.pairs)
    assert (counts["gone"], counts["new"]) == (0, 0)


async def test_a_calmer_policy_sends_less_and_says_how_much_later(on: Bench) -> None:
    live = on.enlist(a_check(policy=QUICK))
    await live_through(on, live, ok, down, ok, ok, down, ok, down, down, down, down, ok, ok, ok)
    found = await replayed(on, replace(live.config, policy=CALM))
    was, would = found.figures
    assert (was.messages, would.messages) == (6, 2)
    assert (was.delays, would.delays) == ((0.0, 0.0, 0.0), (120.0,))
    assert was.recipients == {"oncall/kept": 6}
    assert was.pages_per_day > would.pages_per_day > 0


async def test_another_limit_is_judged_on_what_was_measured(on: Bench) -> None:
    live = on.enlist(a_check(policy=QUICK))
    await live_through(on, live, deep(1.0), deep(9.0), deep(1.0))
    limits = (Limit("depth", (Bound(Severity.FAIL, above=5.0),)),)
    found = await replayed(on, replace(live.config, limits=limits))
    assert found.was == ()
    assert [(one.kind.value, one.severity.word) for one in found.would] == [("raised", "fail"), ("resolved", "ok")]
    assert counts_of(found.pairs) == {"same": 0, "gone": 0, "new": 2}


async def test_what_people_asked_for_happens_again(on: Bench, orders: Orders) -> None:
    live = on.enlist(a_check(policy=replace(QUICK, remind=90.0)))
    deploying = Deploying(on.dispatch, on.surroundings.quiet)
    await live_through(on, live, ok)
    answer = await orders.silence("", Ask(by="alice", reason="x", checks=("*",), lasts=600))
    await live_through(on, live, down, down)
    await orders.end_silence(answer["order"]["id"], Ask(by="alice"))
    await live_through(on, live, down, down)
    await orders.acknowledge("shop", Ask(by="anna"))
    await live_through(on, live, down, down, down, ok)
    await deploying.start_deployment("", {"name": "shop", "by": "ci", "hold": "1h"})
    await live_through(on, live, down, ok)
    found = await replayed(on, live.config)
    assert [one[1:] for one in said(found.was)] == [one[1:] for one in said(found.would)]
    assert [one.kind.value for one in found.was if one.who] == ["raised", "reminder", "resolved"]
    reasons = [one.kept_back for one in found.would if not one.who]
    assert [reason.split(" until")[0] for reason in reasons] == [
        "silenced by alice",
        "held during a deployment of shop by ci,",
        "nobody was told that it began: held during a deployment of shop by ci,",
    ]


async def test_second_looks_are_used_where_the_policy_asks_for_them_and_are_otherwise_left_out(on: Bench) -> None:
    looking = Policy(warn=Latch(2, 2, 1), fail=Latch(2, 2, 1), recheck=5.0, interval=EVERY)
    live = on.enlist(a_check(policy=looking))
    await live_through(on, live, ok, down, ok)
    found = await replayed(on, live.config)
    assert [one.kind.value for one in found.would] == ["raised", "resolved"]
    without = await replayed(on, replace(live.config, policy=replace(looking, recheck=None)))
    assert [one.kind.value for one in without.would] == []
    assert without.notes[0].startswith("1 second looks were made then that would not be made now")
    later = on.enlist(a_check("later", policy=replace(looking, recheck=None)))
    await live_through(on, later, down, ok)
    more = await replayed(on, replace(later.config, policy=looking))
    assert any(note.startswith("1 second looks that would be made now") for note in more.notes)


async def test_of_some_checks_those_on_which_they_depend_are_judged_too(on: Bench) -> None:
    parent, child = a_check("db", policy=QUICK), a_check("shop", policy=QUICK, depends_on=("db",))
    other = a_check("other", policy=QUICK)
    on.surroundings.adopt({one.name: one for one in (parent, child, other)}, None)
    lives = [on.enlist(one) for one in (parent, child, other)]
    for behave in (ok, down, ok, ok):
        for live in lives:
            live.config = replace(live.config, check=a_check(behave=behave).check)
            await run_slot(on.line, live, on.line.clock.now())
            await pass_by(on, 20.0)
    found = await replayed(on, parent, child, other, only=("sh*",))
    assert found.checks == ("shop",)
    assert found.runs >= 8
    assert {one.check for one in found.would} == {"shop"}
    assert said(found.would) == said(found.was)
    assert any("db" in one.kept_back for one in found.would)
    assert "storms are left out" in " ".join(found.notes)


async def test_of_the_time_of_which_only_failures_are_kept_nothing_is_judged(on: Bench) -> None:
    live = on.enlist(a_check(policy=QUICK))
    await live_through(on, live, down, down, ok, down)
    found = await replayed(on, live.config, late=7 * 86_400.0)
    assert found.since == NOON + 2 * EVERY
    assert "only failures are kept" in found.notes[0]


def test_patterns_name_checks(tmp_path: Path) -> None:
    config = replace(
        Config((), tmp_path, tmp_path, {}, {}, Redactor()), checks={name: a_check(name) for name in ("a", "ab", "b")}
    )
    assert select(config, ()) == ("a", "ab", "b")
    assert select(config, ("a*",)) == ("a", "ab")
    with pytest.raises(LookupError, match="x"):
        select(config, ("a", "x"))

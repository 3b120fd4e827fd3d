"""Dependencies and storms as stories, on the whole line with a real store and a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from heartbeat import CheckBroken, CheckFailed, Probe
from heartbeat.core.model import DeliveryState, Kind
from heartbeat.core.policy import Latch, Policy, Routes
from heartbeat.core.quiet import Matcher, Order, QuietKind
from heartbeat.core.storm import StormRule
from heartbeat.line import run_slot
from heartbeat.quiet.storms import NETWORK
from heartbeat.selfwatch.vitals import Vitals, self_checks
from heartbeat.state import Live
from heartbeat.testing.bench import Bench, a_check, bench

NAMES = tuple("abcdefghij")


@dataclass
class World:
    """Checks that find what the story says, and what was told of them."""

    on: Bench
    folder: Path
    bad: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    runs: list[str] = field(default_factory=list)
    """The names of the checks that ran, in order."""
    gates: dict[str, asyncio.Event] = field(default_factory=dict)

    def add(self, *names: str, above: Iterable[str] = (), **changes: Any) -> None:
        for name in names:
            self.on.enlist(a_check(name, self.behave(name), depends_on=tuple(above), **changes))
        self.adopt()

    def adopt(self, rule: StormRule | None = StormRule()) -> None:  # noqa: B008 - frozen
        self.on.surroundings.adopt({name: live.config for name, live in self.lives.items()}, rule)

    def watch_the_network(self, *receivers: str) -> None:
        on = self.on
        vitals = Vitals(on.state, on.store, on.outbox, on.dispatch, on.line.clock.now, str, on.surroundings.storms)
        check = next(check for check in self_checks(vitals) if check.name == NETWORK)
        on.enlist(replace(check, notify=Routes(receivers)))

    def behave(self, name: str) -> Any:
        async def run(_: Probe) -> None:
            self.runs.append(name)
            if name in self.gates:
                await self.gates[name].wait()
            if name in self.broken:
                raise CheckBroken("the account is locked", reason="account")
            if name in self.bad:
                raise CheckFailed(f"{name} is down", reason="status")

        return run

    @property
    def lives(self) -> dict[str, Live]:
        return self.on.state.checks

    async def run(self, *names: str) -> None:
        """Let checks run for a slot, one after the other, and all that follows of it."""
        for name in names:
            await run_slot(self.on.line, self.lives[name], self.on.line.clock.now())
            await self.settle()

    async def settle(self) -> None:
        while self.on.dispatch.tasks:
            await asyncio.gather(*self.on.dispatch.tasks)

    async def passes(self, seconds: int) -> None:
        """Let time pass, second by second."""
        for _ in range(seconds):
            self.on.time.pass_by(1.0)
            self.on.ticker._tick()
            await self.settle()

    async def told(self) -> list[str]:
        """Return what was told since the last time this was asked, as ``kind check``."""
        async with asyncio.timeout(10.0):
            while sum(one.pending for one in self.on.outbox.backlogs(self.on.line.clock.now())):  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.002)
        found = [f"{one.event.kind} {one.event.check}" for one in self.on.inbox.deliveries]
        self.on.inbox.deliveries.clear()
        return found

    async def suppressed(self, name: str) -> list[str]:
        """Return why nobody was told, of each event of a check of which nobody was."""
        incident = (await self.on.store.events(name))[-1].incident
        found = await self.on.store.deliveries(incident=incident)
        return [one.note for one in found if one.state is DeliveryState.SUPPRESSED]

    def restart(self) -> None:
        """Go on with what the store and the configuration would give back."""
        storms = self.on.surroundings.storms
        for name, live in list(self.lives.items()):
            fresh = self.on.enlist(live.config)
            fresh.status = live.status
            if live.run and live.result and live.verdict:
                fresh.restore(live.run, live.result, live.verdict)
            assert self.lives[name] is fresh
        storms.storm, storms.ended, storms.members, storms._fresh = None, None, set(), {}
        storms.recall(self.on.line.clock.now())


@asynccontextmanager
async def made(folder: Path) -> AsyncIterator[World]:
    async with bench(folder, concurrency=50) as on:
        yield World(on, folder)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with made(tmp_path) as world:
        yield world


TWICE = Policy(warn=Latch(2, 2), fail=Latch(2, 2), interval=60.0, flapping=None)


# Dependencies


async def test_when_the_child_fails_first_its_parent_is_looked_at_and_told_instead(world: World) -> None:
    world.add("gateway")
    world.add("shop", above=["gateway"])
    await world.run("gateway", "shop")
    await world.passes(1)
    world.bad = {"gateway", "shop"}
    await world.run("shop")
    assert world.runs == ["gateway", "shop", "shop", "gateway"]
    assert await world.told() == ["raised gateway"]
    await world.passes(30)
    assert await world.told() == []
    assert await world.suppressed("shop") == ["it waits for a look at gateway, which it depends on"]


async def test_when_the_parent_fails_first_the_child_is_not_told(world: World) -> None:
    world.add("gateway")
    world.add("shop", above=["gateway"])
    world.bad = {"gateway", "shop"}
    await world.run("gateway")
    await world.passes(1)
    await world.run("shop")
    await world.passes(120)
    assert await world.told() == ["raised gateway"]
    (why,) = await world.suppressed("shop")
    assert why.startswith("it depends on gateway, which has been failing since ")


async def test_a_child_whose_parent_is_well_is_told_as_soon_as_that_is_known(world: World) -> None:
    world.add("gateway")
    world.add("shop", above=["gateway"])
    await world.run("gateway")
    await world.passes(1)
    world.bad = {"shop"}
    await world.run("shop")
    assert await world.told() == []
    await world.passes(1)
    assert await world.told() == ["raised shop"]
    (event,) = [event for event in await world.on.store.events("shop") if event.why]
    assert event.why == "it was kept back until now: it waits for a look at gateway, which it depends on"


async def test_a_run_that_others_ask_for_is_a_second_look_and_no_slot(world: World) -> None:
    world.add("gateway")
    world.add("shop", above=["gateway"])
    world.bad = {"shop"}
    await world.run("shop")
    run = world.lives["gateway"].run
    assert run is not None
    assert run.attempt == 1


async def test_when_the_parent_recovers_a_child_that_still_fails_is_looked_at_and_told(world: World) -> None:
    world.add("gateway")
    world.add("shop", "cart", above=["gateway"])
    world.bad = {"gateway", "shop", "cart"}
    await world.run("shop", "cart")
    await world.passes(60)
    assert await world.told() == ["raised gateway"]
    world.bad = {"shop"}
    world.runs.clear()
    await world.run("gateway")
    await world.passes(3)
    assert await world.told() == ["resolved gateway", "raised shop"]
    assert sorted(world.runs) == ["cart", "gateway", "shop"]
    assert any("nobody was told that it began: it depends on" in why for why in await world.suppressed("cart"))


async def test_a_child_that_was_told_before_its_parent_failed_is_told_of_its_end(world: World) -> None:
    world.add("gateway")
    world.add("shop", above=["gateway"])
    world.bad = {"shop"}
    await world.run("shop")
    await world.passes(2)
    assert await world.told() == ["raised shop"]
    world.bad = {"gateway"}
    await world.run("gateway", "shop")
    assert await world.told() == ["raised gateway", "resolved shop"]


async def test_however_many_children_fail_their_parent_runs_once(world: World) -> None:
    world.add("gateway")
    world.add(*NAMES, above=["gateway"])
    world.bad = {*NAMES}
    await asyncio.gather(*(run_slot(world.on.line, world.lives[name], 0.0) for name in NAMES))
    await world.settle()
    assert world.runs.count("gateway") == 1


async def test_a_parent_that_runs_already_is_looked_at_again_once_it_has_ended(world: World) -> None:
    world.add("gateway")
    world.add("shop", above=["gateway"])
    gate = world.gates["gateway"] = asyncio.Event()
    world.on.dispatch.fire("gateway", world.on.line.clock.now())
    await asyncio.sleep(0)
    world.on.time.pass_by(0.5)
    world.bad = {"gateway", "shop"}
    await run_slot(world.on.line, world.lives["shop"], 0.0)
    assert world.runs.count("gateway") == 1
    world.bad = {"shop"}  # what the run under way finds is of a time before
    gate.set()
    await world.settle()
    world.bad = {"gateway", "shop"}
    await world.passes(1)
    assert world.runs.count("gateway") == 2
    assert await world.told() == ["raised gateway"]


async def test_a_slow_policy_of_the_parent_is_waited_for(world: World) -> None:
    world.add("gateway", policy=TWICE)
    world.add("shop", above=["gateway"])
    await world.run("gateway")
    world.bad = {"gateway", "shop"}
    await world.passes(1)
    await world.run("shop")
    await world.passes(50)
    assert await world.told() == []
    await world.run("gateway")
    await world.passes(60)
    assert await world.told() == ["raised gateway"]


@pytest.mark.parametrize("how", ["broken", "hangs", "switched off"])
async def test_a_parent_that_says_nothing_delays_its_child_but_never_hides_it(world: World, how: str) -> None:
    world.add("gateway")
    world.add("shop", above=["gateway"])
    await world.run("gateway")
    await world.passes(1)
    world.bad = {"shop"}
    if how == "broken":
        world.broken = {"gateway"}
    elif how == "hangs":
        world.on.line.running.add("gateway")
    else:
        order = Order("o", QuietKind.DISABLED, Matcher(("gateway",)), "ann", "moved", 0.0)
        world.on.surroundings.quiet.put(order)
    await world.run("shop")
    await world.passes(13)
    assert "raised shop" in await world.told()
    assert world.runs.count("gateway") < 10
    world.on.line.running.discard("gateway")


async def test_a_parent_that_warns_holds_nothing_back(world: World) -> None:
    from heartbeat.core.limits import Bound, Limit
    from heartbeat.core.model import Severity

    slow = Limit("duration", (Bound(Severity.WARN, above=-1.0),))
    world.add("gateway", limits=(slow,))
    world.add("shop", above=["gateway"])
    world.bad = {"shop"}
    await world.run("gateway")
    await world.passes(1)
    await world.run("shop")
    await world.passes(2)
    assert await world.told() == ["raised gateway", "raised shop"]


async def test_a_parent_in_maintenance_keeps_its_children_quiet_with_it(world: World) -> None:
    world.add("gateway")
    world.add("shop", above=["gateway"])
    start = world.on.line.clock.now()
    order = Order("o", QuietKind.SILENCE, Matcher(("gateway",)), "ann", "new cable", start, end=start + 60.0)
    world.on.surroundings.quiet.put(order)
    world.bad = {"gateway", "shop"}
    await world.run("gateway", "shop")
    await world.passes(50)
    assert await world.told() == []
    await world.passes(15)
    assert await world.told() == ["raised gateway"]


async def test_a_parent_that_tells_nobody_hides_nothing(world: World) -> None:
    world.add("gateway", notify=Routes())
    world.add("shop", above=["gateway"])
    world.bad = {"gateway", "shop"}
    await world.run("gateway", "shop")
    assert await world.told() == ["raised shop"]


async def test_a_chain_is_told_at_its_root_and_what_remains_when_that_is_well(world: World) -> None:
    world.add("root")
    world.add("mid", above=["root"])
    world.add("leaf", above=["mid"])
    world.bad = {"root", "mid", "leaf"}
    await world.run("leaf")
    assert world.runs == ["leaf", "mid", "root"]
    await world.passes(100)
    assert await world.told() == ["raised root"]
    world.bad = {"mid", "leaf"}
    await world.run("root")
    await world.passes(10)
    assert await world.told() == ["resolved root", "raised mid"]
    world.bad = set()
    await world.run("mid", "leaf")
    await world.passes(10)
    assert await world.told() == ["resolved mid"]


async def test_in_a_diamond_the_common_parent_is_told_alone(world: World) -> None:
    world.add("root")
    world.add("left", "right", above=["root"])
    world.add("leaf", above=["left", "right"])
    world.bad = {"root", "left", "right", "leaf"}
    await world.run("leaf", "right", "left", "root")
    await world.passes(100)
    assert await world.told() == ["raised root"]
    (event,) = await world.on.store.events("root")
    assert set(event.context["holds_back"]) <= {"left", "right", "leaf"}


async def test_the_parents_message_lists_what_it_holds_back_and_the_next_one_all_of_it(world: World) -> None:
    world.add("gateway", policy=Policy(remind=100.0))
    world.add("shop", "cart", "fine", above=["gateway"])
    world.add("till", above=["shop"])
    world.bad = {"gateway", "shop", "cart", "till"}
    await world.run("shop")
    (raised,) = await world.on.store.events("gateway")
    assert raised.context["holds_back"] == ["shop"]
    await world.run("cart", "till")
    await world.passes(101)
    reminder, *_ = await world.on.store.events("gateway")
    assert reminder.kind is Kind.REMINDER
    assert reminder.context["holds_back"] == ["shop", "cart", "till"]
    assert reminder.context["holds_back_more"] == 0
    world.bad = set()
    await world.run("gateway")
    resolved, *_ = await world.on.store.events("gateway")
    assert "holds_back" not in resolved.context


async def test_the_list_of_what_is_held_back_is_bounded(world: World) -> None:
    world.add("gateway")
    names = [f"child-{number}" for number in range(25)]
    world.add(*names, above=["gateway"])
    world.adopt(None)
    world.bad = {"gateway", *names}
    world.gates["gateway"] = asyncio.Event()
    await asyncio.gather(*(run_slot(world.on.line, world.lives[name], 0.0) for name in names))
    world.gates["gateway"].set()
    await world.settle()
    (event,) = await world.on.store.events("gateway")
    assert event.context["holds_back"] == names[:20]
    assert event.context["holds_back_more"] == 5


@pytest.mark.parametrize("after", [0, 1, 2, 3])
async def test_a_restart_anywhere_changes_no_message_of_a_dependency(world: World, after: int) -> None:
    world.add("gateway")
    world.add("shop", above=["gateway"])
    world.bad = {"gateway", "shop"}
    told = []
    for step in range(4):
        if step == 0:
            await world.run("shop")
        elif step == 1:
            await world.passes(30)
        elif step == 2:
            world.bad = {"shop"}
            await world.run("gateway")
        else:
            await world.passes(5)
        if step == after:
            world.restart()
        told += await world.told()
    assert told == ["raised gateway", "resolved gateway", "raised shop"]


# Storms


async def begin(world: World, *bad: str, well: Iterable[str] = ()) -> None:
    """Let all checks run well, and a minute later some of them fail, a second apart."""
    world.watch_the_network("operators")
    await world.run(NETWORK, *bad, *well)
    await world.passes(61)
    world.bad |= {*bad}
    await world.run(*well)
    for name in bad:
        await world.run(name)
        await world.passes(1)


async def test_when_most_fail_at_once_one_message_says_that_the_monitor_seems_cut_off(world: World) -> None:
    world.add(*NAMES)
    await begin(world, *NAMES)
    assert await world.told() == [*(f"raised {name}" for name in "abcde"), f"raised {NETWORK}"]
    (event,) = await world.on.store.events(NETWORK)
    assert "the monitor itself seems cut off: 5 of the 5 unrelated checks that ran since" in event.sentence
    assert event.sentence.endswith("went bad: a, b, c and 2 more")
    assert event.result is not None
    assert event.result.evidence["failing"].splitlines()[0] == "a: a is down"
    (why,) = await world.suppressed("f")
    assert why.startswith("most checks fail at once: the monitor itself seems cut off since ")


async def test_when_the_storm_is_over_what_recovered_was_never_told_and_what_still_fails_is(world: World) -> None:
    world.add(*NAMES)
    await begin(world, *NAMES)
    await world.passes(120)
    await world.told()
    world.bad = {"j"}
    world.runs.clear()
    await world.run(*"abcde")
    await world.passes(1)
    assert world.on.surroundings.storms.storm is not None
    await world.run("f")
    await world.passes(3)
    assert await world.told() == [*(f"resolved {name}" for name in "abcde"), f"resolved {NETWORK}", "raised j"]
    assert sorted(set(world.runs)) == sorted([*NAMES])


async def test_a_storm_hides_nothing_for_longer_than_a_quarter_of_an_hour(world: World) -> None:
    world.add(*NAMES)
    await begin(world, *NAMES)
    await world.passes(890)
    await world.told()
    await world.passes(10)
    assert sorted(await world.told()) == [f"raised {name}" for name in "fghij"]
    world.bad = set()
    await world.run(*NAMES)
    await world.passes(1)
    assert sorted(await world.told()) == sorted([*(f"resolved {name}" for name in NAMES), f"resolved {NETWORK}"])


async def test_a_few_checks_are_never_a_storm(world: World) -> None:
    world.add(*"abcd")
    await begin(world, *"abcd")
    assert await world.told() == [f"raised {name}" for name in "abcd"]


async def test_a_storm_that_is_switched_off_never_comes(world: World) -> None:
    world.add(*NAMES)
    world.adopt(None)
    await begin(world, *NAMES)
    assert await world.told() == [f"raised {name}" for name in NAMES]


async def test_a_storm_of_which_nobody_hears_hides_nothing(world: World) -> None:
    world.add(*NAMES)
    await begin(world, *NAMES)
    world.watch_the_network()
    await world.passes(1)
    assert {"raised i", "raised j"} <= {*await world.told()}


async def test_checks_that_never_were_well_are_no_storm(world: World) -> None:
    world.add(*NAMES)
    world.watch_the_network("operators")
    world.bad = {*NAMES}
    await world.run(*NAMES)
    await world.passes(2)
    assert await world.told() == [f"raised {name}" for name in NAMES]


async def test_children_of_one_gateway_are_no_storm(world: World) -> None:
    world.add("gateway")
    world.add(*NAMES, above=["gateway"])
    world.watch_the_network("operators")
    await world.run("gateway", *NAMES)
    await world.passes(61)
    world.bad = {"gateway", *NAMES}
    await world.run(*NAMES)
    await world.passes(5)
    assert await world.told() == ["raised gateway"]


async def test_what_failed_before_the_storm_is_reminded_of_as_ever(world: World) -> None:
    world.add("old", policy=Policy(remind=70.0))
    world.add(*NAMES)
    await world.run("old")
    world.bad = {"old"}
    await world.run("old")
    await begin(world, *NAMES)
    assert world.on.surroundings.storms.storm is not None
    await world.passes(2)
    assert "reminder old" in await world.told()


@pytest.mark.parametrize("after", [0, 1, 2, 3])
async def test_a_restart_anywhere_changes_no_message_of_a_storm(world: World, after: int) -> None:
    world.add(*NAMES)
    told = []
    for step in range(4):
        if step == 0:
            await begin(world, *NAMES)
        elif step == 1:
            await world.passes(30)
        elif step == 2:
            world.bad = {"j"}
            await world.run(*"abcdef")
            world.on.line.running |= {"g", "h", "i", "j"}  # nobody gets to look at these
            await world.passes(2)
            world.on.line.running -= {"g", "h", "i", "j"}
        else:
            await world.passes(5)
        if step == after:
            world.restart()
        told += await world.told()
    first = [*(f"raised {name}" for name in "abcde"), f"raised {NETWORK}"]
    assert told == [*first, *(f"resolved {name}" for name in "abcde"), f"resolved {NETWORK}", "raised j"]


# The clock


@pytest.mark.parametrize("step", [-7200.0, 7200.0])
async def test_a_step_of_the_clock_neither_ends_a_storm_nor_a_wait(world: World, step: float) -> None:
    world.add("gateway")
    world.add("shop", above=["gateway"])
    world.add(*NAMES)
    await begin(world, *NAMES)
    world.on.line.running.add("gateway")
    world.bad.add("shop")
    await world.run("shop")
    await world.told()
    world.on.time.step(step)
    await world.passes(10)
    assert await world.told() == []
    await world.passes(5)
    assert await world.told() == []  # the storm holds it, too
    world.on.line.running.discard("gateway")


@pytest.mark.parametrize("kind", ["suspend", "pause"])
async def test_after_a_standstill_the_patience_begins_anew(world: World, kind: str) -> None:
    world.add("gateway")
    world.add("shop", above=["gateway"])
    world.on.line.running.add("gateway")
    world.bad = {"shop"}
    await world.run("shop")
    await world.passes(5)
    if kind == "suspend":
        world.on.time.suspend(3600.0)
    else:
        world.on.time.pass_by(3600.0)
    await world.passes(10)
    assert await world.told() == []
    await world.passes(5)
    assert await world.told() == ["raised shop"]
    world.on.line.running.discard("gateway")


@pytest.mark.parametrize("step", [-7200.0, 7200.0])
async def test_a_step_of_the_clock_neither_ends_nor_prolongs_a_wait(world: World, step: float) -> None:
    world.add("gateway")
    world.add("shop", above=["gateway"])
    await world.run("gateway")
    world.on.line.running.add("gateway")
    world.bad = {"shop"}
    await world.passes(1)
    await world.run("shop")
    await world.passes(5)
    world.on.time.step(step)
    await world.passes(6)
    assert await world.told() == []
    await world.passes(2)
    assert await world.told() == ["raised shop"]
    world.on.line.running.discard("gateway")


async def test_after_a_standstill_a_hold_begins_anew(world: World) -> None:
    world.add("shop", policy=Policy(hold=60.0))
    world.bad = {"shop"}
    await world.run("shop")
    await world.passes(10)
    world.on.time.suspend(3600.0)
    await world.passes(58)
    assert await world.told() == []
    await world.passes(5)
    assert await world.told() == ["raised shop"]


async def test_a_check_that_recovers_and_fails_again_is_news_each_time(world: World) -> None:
    world.add(*NAMES)
    world.watch_the_network("operators")
    await world.run(NETWORK, *NAMES)
    for _ in range(2):
        await world.passes(61)
        world.bad = {*"abcd"}
        await world.run(*"abcd")
        await world.passes(61)
        world.bad = set()
        await world.run(*NAMES)
    assert world.on.surroundings.storms.storm is None
    await world.passes(61)
    world.bad = {*NAMES}
    await world.run(*NAMES)
    await world.passes(1)
    assert world.on.surroundings.storms.storm is not None


async def test_a_storm_does_not_come_back_for_what_it_left_behind(world: World) -> None:
    world.add(*NAMES)
    await begin(world, *NAMES)
    world.bad = {*"abcd"}
    await world.run(*"efghij")
    await world.passes(5)
    await world.run(*"abcd")
    await world.passes(5)
    assert (await world.on.store.events(NETWORK))[0].kind is Kind.RESOLVED
    assert world.on.surroundings.storms.storm is None


async def test_after_a_standstill_a_storm_still_holds(world: World) -> None:
    world.add(*NAMES)
    await begin(world, *NAMES)
    await world.told()
    world.on.time.suspend(3600.0)
    await world.passes(30)
    assert await world.told() == []

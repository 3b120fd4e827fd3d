from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from heartbeat.control import Refused
from heartbeat.core.model import DeliveryState, Kind
from heartbeat.core.policy import Policy
from heartbeat.core.quiet import Maintenance, Matcher, Order, QuietKind, Span
from heartbeat.line import run_slot
from heartbeat.orders.asking import Ask
from heartbeat.orders.given import Orders
from heartbeat.orders.upkeep import Upkeep
from heartbeat.state import Live
from heartbeat.store.quiet import load, past
from heartbeat.testing.bench import Bench, a_check, bench, down, ok


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as on:
        yield on


@pytest.fixture
def orders(on: Bench) -> Orders:
    quiet = on.surroundings.quiet
    on.scheduler.is_off = quiet.is_disabled
    return Orders(Upkeep(on.dispatch, on.scheduler, quiet))


def ask(**changes: Any) -> Ask:
    return Ask.model_validate({"by": "alice", "reason": "deploy"} | changes)


async def run(on: Bench, live: Live) -> None:
    await run_slot(on.line, live, on.line.clock.now())


async def pass_by(on: Bench, orders: Orders, seconds: int = 1) -> None:
    """Let seconds pass, each with its ticks."""
    for _ in range(seconds):
        on.time.pass_by(1.0)
        orders.upkeep.tick()
        on.ticker._tick()
        while on.dispatch.tasks:
            await asyncio.gather(*on.dispatch.tasks)


async def suppressed(on: Bench) -> list[str]:
    return [one.note for one in await on.store.deliveries(state=DeliveryState.SUPPRESSED)]


async def test_a_silence_keeps_back_what_begins_and_what_still_fails_at_its_end_is_told_at_once(
    on: Bench, orders: Orders
) -> None:
    live = on.enlist(a_check(behave=down))
    answer = await orders.silence("", ask(checks=["sh*"], lasts=60))
    said = "silenced by alice until Fri 15 Jan 2027 08:01:00 UTC: deploy"
    assert (answer["message"], answer["warning"]) == (f"{said}; it covers 1 check: shop", "")
    assert [one.id for one in await on.store.ask(load)] == [answer["order"]["id"]]
    await run(on, live)
    await pass_by(on, orders, 58)
    assert on.inbox.kinds == []
    assert await suppressed(on) == [said]
    await pass_by(on, orders, 3)
    await on.inbox.wait(1)
    (told,) = on.inbox.deliveries
    assert (told.event.kind, told.event.why) == (Kind.RAISED, f"it was kept back until now: {said}")
    (over,) = await on.store.ask(partial(past, limit=9))
    assert over.why_ended == "its time was over"


async def test_who_heard_of_the_beginning_hears_of_the_end_under_a_silence_and_nobody_else_does(
    on: Bench, orders: Orders
) -> None:
    told, untold = on.enlist(a_check("told", down)), on.enlist(a_check("untold", down))
    await run(on, told)
    await on.inbox.wait(1)
    await orders.silence("", ask(checks=["*"], lasts=60))
    await run(on, untold)
    for live in (told, untold):
        live.config = replace(live.config, check=a_check(behave=ok).check)
        await run(on, live)
    await pass_by(on, orders, 120)
    await on.inbox.wait(2)
    assert [(one.event.check, one.event.kind) for one in on.inbox.deliveries] == [
        ("told", Kind.RAISED),
        ("told", Kind.RESOLVED),
    ]
    assert (await suppressed(on))[0].startswith("nobody was told that it began: silenced by alice")


async def test_a_silence_that_is_ended_by_hand_tells_at_once_and_stays_on_record(on: Bench, orders: Orders) -> None:
    live = on.enlist(a_check(behave=down))
    first = await orders.silence("", ask(checks=["*"], lasts=3600))
    await orders.silence("", ask(checks=["other-*"], lasts=3600))
    await run(on, live)
    identity = first["order"]["id"]
    answer = await orders.end_silence(identity[4:9], ask(by="bob", reason="done"))
    assert answer["order"]["why_ended"] == "ended by bob: done"
    await pass_by(on, orders)
    await on.inbox.wait(1)
    assert [(one.id, one.why_ended) for one in await on.store.ask(partial(past, limit=9))] == [
        (identity, "ended by bob: done")
    ]


@pytest.mark.parametrize(
    ("name", "said"), [("", "no silence begins"), ("x", "no silence"), ("sil_", "several silences")]
)
async def test_only_one_silence_is_ended(on: Bench, orders: Orders, name: str, said: str) -> None:
    for _ in range(2):
        await orders.silence("", ask(checks=["*"], lasts=60))
    with pytest.raises(Refused, match=said) as refused:
        await orders.end_silence(name, ask())
    assert refused.value.status == 404
    assert len(orders.quiet.orders) == 2


async def test_until_all_is_well_lasts_as_long_as_anything_that_it_covers_is_open(on: Bench, orders: Orders) -> None:
    first, second, other = (on.enlist(a_check(name, down)) for name in ("shop-a", "shop-b", "other"))
    for live in (first, second, other):
        await run(on, live)
    await orders.silence("", ask(checks=["shop-*"], until_recovered=True))
    for live in (first, second):
        await pass_by(on, orders, 3)
        assert len(orders.quiet.orders) == 1
        live.config = replace(live.config, check=a_check(behave=ok).check)
        await run(on, live)
    await pass_by(on, orders)
    assert orders.quiet.orders == {}
    (over,) = await on.store.ask(partial(past, limit=9))
    assert over.why_ended == "all that it covers is well again"


async def test_until_all_is_well_is_refused_where_all_is_well(on: Bench, orders: Orders) -> None:
    on.enlist(a_check())
    with pytest.raises(Refused, match="nothing that this covers is wrong at the moment"):
        await orders.silence("", ask(checks=["*"], until_recovered=True))


async def test_a_check_that_is_not_there_is_refused_with_the_nearest(on: Bench, orders: Orders) -> None:
    on.enlist(a_check("shop-login"))
    for asked in (
        orders.silence("", ask(checks=["shop-logn"], lasts=60)),
        orders.disable("shop-logn", ask()),
        orders.enable("shop-logn", ask()),
        orders.acknowledge("shop-logn", ask()),
    ):
        with pytest.raises(Refused, match='there is no check "shop-logn"; did you mean "shop-login"') as refused:
            await asked
        assert refused.value.status == 404
    answer = await orders.silence("", ask(checks=["nothing-*"], lasts=60))
    assert answer["message"].endswith("it covers no check at the moment")


async def test_a_silence_of_all_names_the_first_few(on: Bench, orders: Orders) -> None:
    for number in range(8):
        on.enlist(a_check(f"shop-{number}"))
    answer = await orders.silence("", ask(checks=["*"], lasts=60))
    assert answer["message"].endswith("it covers 8 checks: shop-0, shop-1, shop-2, shop-3, shop-4 and 3 more")


async def test_maintenance_by_hand_is_a_silence_with_a_name(on: Bench, orders: Orders) -> None:
    live = on.enlist(a_check(behave=down))
    orders.quiet.adopt([Maintenance("nightly", Matcher(("*",)), Span(0.0, 1.0), "backup")])
    answer = await orders.maintain("", ask(name="racks", checks=["*"], lasts=60))
    assert answer["message"].startswith("maintenance racks of alice until")
    await run(on, live)
    assert on.inbox.kinds == []
    for name, said in (("racks", "is under way; end it first"), ("nightly", "in the configuration; choose another")):
        with pytest.raises(Refused, match=said):
            await orders.maintain("", ask(name=name, checks=["*"], lasts=60))
    with pytest.raises(Refused, match="nightly is configured; change it there"):
        await orders.end_maintenance("nightly", ask())
    with pytest.raises(Refused, match='no maintenance "rack s" is under way'):
        await orders.end_maintenance("rack s", ask())
    await orders.end_maintenance("racks", ask(reason=""))
    await pass_by(on, orders)
    await on.inbox.wait(1)


async def test_maintenance_during_an_incident_keeps_back_reminders_and_never_the_end(on: Bench, orders: Orders) -> None:
    live = on.enlist(a_check(behave=down, policy=Policy(remind=5.0)))
    await run(on, live)
    await on.inbox.wait(1)
    incident = live.status.incident
    await orders.maintain("", ask(name="racks", checks=["*"], lasts=10))
    await pass_by(on, orders, 9)
    assert on.inbox.kinds == [Kind.RAISED]
    assert live.status.incident
    assert incident
    assert live.status.incident.id == incident.id
    await pass_by(on, orders, 3)
    await on.inbox.wait(2)
    assert on.inbox.deliveries[1].event.why.startswith("it was kept back until now: maintenance racks of alice until")
    await orders.maintain("", ask(name="racks", checks=["*"], lasts=10))
    live.config = replace(live.config, check=a_check(behave=ok).check)
    await run(on, live)
    await on.inbox.wait(3)
    assert on.inbox.kinds == [Kind.RAISED, Kind.REMINDER, Kind.RESOLVED]


async def test_what_is_acknowledged_is_not_reminded_of_until_it_ends(on: Bench, orders: Orders) -> None:
    live = on.enlist(a_check(behave=down, policy=Policy(remind=5.0, escalate=8.0)))
    await run(on, live)
    await on.inbox.wait(1)
    answer = await orders.acknowledge("shop", ask(reason=""))
    assert answer["message"] == "1 incident of shop acknowledged by alice: no reminders until it ends"
    again = await orders.acknowledge("shop", ask(by="bob"))
    assert again["message"] == "1 incident of shop acknowledged by bob in place of alice: no reminders until it ends"
    await pass_by(on, orders, 30)
    assert on.inbox.kinds == [Kind.RAISED]
    assert [one.owner for one in await on.store.ask(load)] == ["bob"]
    live.config = replace(live.config, check=a_check(behave=ok).check)
    await run(on, live)
    await pass_by(on, orders)
    assert sorted(one.why_ended for one in await on.store.ask(partial(past, limit=9))) == [
        "acknowledged again by bob",
        "what was acknowledged has ended",
    ]
    live.config = replace(live.config, check=a_check(behave=down).check)
    await run(on, live)  # a new incident is nobody's yet
    await pass_by(on, orders, 6)
    await on.inbox.wait(4)
    assert on.inbox.kinds == [Kind.RAISED, Kind.RESOLVED, Kind.RAISED, Kind.REMINDER]


async def test_an_incident_is_acknowledged_by_how_its_id_begins(on: Bench, orders: Orders) -> None:
    live, well = on.enlist(a_check(behave=down)), on.enlist(a_check("well"))
    await run(on, live)
    await run(on, well)
    assert live.status.incident
    identity = live.status.incident.id
    answer = await orders.acknowledge(identity[4:12], ask())
    assert answer["order"]["incidents"] == [identity]
    with pytest.raises(Refused, match="nothing is open of well"):
        await orders.acknowledge("well", ask())
    with pytest.raises(Refused, match='no incident "inc_0" is open'):
        await orders.acknowledge("inc_0", ask())
    live.status = replace(live.status, absent=replace(live.status.incident, id=identity[:12] + "x"))
    with pytest.raises(Refused, match="several open incidents begin with"):
        await orders.acknowledge(identity[:12], ask())


async def test_a_check_that_is_off_is_withdrawn_does_not_run_and_says_nothing(on: Bench, orders: Orders) -> None:
    live = on.enlist(a_check(behave=down))
    on.scheduler.plan("shop", live.config.schedule, is_new=True)
    await run(on, live)
    await on.inbox.wait(1)
    answer = await orders.disable("shop", ask(reason="moved away"))
    assert answer["message"] == "shop is off until somebody switches it on: heartbeat enable shop"
    await on.inbox.wait(2)
    assert on.inbox.deliveries[1].event.kind is Kind.WITHDRAWN
    assert on.inbox.deliveries[1].event.why == "disabled by alice: moved away"
    assert on.scheduler.next_run("shop") is None
    on.scheduler.plan("shop", live.config.schedule, is_new=False)  # as a reload does
    assert on.scheduler.next_run("shop") is None
    assert (live.up, live.last_run, live.status.incident) == (None, None, None)
    with pytest.raises(Refused, match="shop is off already: disabled by alice: moved away"):
        await orders.disable("shop", ask())


async def test_a_check_that_is_on_again_runs_at_once(on: Bench, orders: Orders) -> None:
    live = on.enlist(a_check(behave=down))
    await orders.disable("shop", ask())
    answer = await orders.enable("shop", ask(by="bob", reason=""))
    assert answer["message"] == "shop is on again and runs now"
    assert on.scheduler.next_run("shop") is not None
    await on.inbox.wait(1)
    assert on.inbox.kinds == [Kind.RAISED]
    assert live.up is False
    assert await on.store.ask(load) == []
    with pytest.raises(Refused, match="shop is not off"):
        await orders.enable("shop", ask())


async def test_a_run_that_was_under_way_decides_nothing_of_a_check_that_is_off(on: Bench, orders: Orders) -> None:
    go_on, under_way = asyncio.Event(), asyncio.Event()

    async def slow(_: object) -> None:
        under_way.set()
        await go_on.wait()
        await down(_)  # type: ignore[arg-type]  # it looks at nothing

    live = on.enlist(a_check(behave=slow))
    running = asyncio.create_task(run(on, live))
    await under_way.wait()
    await orders.disable("shop", ask())
    go_on.set()
    await running
    await pass_by(on, orders)
    assert (on.inbox.kinds, live.up, live.last_run, live.status.incident) == ([], None, None, None)


async def test_where_the_store_fails_it_holds_in_memory_says_so_and_is_recorded_when_the_store_is_back(
    on: Bench, orders: Orders
) -> None:
    live = on.enlist(a_check(behave=down))
    with on.locked_store():
        answer = await orders.silence("", ask(checks=["*"], lasts=60))
        assert answer["warning"].startswith("it holds in memory only, and is forgotten if the daemon ends")
        orders.upkeep.tick()  # the store still fails: it is not tried again yet
        assert on.dispatch.tasks == set()
    await run(on, live)
    assert on.inbox.kinds == []
    await pass_by(on, orders)
    assert [one.id for one in await on.store.ask(load)] == [answer["order"]["id"]]
    assert orders.upkeep.unrecorded == {}


async def test_what_ended_before_it_could_be_recorded_does_not_come_back(on: Bench, orders: Orders) -> None:
    with on.locked_store():
        answer = await orders.silence("", ask(checks=["*"], lasts=60))
        await orders.end_silence(answer["order"]["id"], ask())
    await on.store.forget("nobody")
    await pass_by(on, orders)
    assert await on.store.ask(load) == []
    assert len(await on.store.ask(partial(past, limit=9))) == 1


async def test_a_secret_in_a_reason_is_kept_nowhere(on: Bench) -> None:
    upkeep = Upkeep(on.dispatch, on.scheduler, on.surroundings.quiet)
    orders = Orders(upkeep, lambda text: text.replace("hunter2", "<redacted>"))
    await orders.silence("", ask(checks=["*"], lasts=60, reason="the password is hunter2"))
    assert [one.reason for one in await on.store.ask(load)] == ["the password is <redacted>"]


async def test_more_than_can_be_meant_is_refused(on: Bench, orders: Orders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heartbeat.orders.given.AT_MOST", 2)
    for _ in range(2):
        await orders.silence("", ask(checks=["*"], lasts=60))
    with pytest.raises(Refused, match="which is the most"):
        await orders.silence("", ask(checks=["*"], lasts=60))


async def test_a_daemon_that_stops_takes_no_orders(on: Bench, orders: Orders) -> None:
    on.line.closing.set()
    with pytest.raises(Refused, match="the daemon is stopping"):
        await orders.silence("", ask(checks=["*"], lasts=60))


# What an earlier life of the daemon was asked for


async def test_a_restart_changes_nothing_of_what_is_quiet(on: Bench, orders: Orders) -> None:
    live = on.enlist(a_check(behave=down))
    await orders.silence("", ask(checks=["*"], lasts=60))
    await orders.disable("shop", ask())
    before = orders.quiet.orders
    again = Upkeep(on.dispatch, on.scheduler, type(orders.quiet)())
    await again.recall({})
    assert again.quiet.orders == before
    assert again.quiet.reason(live.config, on.line.clock.now()) == "disabled by alice: deploy"


async def test_what_is_open_of_a_check_that_a_crash_left_off_is_withdrawn_at_the_start(
    on: Bench, orders: Orders
) -> None:
    live = on.enlist(a_check(behave=down))
    await run(on, live)
    await on.inbox.wait(1)
    off = Order("dis_1", QuietKind.DISABLED, Matcher(("shop",)), "alice", "moved", on.line.clock.now(), name="shop")
    await on.store.keep(off)  # the crash came after this
    await orders.upkeep.recall({})
    await orders.upkeep.enforce()
    await on.inbox.wait(2)
    assert on.inbox.kinds == [Kind.RAISED, Kind.WITHDRAWN]
    assert on.scheduler.next_run("shop") is None


async def test_orders_follow_a_check_to_its_new_name_at_a_reload_and_at_the_start(on: Bench, orders: Orders) -> None:
    on.enlist(a_check("old"))
    await orders.disable("old", ask())
    await orders.silence("", ask(checks=["old", "x-*"], lasts=60))
    renamed = {"new": a_check("new", was="old"), "heir": a_check("heir", was="new")}
    orders.upkeep.follow({"heir": renamed["heir"], "new": a_check("new")})  # the old name is still in use
    assert orders.quiet.is_disabled("old")
    orders.upkeep.follow(renamed | {"heir": a_check("heir")})
    assert (orders.quiet.is_disabled("old"), orders.quiet.is_disabled("new")) == (False, True)
    await pass_by(on, orders)
    again = Upkeep(on.dispatch, on.scheduler, type(orders.quiet)())
    await again.recall({"heir": renamed["heir"]})
    assert again.quiet.is_disabled("heir")
    assert {one.matcher.checks for one in again.quiet.orders.values()} == {("heir",), ("heir", "x-*")}


async def test_a_silence_whose_end_came_while_we_were_down_is_over(on: Bench, orders: Orders) -> None:
    live = on.enlist(a_check(behave=down))
    await orders.silence("", ask(checks=["*"], lasts=60))
    on.time.pass_by(61)
    assert orders.quiet.reason(live.config, on.line.clock.now()) == ""
    await pass_by(on, orders)
    assert await on.store.ask(load) == []


async def test_a_step_of_the_clock_leaves_the_ends_where_people_put_them(on: Bench, orders: Orders) -> None:
    live = on.enlist(a_check(behave=down))
    answer = await orders.silence("", ask(checks=["*"], lasts=7200))
    end = answer["order"]["end"]
    on.time.step(3600.0)
    await pass_by(on, orders)
    assert [one.end for one in orders.quiet.orders.values()] == [end]
    await run(on, live)
    assert await suppressed(on) == ["silenced by alice until Fri 15 Jan 2027 10:00:00 UTC: deploy"]
    on.time.step(3600.0)
    await pass_by(on, orders, 2)
    await on.inbox.wait(1)

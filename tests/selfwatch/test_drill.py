from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from heartbeat import CheckFailed, Probe
from heartbeat.config.model import Drill
from heartbeat.core.model import Address, Delivery, DeliveryState, Kind
from heartbeat.core.policy import Routes
from heartbeat.core.schedule import Cron
from heartbeat.selfwatch.drill import Drills, judge, make_event
from heartbeat.store import Entry
from heartbeat.testing.bench import NOON, Bench, bench

HOURLY = Drill("oncall", Cron("30 * * * *"), 300.0, ("operators",))
HALF_PAST = NOON + 1800.0  # NOON is 08:00:00 UTC


def delivery(state: DeliveryState, recipient: str = "", receiver: str = "oncall", note: str = "") -> Delivery:
    event = make_event(HOURLY, NOON)
    return Delivery(f"dlv_{recipient}", event, Address(receiver, f"{receiver}/email", recipient), state, note=note)


def judged(*deliveries: Delivery, after: float = 10.0) -> str | None:
    return judge(HOURLY, make_event(HOURLY, NOON), deliveries, NOON + after)


# What became of a drill


def test_a_drill_is_well_when_every_way_acknowledged_it() -> None:
    acknowledged = DeliveryState.ACKNOWLEDGED

    assert judged(delivery(acknowledged, "a@example.com"), delivery(acknowledged, "b@example.com"), after=9999) == ""


@pytest.mark.parametrize("state", [DeliveryState.PENDING, DeliveryState.LEASED])
def test_a_drill_is_open_until_its_time_is_over(state: DeliveryState) -> None:
    assert judged(delivery(state), after=300.0) is None
    said = judged(delivery(state, "a@example.com", note="connection refused"), after=301.0)
    assert said == (
        "the drill of Fri 15 Jan 2027 08:00:00 UTC was not acknowledged within 5m "
        "by oncall/email a@example.com (connection refused)"
    )


def test_a_drill_that_was_refused_is_told_at_once() -> None:
    said = judged(delivery(DeliveryState.DEAD, note="550 no such user"), delivery(DeliveryState.PENDING))

    assert said is not None
    assert "550 no such user" in said


def test_a_drill_for_which_there_is_no_way_out_is_told_at_once() -> None:
    said = judged(delivery(DeliveryState.SUPPRESSED, receiver="", note="no receiver is configured"))

    assert said is not None
    assert "no receiver is configured" in said


def test_what_the_fallback_acknowledged_does_not_count() -> None:
    said = judged(delivery(DeliveryState.DEAD), delivery(DeliveryState.ACKNOWLEDGED, receiver="fallback"))

    assert said is not None


def test_nothing_is_known_of_a_drill_that_is_not_recorded() -> None:
    assert judged(after=9999) is None


def test_the_ways_that_failed_are_listed_within_bounds() -> None:
    said = judged(*(delivery(DeliveryState.DEAD, f"{name}@example.com") for name in "abcde"))

    assert said is not None
    assert "c@example.com and 2 more" in said
    assert "d@example.com" not in said


def test_each_drill_is_an_incident_of_its_own_and_marked() -> None:
    one, other = make_event(HOURLY, NOON), make_event(HOURLY, NOON + 1)

    assert len({one.id, other.id}) == len({one.incident, other.incident}) == 2
    assert make_event(HOURLY, NOON) == one
    assert one.kind is Kind.DRILL
    assert "drill" in one.sentence


# When one is sent, and who misses its answer


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as on:
        yield on


async def start(on: Bench, *drills: Drill) -> Drills:
    made = Drills(on.dispatch)
    made.adopt(drills or (HOURLY,))
    await made.recall()
    return made


async def sent(on: Bench) -> None:
    await asyncio.gather(*on.dispatch.tasks)


async def find(drills: Drills, receiver: str = "oncall") -> tuple[str, Probe]:
    probe = Probe()
    try:
        await drills.courses[receiver].check.check.run(probe)
    except CheckFailed as error:
        return error.sentence, probe
    return "", probe


async def settle(on: Bench, state: DeliveryState, note: str = "") -> None:
    (told,) = await on.store.deliveries(limit=1)
    await on.store.settle(replace(told, state=state, note=note))


async def test_a_drill_goes_out_once_at_its_time_and_its_acknowledgement_is_seen(on: Bench) -> None:
    drills = await start(on)
    drills.tick()
    on.time.pass_by(1799.0)
    drills.tick()
    assert on.dispatch.tasks == set()
    assert (await find(drills))[0] == ""
    on.time.pass_by(1.0)
    drills.tick()
    drills.tick()
    await sent(on)
    assert await on.inbox.wait(1) == ["drill heartbeat.drill.oncall"]
    await on.outbox.drain(5.0)
    on.time.pass_by(301.0)
    problem, probe = await find(drills)
    assert problem == ""
    assert probe.measurements["drill_age_seconds"] == pytest.approx(301.0)
    (told,) = await on.store.deliveries()
    assert (told.event.kind, told.event.at) == (Kind.DRILL, HALF_PAST)
    assert told.state is DeliveryState.ACKNOWLEDGED


async def test_the_check_tells_the_other_receivers(on: Bench) -> None:
    drills = await start(on)
    (check,) = drills.checks()

    assert (check.name, check.notify) == ("heartbeat.drill.oncall", Routes(("operators",)))


async def fly(on: Bench, drills: Drills) -> None:
    """Send a drill that stays where it is: the outbox has come to its end."""
    await on.outbox.drain(1.0)
    on.time.pass_by(1800.0 - on.line.clock.now() % 1800.0 + 1800.0 * (on.line.clock.now() % 3600.0 >= 1800.0))
    drills.tick()
    await sent(on)


async def test_a_drill_that_is_not_acknowledged_in_time_fails_the_check_until_it_is(on: Bench) -> None:
    drills = await start(on)
    await fly(on, drills)
    on.time.pass_by(299.0)
    assert (await find(drills))[0] == ""
    on.time.pass_by(2.0)
    assert "not acknowledged within 5m by oncall/kept" in (await find(drills))[0]
    await settle(on, DeliveryState.ACKNOWLEDGED)
    assert (await find(drills))[0] == ""


async def test_the_next_drill_does_not_clear_the_failure_of_the_last_before_it_is_acknowledged(on: Bench) -> None:
    drills = await start(on)
    await fly(on, drills)
    await settle(on, DeliveryState.DEAD, "550 no such user")
    assert "550" in (await find(drills))[0]
    on.time.pass_by(3600.0)
    drills.tick()
    await sent(on)
    assert len(await on.store.deliveries()) == 2
    assert "550" in (await find(drills))[0]
    await settle(on, DeliveryState.ACKNOWLEDGED)
    assert (await find(drills))[0] == ""


async def test_a_restart_forgets_neither_a_drill_nor_its_failure(on: Bench) -> None:
    drills = await start(on)
    await fly(on, drills)
    await settle(on, DeliveryState.DEAD, "550 no such user")
    on.time.pass_by(3600.0)
    drills.tick()
    await sent(on)
    again = await start(on)
    assert [one.courses["oncall"].last.id for one in (again, drills)] == [  # type: ignore[union-attr]  # both have one
        told.event.id for told in await on.store.deliveries(limit=1) * 2
    ]
    assert "550" in (await find(again))[0]
    on.time.pass_by(301.0)
    assert "within 5m" in (await find(again))[0]


async def test_a_drill_missed_while_the_daemon_was_down_is_made_up_for_within_the_hour(on: Bench) -> None:
    drills = await start(on)
    await fly(on, drills)
    on.time.pass_by(3600.0 + 1799.0)
    again = await start(on)
    again.tick()
    await sent(on)
    assert len(await on.store.deliveries()) == 2
    on.time.pass_by(3.0 * 3600)
    weekly = replace(HOURLY, schedule=Cron("30 8 * * *"))
    later = await start(on, weekly)
    later.tick()
    assert on.dispatch.tasks == set()


async def test_no_drill_before_the_first_one_is_made_up_for(on: Bench) -> None:
    on.time.pass_by(1801.0)
    drills = await start(on)
    drills.tick()

    assert on.dispatch.tasks == set()


async def test_a_clock_set_back_does_not_silence_drills(on: Bench) -> None:
    drills = await start(on)
    drills.tick()
    on.time.step(-86400.0)
    on.line.clock.tick(1.0)
    drills.tick()
    on.time.pass_by(1800.0)
    drills.tick()
    await sent(on)

    assert await on.inbox.wait(1) == ["drill heartbeat.drill.oncall"]


async def test_what_the_store_cannot_say_stays_as_it_was(on: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from heartbeat.store import StoreFailed

    drills = await start(on)
    await fly(on, drills)
    await settle(on, DeliveryState.DEAD, "550 no such user")
    await find(drills)

    async def fail(**_: Any) -> list[Delivery]:
        raise StoreFailed("the disk hangs")

    monkeypatch.setattr(on.store, "deliveries", fail)
    assert "550" in (await find(drills))[0]


async def test_a_reload_keeps_what_is_known_and_an_unchanged_drill_is_the_same_check(on: Bench) -> None:
    drills = await start(on)
    await fly(on, drills)
    before = drills.checks()
    drills.adopt((replace(HOURLY),))
    assert drills.checks() == before
    drills.adopt((replace(HOURLY, within=60.0),))
    assert drills.checks() != before
    on.time.pass_by(61.0)
    assert "within 1m" in (await find(drills))[0]
    drills.adopt(())
    assert drills.checks() == ()


async def test_only_drills_are_looked_up_and_not_the_alerts_about_them(on: Bench) -> None:
    drills = await start(on)
    await fly(on, drills)
    last = drills.courses["oncall"].last
    assert last is not None
    raised = replace(last, id="evt_x", kind=Kind.RAISED, incident="inc_x", at=last.at + 400.0)
    committed = on.store.write(Entry(check=last.check, events=(raised,), deliveries=()))
    assert committed is not None
    await committed
    found = (await start(on)).courses["oncall"].last

    assert found is not None
    assert found.id == last.id

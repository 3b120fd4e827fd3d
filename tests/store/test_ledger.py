from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from heartbeat.core.model import DeliveryState, Kind
from heartbeat.store import Entry, Store, ledger

Opened = Callable[..., Awaitable[Store]]


async def write(store: Store, entry: Entry) -> None:
    committed = store.write(entry)
    assert committed is not None
    await committed


async def ids(store: Store, **query: Any) -> list[str]:
    return [one.event.id for one in await store.ask(partial(ledger.deliveries, **query))]


async def test_the_latest_deliveries_come_first_and_within_the_limit(opened: Opened, make: Any) -> None:
    store = await opened()
    for number in range(3):
        await write(store, make.raised(number))

    assert await ids(store) == ["evt_shop_2", "evt_shop_1", "evt_shop_0"]
    assert await ids(store, limit=1) == ["evt_shop_2"]


async def test_deliveries_are_found_by_incident_check_and_state(opened: Opened, make: Any) -> None:
    store = await opened()
    await write(store, make.raised(1))
    await write(store, make.raised(2, "cart", state=DeliveryState.DEAD, note="550"))

    assert await ids(store, incident="inc_shop_1") == ["evt_shop_1"]
    assert await ids(store, check="cart") == ["evt_cart_2"]
    assert await ids(store, state=DeliveryState.DEAD) == ["evt_cart_2"]
    assert await ids(store, state=DeliveryState.DEAD, check="shop") == []


async def test_an_incident_is_found_by_the_beginning_that_stands_in_the_subject_of_a_mail(
    opened: Opened, make: Any
) -> None:
    store = await opened()
    await write(store, make.raised(1))
    await write(store, make.raised(12))
    await write(store, make.raised(2, "cart"))

    assert await ids(store, incident="cart") == ["evt_cart_2"]
    assert await ids(store, incident="inc_cart") == ["evt_cart_2"]
    assert await ids(store, incident="art") == []
    assert await ids(store, incident="%") == []
    assert await store.ask(partial(ledger.incidents, beginning="cart")) == ["inc_cart_2"]
    assert sorted(await store.ask(partial(ledger.incidents, beginning="shop_1"))) == ["inc_shop_1", "inc_shop_12"]
    assert await store.ask(partial(ledger.incidents, beginning="nope")) == []


async def test_one_delivery_is_found_by_its_id(opened: Opened, make: Any) -> None:
    store = await opened()
    entry = make.raised(1)
    await write(store, entry)

    found = await store.ask(partial(ledger.delivery_of, identity=entry.deliveries[0].id))
    assert found is not None
    assert found.event.id == "evt_shop_1"
    assert await store.ask(partial(ledger.delivery_of, identity="dlv_nope")) is None


async def test_the_events_of_an_incident_come_in_order(opened: Opened, make: Any) -> None:
    store = await opened()
    raised = make.raised(1)
    event = replace(raised.events[0], id="evt_2", kind=Kind.RESOLVED, sequence=2)
    resolved = Entry(check="shop", events=(event,), deliveries=(make.delivery(event),))
    await write(store, resolved)
    await write(store, raised)
    await write(store, make.raised(3))

    found = await store.ask(partial(ledger.events_of, incident="inc_shop_1"))
    assert [one.kind for one in found] == [Kind.RAISED, Kind.RESOLVED]


async def test_the_latest_drills_of_a_check_are_found(opened: Opened, make: Any) -> None:
    store = await opened()
    for number in range(4):
        entry = make.raised(number)
        kind = Kind.RAISED if number == 3 else Kind.DRILL
        event = replace(entry.events[0], kind=kind)
        await write(store, Entry(check="shop", events=(event,), deliveries=(make.delivery(event),)))

    found = await store.ask(partial(ledger.drills, check="shop"))
    assert [one.id for one in found] == ["evt_shop_2", "evt_shop_1"]
    assert await store.ask(partial(ledger.drills, check="cart")) == []

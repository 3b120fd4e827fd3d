from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from heartbeat.config.model import History
from heartbeat.core.model import Address, Delivery, DeliveryState, Event, Kind, Reason, Severity
from heartbeat.redaction import Redactor
from heartbeat.store import Entry, Store
from heartbeat.web.deliveries import Ask, delivery_routes, nobody

NOON = 1_800_000_000.0
REDACT = Redactor({"TOKEN": "hunter2-hunter2"})


def make_event(number: int = 1, check: str = "shop", kind: Kind = Kind.RAISED) -> Event:
    return Event(
        f"evt_{check}_{number}", kind, check, f"inc_{check}", number, NOON + number, Severity.OK, Severity.FAIL,
        NOON, Reason.STATUS, "answers hunter2-hunter2\x1b[31m",
    )  # fmt: skip


def make_delivery(event: Event, **changes: Any) -> Delivery:
    address = Address("oncall", "oncall/email", "a@example.com")
    return replace(Delivery(f"dlv_{event.id}", event, address, next_at=NOON + 60), **changes)


@asynccontextmanager
async def client_of(ask: Ask) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Starlette(routes=delivery_routes(ask, REDACT)))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "heartbeat.db", history=History(), clock=lambda: NOON)
    yield store
    await store.close()


@pytest.fixture
async def client(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    raised, resolved = make_event(1), make_event(2, kind=Kind.RESOLVED)
    dead = make_delivery(resolved, state=DeliveryState.DEAD, attempts=3, note="550 hunter2-hunter2", done_at=NOON + 9)
    for delivery in (make_delivery(raised, attempts=1, note="421 busy"), dead, make_delivery(make_event(1, "cart"))):
        committed = store.write(Entry(check=delivery.event.check, events=(delivery.event,), deliveries=(delivery,)))
        assert committed is not None
        await committed
    async with client_of(store.ask) as client:
        yield client


async def test_a_delivery_says_who_was_told_what_when_with_what_answer(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/deliveries?incident=inc_shop&state=dead")

    assert answer.json() == {
        "deliveries": [
            {
                "id": "dlv_evt_shop_2",
                "event": "evt_shop_2",
                "incident": "inc_shop",
                "sequence": 2,
                "check": "shop",
                "kind": "resolved",
                "track": "target",
                "severity": "fail",
                "sentence": "works again after 2s",
                "at": NOON + 2,
                "receiver": "oncall",
                "channel": "oncall/email",
                "recipient": "a@example.com",
                "state": "dead",
                "attempts": 3,
                "sealed_at": None,
                "done_at": NOON + 9,
                "next_at": None,
                "answer": "550 <redacted:TOKEN>",
                "why": "",
                "batch": None,
            }
        ]
    }


async def test_the_latest_deliveries_come_first_within_the_limit(client: httpx.AsyncClient) -> None:
    everything = (await client.get("/api/v1/deliveries")).json()["deliveries"]
    one = (await client.get("/api/v1/deliveries?limit=1")).json()["deliveries"]
    shop = (await client.get("/api/v1/deliveries?check=shop")).json()["deliveries"]

    assert [each["event"] for each in everything] == ["evt_cart_1", "evt_shop_2", "evt_shop_1"]
    assert one == everything[:1]
    assert shop == everything[1:]
    assert shop[1]["next_at"] == NOON + 60


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("limit=0", "the limit must be a whole number from 1 to 500"),
        ("limit=501", "from 1 to 500"),
        ("limit=%C2%B2", "from 1 to 500"),
        ("limit=999999999999", "from 1 to 500"),
        ("state=lost", "the state must be one of pending, leased, acknowledged, dead, suppressed"),
        ("incidents=x", "there is no parameter 'incidents', only incident, check, state, limit"),
        ("hunter2-hunter2=x", "<redacted:TOKEN>"),
    ],
)
async def test_a_query_that_makes_no_sense_is_refused_with_a_sentence(
    client: httpx.AsyncClient, query: str, said: str
) -> None:
    answer = await client.get(f"/api/v1/deliveries?{query}")

    assert answer.status_code == 400
    assert said in answer.json()["error"]


@pytest.mark.parametrize("name", ["inc_shop", "shop", "inc_sh"])
async def test_an_incident_is_its_events_and_who_was_told(client: httpx.AsyncClient, name: str) -> None:
    incident = (await client.get(f"/api/v1/incidents/{name}")).json()

    assert (incident["id"], incident["check"]) == ("inc_shop", "shop")
    assert [event["kind"] for event in incident["events"]] == ["raised", "resolved"]
    assert incident["events"][0]["sentence"] == "answers <redacted:TOKEN> [31m"
    assert [one["event"] for one in incident["deliveries"]] == ["evt_shop_2", "evt_shop_1"]


async def test_an_unknown_incident_and_one_that_is_not_clear_are_not_found(client: httpx.AsyncClient) -> None:
    unknown = await client.get("/api/v1/incidents/hunter2-hunter2")
    several = await client.get("/api/v1/incidents/inc_")

    assert (unknown.status_code, unknown.json()) == (404, {"error": "there is no incident '<redacted:TOKEN>'"})
    assert (several.status_code, several.json()) == (404, {"error": "several incidents begin with 'inc_'"})


@pytest.mark.parametrize("path", ["/api/v1/deliveries", "/api/v1/incidents/inc_shop"])
async def test_a_store_that_cannot_be_read_is_said(path: str) -> None:
    async with client_of(nobody) as client:
        answer = await client.get(path)

    assert (answer.status_code, answer.json()) == (503, {"error": "there is no store"})


async def test_reading_is_not_changing(client: httpx.AsyncClient) -> None:
    assert (await client.post("/api/v1/deliveries")).status_code == 405

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from heartbeat.demo import orders, shop
from heartbeat.demo.shop import PASSWORD, USER, Fault, Shop


@pytest.fixture
def the_shop() -> Shop:
    return Shop()


@pytest.fixture
async def client(the_shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(the_shop.app()), base_url="http://shop") as client:
        yield client


async def test_a_login_gives_a_token_and_the_plan(client: httpx.AsyncClient, the_shop: Shop) -> None:
    answer = await client.post("/api/login", json={"user": USER, "password": PASSWORD})
    assert answer.status_code == 200
    assert set(answer.json()) == {"token", "plan"}
    assert the_shop.served.all == ["/api/login"]


@pytest.mark.parametrize(
    ("body", "status"),
    [(b'{"user": "synthetic", "password": "guess"}', 401), (b"nonsense", 400), (b"\xff", 400), (b"[]", 400)],
)
async def test_a_wrong_login_is_refused(client: httpx.AsyncClient, body: bytes, status: int) -> None:
    assert (await client.post("/api/login", content=body)).status_code == status


async def test_a_broken_shop_answers_500_while_its_health_page_says_ok(
    client: httpx.AsyncClient, the_shop: Shop
) -> None:
    the_shop.fault = Fault.ERROR
    assert (await client.get("/api/products")).status_code == 500
    assert (await client.get("/health")).json() == {"status": "ok"}


async def test_an_empty_shelf_looks_well_to_those_who_read_the_status_only(
    client: httpx.AsyncClient, the_shop: Shop
) -> None:
    the_shop.fault = Fault.WRONG
    answer = await client.get("/api/products")
    assert (answer.status_code, answer.json()) == (200, {"products": []})


async def test_a_slow_shop_gives_the_right_answer(
    client: httpx.AsyncClient, the_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shop, "SLOW_SECONDS", 0.01)
    the_shop.fault = Fault.SLOW
    answer = await client.get("/api/products")
    assert answer.json()["products"][0]["name"] == "kettle"
    assert answer.elapsed.total_seconds() >= 0.01


async def test_it_can_be_broken_and_repaired_from_outside(client: httpx.AsyncClient, the_shop: Shop) -> None:
    assert (await client.post("/-/break/wrong")).status_code == 200
    assert the_shop.fault is Fault.WRONG
    assert (await client.post("/-/break/everything")).status_code == 404
    assert the_shop.fault is Fault.WRONG
    await client.post("/-/repair")
    assert (await client.get("/api/products")).json()["products"]


async def logged_in(client: httpx.AsyncClient) -> dict[str, str]:
    answer = await client.post("/api/login", json={"user": USER, "password": PASSWORD})
    return {"Authorization": f"Bearer {answer.json()['token']}"}


async def test_an_order_can_be_made_read_and_taken_back(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "SHOWN_AFTER", 0.0)
    headers = await logged_in(client)
    made = await client.post("/api/orders", json={"reference": "mine"}, headers=headers)
    assert (made.status_code, made.json()["reference"]) == (201, "mine")
    where = f"/api/orders/{made.json()['id']}"
    assert (await client.get(where, headers=headers)).json() == made.json()
    assert (await client.get("/api/orders", headers=headers)).json() == {"orders": [made.json()]}
    assert (await client.delete(where, headers=headers)).status_code == 204
    assert (await client.delete(where, headers=headers)).status_code == 404
    assert (await client.get(where, headers=headers)).status_code == 404


async def test_a_new_order_is_not_shown_at_once(client: httpx.AsyncClient) -> None:
    headers = await logged_in(client)
    made = await client.post("/api/orders", json={"reference": "mine"}, headers=headers)
    assert (await client.get(f"/api/orders/{made.json()['id']}", headers=headers)).status_code == 404


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("POST", ""), ("DELETE", ""), ("GET", "/1"), ("DELETE", "/1")]
)
async def test_orders_are_for_those_who_logged_in(client: httpx.AsyncClient, method: str, path: str) -> None:
    assert (await client.request(method, f"/api/orders{path}", json={"reference": "x"})).status_code == 401
    wrong = {"Authorization": "Bearer made-up"}
    assert (
        await client.request(method, f"/api/orders{path}", json={"reference": "x"}, headers=wrong)
    ).status_code == 401


async def test_each_part_of_an_order_can_be_broken(
    client: httpx.AsyncClient, the_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "SHOWN_AFTER", 0.0)
    headers = await logged_in(client)
    made = (await client.post("/api/orders", json={"reference": "mine"}, headers=headers)).json()
    assert (await client.post("/api/orders", content=b"[]", headers=headers)).status_code == 400
    the_shop.fault = Fault.HALF
    assert (await client.post("/api/orders", json={"reference": "x"}, headers=headers)).status_code == 500
    assert [order["reference"] for order in the_shop.orders.all()] == ["mine", "x"]
    assert (await client.delete("/api/orders?reference=x", headers=headers)).json() == {"taken_back": 1}
    assert [order["reference"] for order in the_shop.orders.all()] == ["mine"]
    the_shop.fault = Fault.LOST
    assert (await client.get(f"/api/orders/{made['id']}", headers=headers)).status_code == 404
    the_shop.fault = Fault.KEPT
    assert (await client.delete(f"/api/orders/{made['id']}", headers=headers)).status_code == 500
    assert (await client.delete("/api/orders?reference=mine", headers=headers)).status_code == 500
    the_shop.fault = Fault.LOGIN
    assert (await client.post("/api/login", json={"user": USER, "password": PASSWORD})).status_code == 401

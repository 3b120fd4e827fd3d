from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from heartbeat.core.model import Address, Outcome, Reason, Result, Severity
from heartbeat.core.policy import Routes
from heartbeat.core.quiet import Matcher, Order, QuietKind
from heartbeat.core.status import Acknowledgement, Incident, Status
from heartbeat.core.trace import trace_id
from heartbeat.web.app import create_app

Serve = Callable[[Any], Awaitable[httpx.AsyncClient]]
Make = Callable[..., Any]


def opened(**changes: Any) -> Incident:
    return replace(Incident("inc_1", 900.0, 1, 900.0, 950.0, Severity.FAIL), **changes)


@pytest.mark.parametrize(
    ("status", "state", "severity"),
    [
        (Status(), "ok", "ok"),
        (Status(fail=True), "fail", "fail"),
        (Status(absent=opened()), "missed", None),
        (Status(absent=opened(), fail=True), "missed", "fail"),
        (Status(broken=True, broken_incident=opened()), "broken", "ok"),
        (Status(flapping=opened()), "flapping", "ok"),
    ],
)
async def test_how_a_check_stands_is_one_word_and_one_that_does_not_run_is_not_ok(  # noqa: PLR0917 - fixtures, and the columns of a table
    serve: Serve, view: Make, make: Make, ok: Result, status: Status, state: str, severity: str | None
) -> None:
    live = make("shop", ok)
    live.status = status
    client = await serve(create_app(view(live)))
    told = (await client.get("/api/v1/checks/shop")).json()
    assert (told["state"], told["severity"]) == (state, severity)


async def test_what_is_open_is_told_track_by_track(serve: Serve, view: Make, make: Make, ok: Result) -> None:
    live = make("shop", ok)
    told = (Address("oncall", "oncall/email", "b@x.test"), Address("oncall", "oncall/email", "a@x.test"))
    anna = Acknowledgement("anna", "hunter2-hunter2 is at it", 990.0)
    live.status = Status(
        fail=True,
        incident=opened(told=told, first_told=960.0, acknowledged=anna, escalated=True),
        absent=opened(id="inc_2", opened=0.0, untold="silenced by hunter2-hunter2"),
    )
    client = await serve(create_app(view(live)))

    target, runs = (await client.get("/api/v1/checks/shop")).json()["incidents"]

    assert target == {
        "id": "inc_1",
        "track": "target",
        "since": 900.0,
        "opened": 950.0,
        "severity": "fail",
        "told": ["oncall/email"],
        "first_told": 960.0,
        "untold": None,
        "acknowledged": {"by": "anna", "why": "<redacted:TOKEN> is at it", "at": 990.0},
        "escalated": True,
    }
    assert (runs["track"], runs["severity"], runs["opened"]) == ("runs", None, 900.0)
    assert (runs["told"], runs["untold"]) == ([], "silenced by <redacted:TOKEN>")


def order(kind: QuietKind, reason: str = "deploy") -> Order:
    return Order("ord_1", kind, Matcher(("shop",)), "anna", reason, 1000.0)


async def test_what_keeps_messages_back_is_told_with_its_reason(
    serve: Serve, view: Make, make: Make, ok: Result
) -> None:
    seen = view(make("shop", ok), make("cart", ok))
    seen.surroundings.quiet.put(order(QuietKind.SILENCE, "hunter2-hunter2"))
    client = await serve(create_app(seen))

    shop, cart = (await client.get("/api/v1/checks")).json()["checks"]
    page = (await client.get("/metrics")).text

    assert (shop["state"], shop["suppressed"]["reason"], cart["suppressed"]) == ("ok", "silence", None)
    assert shop["suppressed"]["sentence"].startswith("silenced by anna")
    assert shop["suppressed"]["sentence"].endswith("<redacted:TOKEN>")
    lines = [line for line in page.split("\n") if line.startswith("heartbeat_check_suppressed")]
    assert lines == ['heartbeat_check_suppressed{check="shop",type="http",location="eu",reason="silence"} 1']


async def test_a_check_that_is_switched_off_does_not_look_well(
    serve: Serve, view: Make, make: Make, ok: Result
) -> None:
    seen = view(make("shop", ok))
    seen.surroundings.quiet.put(order(QuietKind.DISABLED))
    client = await serve(create_app(seen))

    told = (await client.get("/api/v1/checks/shop")).json()
    page = (await client.get("/metrics")).text

    assert (told["state"], told["severity"]) == ("disabled", None)
    assert "heartbeat_check_severity" not in page
    assert 'reason="disabled"} 1\n' in page


async def test_a_check_says_what_it_holds_back_and_the_other_why_it_is_not_told_of(
    serve: Serve, view: Make, make: Make
) -> None:
    bad = Result(Outcome.FAIL, 0.1, Reason.CONNECT, "refused")
    gateway, shop = make("gateway", bad), make("shop", bad)
    gateway.status = Status(fail=True, since=990.0, incident=opened())
    shop.status = Status(fail=True, since=995.0, incident=opened(untold="gateway fails"))
    gateway.config = replace(gateway.config, notify=Routes(("oncall",)))
    shop.config = replace(shop.config, depends_on=("gateway",))
    seen = view(gateway, shop)
    seen.surroundings.adopt({live.config.name: live.config for live in (gateway, shop)}, None)
    client = await serve(create_app(seen))

    parent, child = (await client.get("/api/v1/checks")).json()["checks"]

    assert (parent["holds_back"], parent["suppressed"]) == (["shop"], None)
    assert (child["depends_on"], child["suppressed"]["reason"]) == (["gateway"], "dependency")
    assert "gateway" in child["suppressed"]["sentence"]


@pytest.mark.parametrize("marked", [True, False])
async def test_a_run_that_told_of_itself_gives_the_trace_to_search_for(
    serve: Serve, view: Make, make: Make, ok: Result, *, marked: bool
) -> None:
    live = make("shop", replace(ok, marked=marked))
    client = await serve(create_app(view(live)))
    told = (await client.get("/api/v1/checks/shop")).json()
    assert told["trace_id"] == (trace_id(told["run"]) if marked else None)

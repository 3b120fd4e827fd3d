from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from starlette.applications import Starlette

from heartbeat.config.model import History
from heartbeat.core.quiet import Maintenance, Matcher, Order, QuietKind, Recurring, Span, end
from heartbeat.core.schedule import Cron
from heartbeat.quiet.times import Quiet
from heartbeat.redaction import Redactor
from heartbeat.store import Store
from heartbeat.web.deliveries import Ask, nobody
from heartbeat.web.quiet import quiet_routes

NOON = 1_800_000_000.0  # Fri 15 Jan 2027 08:00:00 UTC
REDACT = Redactor({"TOKEN": "hunter2-hunter2"})
SILENCE = Order(
    "sil_1", QuietKind.SILENCE, Matcher(("shop-*",), ("http",), (("team", "hunter2-hunter2"),)), "alice",
    "it is hunter2-hunter2\x1b[31m", NOON, NOON + 60,
)  # fmt: skip
OFF = Order("dis_1", QuietKind.DISABLED, Matcher(("till",)), "bob", "moved", NOON, name="till")


@asynccontextmanager
async def client_of(quiet: Quiet, ask: Ask = nobody, now: float = NOON) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Starlette(routes=quiet_routes(quiet, lambda: now, ask, REDACT)))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def test_what_is_quiet_is_told_by_kind_and_without_secrets() -> None:
    quiet = Quiet()
    quiet.put(SILENCE)
    quiet.put(OFF)
    async with client_of(quiet) as client:
        answer = (await client.get("/api/v1/quiet")).json()
    assert answer.keys() == {"silences", "maintenance", "disabled", "acknowledgements"}
    assert [one["id"] for one in answer["disabled"]] == ["dis_1"]
    assert answer["silences"] == [
        {
            "id": "sil_1",
            "kind": "silence",
            "name": "",
            "checks": ["shop-*"],
            "types": ["http"],
            "labels": {"team": "<redacted:TOKEN>"},
            "owner": "alice",
            "reason": "it is <redacted:TOKEN> [31m",
            "start": NOON,
            "end": NOON + 60,
            "until_recovered": False,
            "incidents": [],
            "open": True,
            "ended": None,
            "why_ended": "",
            "configured": False,
        }
    ]


async def test_a_configured_window_says_when_it_is_open_now_and_next() -> None:
    quiet = Quiet()
    night = Recurring(Cron("30 7 * * *", "UTC"), 3600.0)
    quiet.adopt(
        [
            Maintenance("nightly", Matcher(("*",)), night, "backup"),
            Maintenance("soon", Matcher(("*",)), Span(NOON + 60, NOON + 120), "move"),
            Maintenance("over", Matcher(("*",)), Span(NOON - 60, NOON), "moved"),
        ]
    )
    async with client_of(quiet) as client:
        found = (await client.get("/api/v1/quiet")).json()["maintenance"]
    times = ("name", "open", "start", "end", "next_start", "next_end", "cron", "duration")
    assert [tuple(one[key] for key in times) for one in found] == [
        ("nightly", True, NOON - 1800, NOON + 1800, NOON + 84_600, NOON + 88_200, "30 7 * * *", 3600.0),
        ("soon", False, NOON + 60, NOON + 120, NOON + 60, NOON + 120, None, None),
        ("over", False, None, None, None, None, None, None),
    ]


async def test_what_has_ended_is_told_where_it_is_asked_for(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "heartbeat.db", history=History(), clock=lambda: NOON)
    await store.keep(end(SILENCE, NOON + 9, "ended by bob: hunter2-hunter2"))
    async with client_of(Quiet(), store.ask) as client:
        short, full = [(await client.get(f"/api/v1/quiet{query}")).json() for query in ("", "?all=1")]
    await store.close()
    assert short["silences"] == []
    (one,) = full["silences"]
    assert (one["open"], one["ended"], one["why_ended"]) == (False, NOON + 9, "ended by bob: <redacted:TOKEN>")


async def test_a_store_that_does_not_answer_is_said_and_keeps_back_nothing_else() -> None:
    async with client_of(Quiet()) as client:
        assert (await client.get("/api/v1/quiet?all=1")).status_code == 503
        assert (await client.get("/api/v1/quiet")).status_code == 200
        assert (await client.post("/api/v1/quiet")).status_code == 405


async def test_one_whose_time_is_over_is_not_open_even_before_it_is_ended() -> None:
    quiet = Quiet()
    quiet.put(SILENCE)
    async with client_of(quiet, now=NOON + 60) as client:
        (one,) = (await client.get("/api/v1/quiet")).json()["silences"]
    assert one["open"] is False

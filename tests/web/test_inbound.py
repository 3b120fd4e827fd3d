from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from structlog.testing import capture_logs

from heartbeat.check import Reply, Report
from heartbeat.testing.bench import until
from heartbeat.web.guard import Guard
from heartbeat.web.inbound import BODY_BYTES, DROPPED_BYTES, Inbound
from heartbeat.web.serve import open_port, serving

TOKEN = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"
Taken = list[tuple[str, Report]]


@asynccontextmanager
async def inbound(reply: Reply | None = None, wait: asyncio.Event | None = None) -> AsyncIterator[tuple[str, Taken]]:
    taken: Taken = []

    def find(path: str) -> tuple[str, str] | None:
        _, _, rest = path.partition(f"/ping/{TOKEN}")
        return ("job", rest.strip("/")) if path.startswith(f"/ping/{TOKEN}") else None

    async def accept(name: str, report: Report) -> Reply:
        taken.append((name, report))
        if wait:
            await wait.wait()
        return reply or Reply(headers={"Ping-Body-Limit": "100000"})

    routes = [Route("/metrics", lambda _: PlainTextResponse("metrics"))]
    ours = [Middleware(Guard, host="127.0.0.1", answer_within=0.5), Middleware(Inbound, find=find, accept=accept)]
    app = Starlette(routes=routes, middleware=ours)
    async with serving(app, open_port("127.0.0.1", 0), grace=1) as address:
        yield f"http://{address}", taken
    await asyncio.sleep(0)  # let transports finish closing


async def ask(method: str, url: str, **more: Any) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.request(method, url, **more)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT"])
async def test_a_report_is_taken_by_any_of_these_methods_and_answered_in_a_word(method: str) -> None:
    async with inbound() as (url, taken):
        answer = await ask(method, f"{url}/ping/{TOKEN}/start?rid=1&rid=2&create=")
    assert (answer.status_code, answer.text) == (200, "" if method == "HEAD" else "OK")
    assert answer.headers["Ping-Body-Limit"] == "100000"
    assert answer.headers["Content-Length"] == "2"
    assert answer.headers["Connection"] == "close"
    assert taken == [("job", Report(method, "start", {"rid": "2", "create": ""}, b"", "127.0.0.1"))]


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_refused(method: str) -> None:
    async with inbound() as (url, taken):
        answer = await ask(method, f"{url}/ping/{TOKEN}")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, POST, PUT")
    assert taken == []


async def test_of_a_long_body_the_beginning_is_kept_and_the_rest_is_read() -> None:
    body = b"a" * BODY_BYTES + b"b" * 1_000_000
    async with inbound() as (url, taken):
        answer = await ask("POST", f"{url}/ping/{TOKEN}", content=body)
    assert answer.status_code == 200
    assert taken[0][1].body == body[:BODY_BYTES]


async def test_a_body_without_an_end_is_taken_and_cut_off() -> None:
    async with inbound() as (url, taken):
        host, _, port = url.removeprefix("http://").partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"POST /ping/" + TOKEN.encode() + b" HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        sent = 0
        while sent < DROPPED_BYTES + 1_000_000 and not taken:
            writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            sent += 0x10000
            await writer.drain()
        await until(lambda: taken)
        writer.close()
    assert len(taken[0][1].body) == BODY_BYTES


@pytest.mark.parametrize("path", ["/ping/unknown", "/ping", "/favicon.ico", "/ping/../metrics2", "/" + "a/" * 50, "//"])
async def test_an_unknown_address_is_not_found_and_not_repeated(path: str) -> None:
    async with inbound() as (url, taken):
        answer = await ask("POST", f"{url}{path}", content=b"x" * 1000)
    assert (answer.status_code, answer.text in ("not found", "Not Found")) == (404, True)
    assert taken == []


async def test_our_own_addresses_are_passed_on() -> None:
    async with inbound() as (url, _):
        assert (await ask("GET", f"{url}/metrics")).text == "metrics"


async def test_an_answer_of_the_check_is_given_as_it_is() -> None:
    async with inbound(Reply(429, "too many at once", runs=False, headers={"Retry-After": "1"})) as (url, _):
        answer = await ask("GET", f"{url}/ping/{TOKEN}")
    assert (answer.status_code, answer.text, answer.headers["Retry-After"]) == (429, "too many at once", "1")


async def test_the_address_is_in_no_log_when_an_answer_takes_too_long() -> None:
    with capture_logs() as logs:
        async with inbound(wait=asyncio.Event()) as (url, _):
            answer = await ask("GET", f"{url}/ping/{TOKEN}")
    assert (answer.status_code, answer.text) == (503, "The answer was not ready in time.\n")
    assert [line["event"] for line in logs] == ["an answer was not taken in time"]
    assert TOKEN not in str(logs)


@pytest.mark.parametrize("query", ["rid", "&&&", "%ff=%ff", "a=1&" * 100, "rid=%00"])
async def test_a_strange_query_is_no_mistake_of_ours(query: str) -> None:
    async with inbound() as (url, taken):
        assert (await ask("GET", f"{url}/ping/{TOKEN}?{query}")).status_code == 200
    assert len(taken) == 1

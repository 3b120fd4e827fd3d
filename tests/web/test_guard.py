from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from heartbeat.web.guard import Guard, host_of, is_loopback

Serve = Callable[[Any], Awaitable[httpx.AsyncClient]]
HELLO = PlainTextResponse("hello")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9780", "127.0.0.1", "127.0.0.2:1", "[::1]:9780", "localhost."]
)
async def test_a_loopback_host_is_answered(serve: Serve, host: str) -> None:
    client = await serve(Guard(HELLO, "127.0.0.1"))

    assert (await client.get("/", headers={"Host": host})).text == "hello"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9780", "10.0.0.1", "localhost.evil.example", "[::", ""])
async def test_another_host_is_refused_on_loopback(serve: Serve, host: str) -> None:
    client = await serve(Guard(HELLO, "localhost"))

    answer = await client.get("/", headers={"Host": host})

    assert answer.status_code == 421
    assert "localhost" in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "monitor.example"])
async def test_every_host_is_answered_on_other_addresses(serve: Serve, host: str) -> None:
    client = await serve(Guard(HELLO, host))

    assert (await client.get("/", headers={"Host": "monitor.example"})).text == "hello"


async def test_an_answer_that_nobody_takes_is_cut_off(serve: Serve) -> None:
    cut = asyncio.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            await asyncio.Event().wait()
        finally:
            cut.set()

    client = await serve(Guard(endless, "", answer_within=0.05))

    with pytest.raises(httpx.RemoteProtocolError):
        await client.get("/")
    assert cut.is_set()


async def test_a_timeout_of_the_app_itself_is_passed_on() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise TimeoutError("mine")

    async def nothing() -> Any:
        return None

    async def ignore(_: Any) -> None:
        return None

    with pytest.raises(TimeoutError, match="mine"):
        await Guard(failing)({"type": "http", "headers": [], "path": "/"}, nothing, ignore)


def test_hosts_are_read_as_a_browser_writes_them() -> None:
    assert host_of("a.example:80") == "a.example"
    assert host_of("[::1]:80") == "::1"
    assert host_of("[bad") == ""
    assert is_loopback("::1")
    assert not is_loopback("")

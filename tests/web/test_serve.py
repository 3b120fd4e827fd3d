from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
import uvloop
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from heartbeat.web import serve as module
from heartbeat.web.serve import ListenError, address_of, open_port, serving

Serve = Callable[[Any], Awaitable[httpx.AsyncClient]]
HELLO = PlainTextResponse("hello")


async def fetch(address: str) -> str:
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(f"http://{address}/")).text


async def test_port_zero_takes_a_free_one_and_tells_it() -> None:
    async with serving(HELLO, open_port("127.0.0.1", 0)) as address:
        assert int(address.rpartition(":")[2]) > 0
        assert await fetch(address) == "hello"


def test_it_works_on_uvloop() -> None:
    async def main() -> str:
        async with serving(HELLO, open_port("127.0.0.1", 0)) as address:
            return await fetch(address)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main()) == "hello"


async def test_signals_are_left_to_the_daemon() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    async with serving(HELLO, open_port("127.0.0.1", 0)):
        during = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    assert during == before


def test_a_taken_port_is_a_clear_message() -> None:
    with open_port("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(
            ListenError, match=rf"cannot listen on 127.0.0.1:{port}: Address already in use; .*web.listen"
        ):
            open_port("127.0.0.1", port)


def test_an_address_of_another_machine_is_a_clear_message() -> None:
    with pytest.raises(ListenError, match=r"cannot listen on 192.0.2.1:0: .*change web.listen"):
        open_port("192.0.2.1", 0)


def test_addresses_are_written_as_in_a_url() -> None:
    try:
        listener = open_port("::1", 0)
    except ListenError:
        pytest.skip("this machine has no IPv6 on loopback")
    with listener:
        assert address_of(listener).startswith("[::1]:")


async def test_nothing_listens_afterwards() -> None:
    async with serving(HELLO, open_port("127.0.0.1", 0)) as address:
        await fetch(address)

    with pytest.raises(httpx.ConnectError):
        await fetch(address)


async def test_an_answer_in_flight_is_finished_before_the_stop() -> None:
    arrived, go = asyncio.Event(), asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        arrived.set()
        await go.wait()
        await HELLO(scope, receive, send)

    async with serving(slow, open_port("127.0.0.1", 0)) as address:
        request = asyncio.create_task(fetch(address))
        await arrived.wait()
        asyncio.get_running_loop().call_later(0.2, go.set)

    assert await request == "hello"


async def test_the_stop_is_bounded_when_an_answer_hangs() -> None:
    arrived = asyncio.Event()

    async def hanging(scope: Scope, receive: Receive, send: Send) -> None:
        arrived.set()
        await asyncio.Event().wait()

    started = asyncio.get_running_loop().time()
    async with serving(hanging, open_port("127.0.0.1", 0), grace=1) as address:
        request = asyncio.create_task(fetch(address))
        await arrived.wait()

    assert asyncio.get_running_loop().time() - started < 5
    assert await asyncio.gather(request, return_exceptions=True)


async def test_a_server_that_cannot_start_says_why() -> None:
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))
    address_of(closed)
    listener = Unlistenable(fileno=closed.detach())

    with pytest.raises(OSError, match="not today"):
        async with serving(HELLO, listener):
            pytest.fail("it started")


class Unlistenable(socket.socket):
    def setblocking(self, flag: bool, /) -> None:
        raise OSError("not today")


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HT"])
async def test_a_connection_that_sends_no_whole_head_is_closed(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(module, "HEADERS_WITHIN", 0.1)
    async with serving(HELLO, open_port("127.0.0.1", 0)) as address:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent[:27])
        if len(sent) > 27:
            await reader.readuntil(b"hello")
            writer.write(sent[27:])

        await asyncio.wait_for(reader.read(), 5)

        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("before", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_a_head_without_an_end_is_refused_and_not_kept(before: bytes) -> None:
    async with serving(HELLO, open_port("127.0.0.1", 0)) as address:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        if before:
            writer.write(before)
            await reader.readuntil(b"hello")
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
        for number in range(1 + module.HEAD_BYTES // 1000):
            writer.write(f"X-{number}: {'y' * 1000}\r\n".encode())
            await writer.drain()

        answer = await asyncio.wait_for(reader.read(), 5)

        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.endswith(b"The head of this request is too long.")
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_a_body_may_be_longer_than_a_head() -> None:
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
        await PlainTextResponse(str(size))(scope, receive, send)

    async with (
        serving(echo, open_port("127.0.0.1", 0)) as address,
        httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client,
    ):
        for _ in range(2):
            assert (await client.post("/", content=b"x" * 1_000_000)).text == "1000000"


async def test_a_connection_that_is_kept_alive_serves_again() -> None:
    async with (
        serving(HELLO, open_port("127.0.0.1", 0)) as address,
        httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client,
    ):
        answers = [(await client.get("/")).text for _ in range(3)]

    assert answers == ["hello"] * 3


async def test_too_many_connections_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECTIONS", 2)
    async with serving(HELLO, open_port("127.0.0.1", 0)) as address:
        host, _, port = address.rpartition(":")
        idle = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"http://{address}/")).status_code == 503
        for _, writer in idle:
            writer.close()
            await writer.wait_closed()

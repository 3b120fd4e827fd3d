"""The servers for tests do misbehave, each as its name says."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from heartbeat.plugins import discover, load_type
from heartbeat.testing import http, tcp
from heartbeat.testing.certificates import Authority
from heartbeat.testing.check import Result, run_once

Http: Any = load_type(discover().sources["http"])
Tls: Any = load_type(discover().sources["tls"])


async def heard_from(talk: tcp.Talk, words: bytes = b"hello\n") -> tuple[bytes, str]:
    """All that a peer says, and how it ends."""
    async with tcp.serve_tcp(talk) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        heard = b""
        try:
            writer.write(words)
            while len(heard) < 100_000:
                async with asyncio.timeout(0.3):
                    chunk = await reader.read(65536)
                if not chunk:
                    return heard, "closed"
                heard += chunk
        except ConnectionResetError:
            return heard, "reset"
        except TimeoutError:
            return heard, "silence"
        finally:
            writer.transport.abort()
            await asyncio.sleep(0)
        return heard, "no end"


@pytest.mark.parametrize(
    ("talk", "heard", "end"),
    [
        (tcp.silent, b"", "silence"),
        (tcp.reset, b"", "reset"),
        (tcp.hang_up_after(b"+OK hal"), b"+OK hal", "closed"),
        (tcp.reset_after(b"+OK hal"), b"+OK hal", "reset"),
        (tcp.drip(b"+OK", 0.01), b"+OK", "silence"),
        (tcp.slow(0.05, tcp.hang_up_after(b"+OK")), b"+OK", "closed"),
        (tcp.say(b"220 ready\r\n"), b"220 ready\r\n", "silence"),
    ],
)
async def test_a_peer_says_and_ends_as_it_was_told(talk: tcp.Talk, heard: bytes, end: str) -> None:
    assert await heard_from(talk) == (heard, end)


async def test_a_peer_that_closes_at_once_says_nothing() -> None:
    heard, end = await heard_from(tcp.hang_up, b"")
    assert (heard, end) == (b"", "closed")


async def test_garbage_is_the_same_each_time_and_has_no_line_end() -> None:
    first, end = await heard_from(tcp.garbage(2000))
    again, _ = await heard_from(tcp.garbage(2000))
    other, _ = await heard_from(tcp.garbage(2000, seed=1))
    assert (len(first), end) == (2000, "closed")
    assert first == again != other
    assert not set(b"\r\n") & set(first)


async def test_endless_talk_has_no_end() -> None:
    heard, end = await heard_from(tcp.endless)
    assert end == "no end"
    assert b"\n" not in heard


async def test_peers_can_behave_otherwise_with_each_connection() -> None:
    talk = tcp.in_turn(tcp.hang_up_after(b"first"), tcp.hang_up_after(b"then"))
    async with tcp.serve_tcp(talk) as port:
        said = []
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"x")
            said.append(await reader.read())
            writer.close()
            await writer.wait_closed()
    assert said == [b"first", b"then", b"then"]


async def get(behave: http.Behaviour, *, timeout: float = 2.0, **options: Any) -> Result:  # noqa: ASYNC109 - the check's
    async with http.serve(behave) as server:
        return await run_once(Http(url=server.url, **options), timeout)


@pytest.mark.parametrize(
    ("behave", "outcome", "reason"),
    [
        (http.answer(200), "ok", None),
        (http.slow(0.05, http.answer(200)), "ok", None),
        (http.answer(503), "fail", "status"),
        (http.hang_up, "fail", "reset"),
        (http.reset_after(), "fail", "reset"),
        (http.cut_off(b"half", 10), "fail", "reset"),
        (http.garbage(), "fail", "protocol"),
        (http.silent, "fail", "timeout"),
        (http.silent_after(b"HTTP/1.1 200 OK\r\n"), "fail", "timeout"),
        (http.slow(5, http.answer(200)), "fail", "timeout"),
    ],
)
async def test_the_daemon_says_of_each_what_it_is(behave: http.Behaviour, outcome: str, reason: str | None) -> None:
    result = await get(behave, timeout=0.5)
    assert (result.outcome, result.reason) == (outcome, reason), result.sentence


async def test_http_servers_can_behave_otherwise_with_each_connection() -> None:
    async with http.serve(http.in_turn(http.answer(503), http.answer(200))) as server:
        outcomes = [(await run_once(Http(url=server.url))).outcome for _ in range(3)]
    assert outcomes == ["fail", "ok", "ok"]


@pytest.mark.parametrize(
    ("names", "days", "is_known", "reason"),
    [
        ((), 30.0, True, None),
        (("other.test",), 30.0, True, "certificate"),
        ((), -1.0, True, "certificate"),
        ((), 30.0, False, "certificate"),
    ],
)
async def test_certificates_are_wrong_in_the_way_that_was_asked_for(
    tmp_path: Path, names: tuple[str, ...], days: float, reason: str | None, *, is_known: bool
) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # servers complain when clients refuse them
    authority = Authority()
    context: ssl.SSLContext = (authority if is_known else Authority()).context(*names, days=days)
    ca_file = authority.write(tmp_path / "ca.pem")
    async with tcp.serve_tcp(tcp.silent, tls=context) as port:
        result = await run_once(Tls(host="127.0.0.1", port=port, ca_file=ca_file))
    assert result.reason == reason, result.sentence

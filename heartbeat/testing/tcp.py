r"""Real TCP peers on loopback for tests: talkative, following a script, or misbehaving as real ones do.

async with serve_tcp(say(b"220 ready\r\n")) as port:
    result = await run_once(Mail(host="127.0.0.1", port=port))
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from random import Random

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serve_tcp(talk: Talk, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """Serve on a free port until the block ends; yields the port. Whoever is still connected then is cut off."""
    tasks: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        with suppress(OSError, EOFError, asyncio.CancelledError):  # a client that leaves early is the client's affair
            await talk(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(converse, host, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
        await asyncio.sleep(0)  # aborted transports close their sockets in the next turn of the loop


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take everything and say nothing."""
    while await reader.read(65536):
        pass


async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Break off at once with a RST."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close at once, orderly."""
    writer.close()
    await writer.wait_closed()


def hang_up_after(said: bytes) -> Talk:
    """Wait for the first bytes, say these, and close: half an answer, where these are half of one."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(said)
        await hang_up(reader, writer)

    return talk


def reset_after(said: bytes) -> Talk:
    """Wait for the first bytes, say these, and break off with a RST."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(said)
        await writer.drain()
        await asyncio.sleep(0.05)  # or the reset overtakes what was said
        await reset(reader, writer)

    return talk


def drip(said: bytes, interval: float) -> Talk:
    """Wait for the first bytes, and say these one by one, so many seconds apart."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        for byte in said:
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(interval)
        await silent(reader, writer)

    return talk


def slow(seconds: float, talk: Talk) -> Talk:
    """Wait so long, and behave like that then."""

    async def wait_and_talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await talk(reader, writer)

    return wait_and_talk


def garbage(size: int = 4096, seed: int = 0) -> Talk:
    """Say bytes without any sense at once, the same for the same seed, and no line end among them; then no more."""
    noise = bytes(byte for byte in Random(seed).randbytes(2 * size) if byte not in b"\r\n")[:size]  # noqa: S311 - no secret

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(noise)
        if writer.can_write_eof():  # to close while something is unread would be a reset
            writer.write_eof()
        await silent(reader, writer)

    return talk


async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Talk without an end and without a line end, as fast as it is read."""
    while True:
        writer.write(b"x" * 16384)
        await writer.drain()


def in_turn(*talks: Talk) -> Talk:
    """Behave otherwise with each connection; the last one lasts."""
    left = list(talks)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(reader, writer)

    return talk


def say(*words: bytes) -> Talk:
    """Say the first words at once, and the next after each line that comes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number, word in enumerate(words):
            if number:
                await reader.readline()
            writer.write(word)
            await writer.drain()
        await silent(reader, writer)

    return talk


def upgrade(tls: ssl.SSLContext, greeting: bytes, *dialogue: tuple[bytes, bytes]) -> Talk:
    """Greet, wait for each of the words and answer them, and go on in TLS (what STARTTLS is in every protocol)."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        for asked, answer in dialogue:
            await reader.readuntil(asked)
            writer.write(answer)
        await writer.start_tls(tls)
        await silent(reader, writer)

    return talk

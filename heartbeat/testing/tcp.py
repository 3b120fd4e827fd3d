"""Real TCP peers on loopback for tests: silent, resetting, talkative, or following a script."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

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

"""A webhook receiver on loopback that keeps what it receives, and answers, hangs, drips or resets as told."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto


class Misbehaviour(Enum):
    """What a receiver can do instead of answering."""

    HANG = auto()
    """Take the request and stay silent."""
    DRIP = auto()
    """Send the head of an answer byte by byte, and never come to its end."""
    DRIP_BODY = auto()
    """Answer 200, and send the body byte by byte for ever."""
    RESET = auto()
    """Take the request and reset the connection."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver says."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b"ok"


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it arrived; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """What arrived, and what is answered next; when the script is over, it is 200."""

    def __init__(self, *, secure: bool) -> None:
        self.host = "localhost" if secure else "127.0.0.1"
        self.scheme = "https" if secure else "http"
        self.port = 0
        self.requests: list[Received] = []
        self.answers: deque[Answer | Misbehaviour] = deque()
        self._arrived = asyncio.Condition()

    @property
    def url(self) -> str:
        """Where to post to; the path holds a secret, as real ones do."""
        return f"{self.scheme}://{self.host}:{self.port}/hook/CANARY-path"

    def script(self, *answers: Answer | Misbehaviour) -> None:
        """Give the next answers."""
        self.answers.extend(answers)

    async def wait(self, count: int, within: float = 10.0) -> list[Received]:
        """Wait until that many requests are there, and return all. Raises TimeoutError."""
        async with asyncio.timeout(within), self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= count)
        return list(self.requests)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one request of a connection and answer it."""
        with suppress(OSError, asyncio.IncompleteReadError):
            request = await _read(reader)
            async with self._arrived:
                self.requests.append(request)
                answer = self.answers.popleft() if self.answers else Answer()
                self._arrived.notify_all()
            await _answer(writer, answer)
        writer.close()


@asynccontextmanager
async def webhook_receiver(*, tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[Receiver]:
    """Serve on loopback, on a free port or the given one; with a server's context, over TLS."""
    receiver = Receiver(secure=tls is not None)
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            connections.add(task)
            task.add_done_callback(connections.discard)
        try:
            await receiver.serve(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    return Received(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


async def _answer(writer: asyncio.StreamWriter, answer: Answer | Misbehaviour) -> None:
    if isinstance(answer, Answer):
        lines = [f"HTTP/1.1 {answer.status} Scripted", f"content-length: {len(answer.body)}", "connection: close"]
        lines += [f"{name}: {value}" for name, value in answer.headers]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + answer.body)
        await writer.drain()
    elif answer is Misbehaviour.RESET:
        # SO_LINGER with zero seconds makes the close a reset.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif answer is Misbehaviour.HANG:
        await asyncio.Event().wait()
    else:
        if answer is Misbehaviour.DRIP_BODY:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        await _drip(writer)


async def _drip(writer: asyncio.StreamWriter) -> None:
    text = b"HTTP/1.1 200 OK\r\nx-slow: "
    for number in range(100_000):
        writer.write(text[number : number + 1] or b"z")
        await writer.drain()
        await asyncio.sleep(0.02)

"""HTTP servers on loopback that answer, and servers that misbehave in all the ways real ones do.

async with serve(answer(200, body=b"hello")) as server:
    await Http(url=server.url).run(probe)
assert server.requests[0].path == "/"
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from zlib import compressobj

CHUNK = 16 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it arrived; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Server:
    """A running server and what it has received so far."""

    host: str
    port: int
    scheme: str
    requests: list[Received] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        """Where it listens, with a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}/"


Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter, Server], Awaitable[None]]
"""What a server does with one connection; it is closed afterwards."""


@asynccontextmanager
async def serve(
    behave: Behaviour, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Server]:
    """Serve on a free port; on leaving, all connections are dropped."""
    tasks: set[asyncio.Task[None]] = set()
    state = Server(host, 0, "https" if tls else "http")

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state.connections += 1
        task = asyncio.current_task()
        if task is not None:
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await behave(reader, writer, state)
        writer.close()
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.wait_for(writer.wait_closed(), 1)

    listener = await asyncio.start_server(handle, host, 0, ssl=tls)
    state.port = listener.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()


async def receive(reader: asyncio.StreamReader, server: Server) -> Received:
    """Read one request and keep it."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:]) if name}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    server.requests.append(Received(method, path, headers, body))
    return server.requests[-1]


def head(status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """Return a status line and headers, ended by the empty line."""
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    return ("\r\n".join([*lines, "Connection: close"]) + "\r\n\r\n").encode("latin-1")


def answer(status: int = 200, headers: Mapping[str, str] | None = None, body: bytes = b"ok") -> Behaviour:
    """Answer every request as a decent server does."""
    return raw(head(status, {"Content-Length": str(len(body)), **(headers or {})}) + body)


def raw(said: bytes) -> Behaviour:
    """Take the request and say these very bytes."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
        received = await receive(reader, server)
        end = said.find(b"\r\n\r\n") + 4
        writer.write(said[:end] if received.method == "HEAD" and end > 3 else said)
        await writer.drain()

    return behave


def routes(paths: Mapping[str, Behaviour]) -> Behaviour:
    """Behave by path; an unknown one is answered with 404."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
        request = await reader.readuntil(b"\r\n")
        again = asyncio.StreamReader()
        again.feed_data(request + await reader.readuntil(b"\r\n\r\n"))
        with suppress(TimeoutError):  # a body follows at once or not at all
            again.feed_data(await asyncio.wait_for(reader.read(CHUNK), 0.05))
        path = request.decode("latin-1").split(" ")[1]
        await paths.get(path, answer(404))(again, writer, server)

    return behave


def redirect(location: str, status: int = 302) -> Behaviour:
    """Redirect every request."""
    return answer(status, {"Location": location}, b"")


async def endless_redirects(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
    """Redirect ``/N`` to ``/N+1``, for ever."""
    received = await receive(reader, server)
    number = int(received.path.strip("/") or 0) + 1
    writer.write(head(302, {"Content-Length": "0", "Location": f"/{number}"}))
    await writer.drain()


async def silent(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, _server: Server) -> None:
    """Accept the connection and say nothing at all, whatever comes (TLS neither)."""
    await asyncio.Event().wait()


def silent_after(said: bytes = b"") -> Behaviour:
    """Take the request, say these bytes, and then nothing more."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
        await receive(reader, server)
        writer.write(said)
        await asyncio.Event().wait()

    return behave


def reset_after(said: bytes = b"") -> Behaviour:
    """Take the request, say these bytes, and reset the connection."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
        await receive(reader, server)
        writer.write(said)
        await writer.drain()
        if said:
            await asyncio.sleep(0.05)  # or the reset overtakes what was said
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return behave


def drip(said: bytes, interval: float) -> Behaviour:
    """Take the request and say the bytes one by one, so many seconds apart."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
        await receive(reader, server)
        for byte in said:
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(interval)

    return behave


async def endless_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
    """Answer with a body that never ends, as fast as it is read."""
    await receive(reader, server)
    writer.write(head())
    while True:
        writer.write(b"x" * CHUNK)
        await writer.drain()


def gzip_bomb(size: int) -> Behaviour:
    """Answer with a small body that unpacks to so many bytes."""
    packer = compressobj(9, wbits=31)
    parts = [packer.compress(bytes(min(CHUNK, size - start))) for start in range(0, size, CHUNK)]
    return answer(200, {"Content-Encoding": "gzip"}, b"".join([*parts, packer.flush()]))


def gzipped(body: bytes) -> Behaviour:
    """Answer with a packed body, as an honest server does."""
    return answer(200, {"Content-Encoding": "gzip"}, gzip.compress(body))


async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _server: Server) -> None:
    """Close at once, orderly, whatever is asked."""
    writer.close()


def cut_off(body: bytes, missing: int = 1) -> Behaviour:
    """Promise a body that is longer by so many bytes than the one that comes, and close."""
    return raw(head(200, {"Content-Length": str(len(body) + missing)}) + body)


def garbage(size: int = 4096, seed: int = 0) -> Behaviour:
    """Answer with bytes without any sense, the same for the same seed, and no line end among them."""
    noise = Random(seed).randbytes(2 * size)  # noqa: S311 - no secret
    return raw(bytes(byte for byte in noise if byte not in b"\r\n")[:size])


def slow(seconds: float, behave: Behaviour) -> Behaviour:
    """Wait so long, and behave like that then."""

    async def wait_and_behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
        await asyncio.sleep(seconds)
        await behave(reader, writer, server)

    return wait_and_behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Behave otherwise with each connection; the last one lasts."""
    left = list(behaviours)

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(reader, writer, server)

    return behave


@contextmanager
def refusing_port() -> Iterator[int]:
    """Give a port of 127.0.0.1 that refuses connections: it is bound, so nobody else takes it, but does not listen."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@contextmanager
def unanswering_port() -> Iterator[int]:
    """Give a port of 127.0.0.1 that answers no connection attempt: its queue is full, so Linux drops what comes."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        try:
            yield full.getsockname()[1]
        finally:
            for filler in fillers:
                filler.close()

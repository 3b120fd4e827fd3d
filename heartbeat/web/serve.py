"""Serving an app on our own event loop: uvicorn without its signal handlers, on sockets that we open ourselves."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

CONNECTIONS = 300
"""More at once are answered 503."""
HEADERS_WITHIN = 10.0
"""Seconds in which a connection must have sent a whole request head, or it is closed."""
HEAD_BYTES = 16 * 1024
"""A request head that is not whole after so many is refused."""
BACKLOG = 128
GRACE = 3
"""Seconds that answers in flight have when the server stops."""
STARTED_WITHIN = 10.0


class ListenError(Exception):
    """We cannot listen where the configuration says; the sentence tells what to change."""


def open_port(host: str, port: int) -> socket.socket:
    """Listen on TCP; port 0 takes a free one (``address_of`` tells which). Raises ``ListenError``."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        both = host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(address[:2], family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        resolving = isinstance(error, socket.gaierror) or error.errno is None
        reason = str(error.strerror or error) if resolving else os.strerror(error.errno or 0)
        remedy = (
            "stop what listens there, or change web.listen" if error.errno == errno.EADDRINUSE else "change web.listen"
        )
        raise ListenError(f"cannot listen on {host}:{port}: {reason}; {remedy}") from error


def address_of(listener: socket.socket) -> str:
    """Return where a socket listens, as ``host:port``, or the path of a unix socket."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return str(name)
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@asynccontextmanager
async def serving(app: ASGIApp, listener: socket.socket, *, grace: int = GRACE) -> AsyncIterator[str]:
    """Serve the app on a listening socket while the block runs; the value is its address.

    On leaving no connection is taken any more, answers in flight have ``grace`` seconds, and the socket is closed.
    """
    server = _Server(_settings(app, grace))
    task = asyncio.create_task(server.serve(sockets=[listener]), name=f"web {address_of(listener)}")
    try:
        await _started(server, task)
        yield address_of(listener)
    finally:
        server.should_exit = True
        server.stopping.set()
        await asyncio.wait([task], timeout=grace + 2)
        if not task.done():
            task.cancel()
        listener.close()
        await asyncio.gather(task, return_exceptions=True)


def _settings(app: ASGIApp, grace: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_PatientForHeads,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=grace,
    )


async def _started(server: _Server, task: asyncio.Task[None]) -> None:
    async with asyncio.timeout(STARTED_WITHIN):
        while not server.started:
            if task.done():
                task.result()
                raise ListenError("the web server stopped while it started")
            await asyncio.sleep(0.001)


class _Server(uvicorn.Server):
    """One that leaves signals to the daemon, and wakes once a second (for the Date header) instead of ten times."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            try:
                await asyncio.wait_for(self.stopping.wait(), 1.0)
            except TimeoutError:
                continue


class _PatientForHeads(HttpToolsProtocol):
    """Refuses a request head that is late, or too long; uvicorn itself would wait for ever, and keep it all."""

    _waiting: asyncio.TimerHandle | None = None
    _head = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        cycle = self.cycle
        super().data_received(data)
        if self.cycle is not cycle:
            self._wait_no_more()
        elif _is_answered(cycle):
            self._head += len(data)
            if self._waiting is None:
                self._wait_for_head()
            if self._head > HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("The head of this request is too long.")

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        self._waiting = self.loop.call_later(HEADERS_WITHIN, self.transport.close)

    def _wait_no_more(self) -> None:
        self._head = 0
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


def _is_answered(cycle: RequestResponseCycle | None) -> bool:
    return cycle is None or cycle.response_complete

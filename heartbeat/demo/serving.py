"""Servers of the demo inside its own event loop: ports, HTTP, SMTP and DNS on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

LOOPBACK = "127.0.0.1"


def listen(preferred: int) -> socket.socket:
    """Return a listening socket on loopback: on the preferred port, or on a free one where it is taken."""
    try:
        return socket.create_server((LOOPBACK, preferred))
    except OSError:
        return socket.create_server((LOOPBACK, 0))


def port_of(sock: socket.socket) -> int:
    """Return the port that a socket is bound to."""
    port: int = sock.getsockname()[1]
    return port


def free_port(preferred: int) -> int:
    """Return a port that another process can listen on: the preferred one where it is free."""
    with listen(preferred) as sock:
        return port_of(sock)


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals belong to the demo, not to one of its servers


@asynccontextmanager
async def http_server(app: ASGIApp, sock: socket.socket, pem: Path | None = None) -> AsyncIterator[None]:
    """Serve an application on a listening socket, over TLS where ``pem`` (certificate and key) is given."""
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", ssl_certfile=pem, timeout_graceful_shutdown=1
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        yield
    finally:
        server.should_exit = True
        with suppress(asyncio.CancelledError):
            await task

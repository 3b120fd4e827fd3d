"""One TCP connection to one address, and its failures in words, for checks that speak on the wire themselves."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import perf_counter

from heartbeat.check import CheckBroken, CheckFailed
from heartbeat.core.model import Outcome
from heartbeat.core.text import plain
from heartbeat.faults import sort_fault

SOONER = 0.02
"""Seconds before the run's deadline at which a check gives up itself: its sentence names what was waited for."""


def patience(remaining: float) -> float:
    """Return how long a check may still wait, so that its own sentence comes before the runner's."""
    return max(0.0, remaining - min(SOONER, remaining / 10))


def place(host: str, port: int, address: str = "") -> str:
    """Name a target: ``shop.example.com:25 (192.0.2.1)``."""
    there = f"[{host}]:{port}" if ":" in host.strip("[]") else f"{host}:{port}"
    return there if not address or address == host.strip("[]") else f"{there} ({address})"


async def connect(address: str, port: int, *, remaining: float, name: str) -> socket.socket:
    """Connect to one address, once.

    Args:
        address: an IPv4 or IPv6 address, with its scope where it needs one.
        port: where it listens.
        remaining: seconds until the deadline of the run.
        name: what the target is called in sentences.

    Returns:
        A socket that does not block; closing it (``with sock:``) is the caller's part.

    Raises:
        CheckFailed: nobody listens, no route, no answer in time.
        CheckBroken: we have no descriptors, ports or network.
    """
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV  # no lookup: this only reads the address
    family, kind, protocol, _, there = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=flags)[0]
    with blame(f"no connection to {name}"):
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
    try:
        async with limit(remaining, f"{name} did not answer the connection attempt"):
            with blame(f"no connection to {name}"):
                await asyncio.get_running_loop().sock_connect(sock, there)
    except BaseException:
        sock.close()
        raise
    return sock


@asynccontextmanager
async def limit(remaining: float, sentence: str) -> AsyncIterator[None]:
    """Give a part of a run the time that is left. What takes longer fails with the sentence and how long it was."""
    started = perf_counter()
    try:
        async with asyncio.timeout(patience(remaining)):
            yield
    except TimeoutError as error:
        raise CheckFailed(f"{sentence} within {perf_counter() - started:.3g} s", reason="timeout") from error


@contextmanager
def blame(sentence: str, *also: type[Exception]) -> Iterator[None]:
    """Put a sentence in front of what the system says, and sort it by the table of faults.

    Time that ran out and TLS that failed pass, unless they are named in ``also``, as what libraries raise can be.
    """
    sorted_here: tuple[type[Exception], ...] = (OSError, *also)
    try:
        yield
    except sorted_here as error:
        speechless = isinstance(error, (TimeoutError, ssl.SSLError))  # OSErrors by descent, without a system's word
        if speechless and not isinstance(error, also):
            raise
        fault = sort_fault(error)
        kind = CheckBroken if fault.outcome is Outcome.ERROR else CheckFailed
        raise kind(f"{sentence}: {_said(error)}", reason=fault.reason) from error


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno:
        return os.strerror(error.errno).lower()
    return plain(str(getattr(error, "verify_message", "") or error) or type(error).__name__, 200)

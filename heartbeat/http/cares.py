"""c-ares on a running loop: channels that are lent out, one to a lookup, and used again when they did well."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import ceil
from socket import SOCK_STREAM as _STREAM
from socket import AddressFamily
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

import pycares
from pycares import errno as ares

from heartbeat.check import CheckBroken

TRIES = 4
"""How often each server is asked; the wait doubles each time, so the sum is 15 times the first wait."""
KEPT = 32
"""Channels that wait for the next lookup, at most."""
PROMPT = 0.5
"""Seconds within which a lookup went as it should. After a slower one c-ares may think less of a server."""
SYSTEM = "/etc/resolv.conf"
NOWHERE = "127.0.0.1:1"
"""A server that is added for a moment: c-ares empties its cache when its list of servers changes."""
_Kind = tuple[tuple[str, ...], int, int]
Take = Callable[[Any, Any], None]


class Line:
    """One channel, with its sockets on the loop and its timer."""

    __slots__ = ("_asked_at", "_loop", "_open", "_timer", "_watched", "channel", "kind", "took")

    def __init__(self, loop: asyncio.AbstractEventLoop, kind: _Kind) -> None:
        self.kind = kind
        self.took = 0.0
        """Seconds that the last answer took."""
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._watched: set[int] = set()
        self._open = 0
        self._asked_at = 0.0
        self.channel = _open_channel(self._watch, kind)

    def ask(self, name: str, family: AddressFamily, take: Take) -> None:
        """Ask for the addresses of a name, and call ``take(found, status)`` with the answer, now or later."""

        def taken(found: Any, status: Any) -> None:
            self._open -= 1
            self.took = monotonic() - self._asked_at
            take(found, status)

        self._open, self._asked_at = self._open + 1, monotonic()
        try:
            self.channel.getaddrinfo(name, None, family=family, type=_STREAM, callback=taken)
        except (UnicodeError, RuntimeError):  # what the IDNA codec makes of a name that cannot be one
            taken(None, ares.ARES_EBADNAME)
        self._wake()

    def forget(self) -> bool:
        """Empty the cache. False says that the channel is not as new."""
        servers = list(self.channel.servers)
        try:
            self.channel.servers = [*servers, NOWHERE]
            self.channel.servers = servers
        except (pycares.AresError, UnicodeError, ValueError):
            return False
        return not self._open and not self._watched

    def close(self) -> None:
        """Stop asking. Sockets are closed here and now; pycares frees the empty channel in the background."""
        self._stop_timer()
        with suppress(RuntimeError):  # pycares' word for a channel that is closed already
            self.channel.cancel()
        self.channel.close()

    def _watch(self, descriptor: int, readable: bool, writable: bool) -> None:
        """Called by c-ares whenever it wants something else of a socket; neither means that it closes it now."""
        if descriptor in self._watched:
            self._watched.discard(descriptor)
            self._loop.remove_reader(descriptor)
            self._loop.remove_writer(descriptor)
        if readable:
            self._loop.add_reader(descriptor, self._process, descriptor, pycares.ARES_SOCKET_BAD)
        if writable:
            self._loop.add_writer(descriptor, self._process, pycares.ARES_SOCKET_BAD, descriptor)
        if readable or writable:
            self._watched.add(descriptor)

    def _process(self, readable: int, writable: int) -> None:
        self.channel.process_fd(readable, writable)
        self._wake()

    def _wake(self) -> None:
        """Come back when c-ares wants to ask again; never sooner than 10 ms, for the grain of uvloop's timers."""
        self._stop_timer()
        if self._open:
            pause: float = self.channel.timeout()  # type: ignore[no-untyped-call]  # pycares left it untyped
            wait = min(max(pause, 0.01), 1.0)
            self._timer = self._loop.call_later(wait, self._process, pycares.ARES_SOCKET_BAD, pycares.ARES_SOCKET_BAD)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Lines:
    """The channels of one loop that wait for work."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._idle: list[Line] = []

    def take(self, servers: Sequence[str], timeout: float) -> Line:
        """Return a channel for one lookup. Raises ``CheckBroken`` where there can be none."""
        first_wait = ceil(max(timeout, 0.0) / (2**TRIES - 1)) or 1
        kind = (tuple(servers), first_wait, 0 if servers else _stamp())
        for index in range(len(self._idle) - 1, -1, -1):
            if self._idle[index].kind == kind:
                return self._idle.pop(index)
        return Line(self._loop, kind)

    def give_back(self, line: Line, *, good: bool) -> None:
        """Take a channel back after a lookup: one that had no trouble is kept, as good as new."""
        if good and line.took < PROMPT and len(self._idle) < KEPT and line.forget():
            self._idle.append(line)
        else:
            line.close()

    def close(self) -> None:
        """Close those that wait."""
        while self._idle:
            self._idle.pop().close()


_lines: WeakKeyDictionary[asyncio.AbstractEventLoop, Lines] = WeakKeyDictionary()


def lines(loop: asyncio.AbstractEventLoop) -> Lines:
    """Return the channels of a loop."""
    found = _lines.get(loop)
    if found is None:
        found = _lines[loop] = Lines(loop)
    return found


def _stamp() -> int:
    """Return what changes with the system's name servers: c-ares reads them when a channel is made."""
    try:
        return os.stat(SYSTEM).st_mtime_ns  # noqa: PTH116 - at each lookup: making a Path costs as much as looking
    except OSError:
        return 0


def _open_channel(watch: Callable[[int, bool, bool], None], kind: _Kind) -> pycares.Channel:
    servers, first_wait, _ = kind
    try:
        return pycares.Channel(sock_state_cb=watch, timeout=first_wait, tries=TRIES, servers=servers)
    except (pycares.AresError, UnicodeError) as error:
        if servers:
            raise CheckBroken(
                f"the name servers {', '.join(servers)} are not of the form address:port", reason="config"
            ) from error
        raise CheckBroken(f"the resolver did not start: {error}", reason="resource") from error

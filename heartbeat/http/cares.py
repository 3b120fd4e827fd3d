"""c-ares on a running loop: channels that are lent out, one to a lookup, and used again when they did well."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import ceil
from select import EPOLLIN, EPOLLOUT
from socket import SOCK_STREAM as _STREAM
from socket import AddressFamily
from time import monotonic
from typing import Any

import pycares
from pycares import errno as ares

from heartbeat.check import CheckBroken
from heartbeat.http.sockets import Sockets

TRIES = 4
"""How often each server is asked; the wait doubles each time, so the sum is 15 times the first wait."""
KEPT = 32
"""Channels that wait for the next lookup, at most."""
LOOK = 0.1
"""Seconds between two looks at the waits of c-ares, which are of a second and more."""
PROMPT = 0.5
"""Seconds within which a lookup went as it should. After a slower one c-ares may think less of a server."""
SYSTEM = "/etc/resolv.conf"
NOWHERE = "127.0.0.1:1"
"""A server that is added for a moment: c-ares empties its cache when its list of servers changes."""
ATTRIBUTE = "_heartbeat_http_names"
_Kind = tuple[tuple[str, ...], int, int]
Take = Callable[[Any, Any], None]


class Stub:
    """A stub resolver (RFC 1034 5.3.1): one channel of c-ares, with its sockets on the loop and its timer."""

    __slots__ = ("_asked_at", "_loop", "_open", "_servers", "_sockets", "_timer", "_watched", "channel", "kind", "took")

    def __init__(self, loop: asyncio.AbstractEventLoop, sockets: Sockets, kind: _Kind) -> None:
        self.kind = kind
        self.took = 0.0
        """Seconds that the last answer took."""
        self._loop = loop
        self._sockets = sockets
        self._timer: asyncio.TimerHandle | None = None
        self._watched: set[int] = set()
        self._open = 0
        self._asked_at = 0.0
        self.channel = _open_channel(self._watch, kind)
        self._servers = list(self.channel.servers)

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
        if self._open:
            self._wake()

    def forget(self) -> bool:
        """Empty the cache. False says that the channel is not as new."""
        self._stop_timer()
        try:
            self.channel.servers = [*self._servers, NOWHERE]
            self.channel.servers = self._servers
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
        if readable or writable:
            self._watched.add(descriptor)
            self._sockets.watch(descriptor, (EPOLLIN if readable else 0) | (EPOLLOUT if writable else 0), self._process)
        elif descriptor in self._watched:
            self._watched.discard(descriptor)
            self._sockets.forget(descriptor)

    def _process(self, descriptor: int, events: int) -> None:
        readable = descriptor if events & ~EPOLLOUT else pycares.ARES_SOCKET_BAD
        self.channel.process_fd(readable, descriptor if events & ~EPOLLIN else pycares.ARES_SOCKET_BAD)

    def _wake(self) -> None:
        """Let c-ares look, again and again, whether it is time to ask once more."""
        self._timer = self._loop.call_later(LOOK, self._look)

    def _look(self) -> None:
        self.channel.process_fd(pycares.ARES_SOCKET_BAD, pycares.ARES_SOCKET_BAD)
        if self._open:
            self._wake()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Stubs:
    """The stub resolvers of one loop that wait for work."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._sockets = Sockets(loop)
        self._idle: list[Stub] = []

    def take(self, servers: Sequence[str], timeout: float) -> Stub:
        """Return a channel for one lookup. Raises ``CheckBroken`` where there can be none."""
        first_wait = ceil(max(timeout, 0.0) / (2**TRIES - 1)) or 1
        kind = (tuple(servers), first_wait, 0 if servers else _stamp())
        for index in range(len(self._idle) - 1, -1, -1):
            if self._idle[index].kind == kind:
                return self._idle.pop(index)
        return Stub(self._loop, self._sockets, kind)

    def give_back(self, stub: Stub, *, good: bool) -> None:
        """Take a channel back after a lookup: one that had no trouble is kept, as good as new."""
        if good and stub.took < PROMPT and len(self._idle) < KEPT and stub.forget():
            self._idle.append(stub)
        else:
            stub.close()

    def close(self) -> None:
        """Close those that wait; the next lookup begins anew."""
        while self._idle:
            self._idle.pop().close()
        self._sockets.close()
        if getattr(self._loop, ATTRIBUTE, None) is self:
            delattr(self._loop, ATTRIBUTE)


def stubs(loop: asyncio.AbstractEventLoop) -> Stubs:
    """Return the stub resolvers of a loop, made when first asked for; they live on the loop and go with it."""
    found: Stubs | None = getattr(loop, ATTRIBUTE, None)
    if found is None:
        found = Stubs(loop)
        setattr(loop, ATTRIBUTE, found)
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

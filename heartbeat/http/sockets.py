"""Sockets of C libraries on a running loop: an epoll of our own watches them, and the loop watches that one.

Adding a socket to the loop itself and taking it away again would cost more than an exchange: uvloop makes and closes
an object for each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from select import epoll

EVENTS_AT_ONCE = 64
Ready = Callable[[int, int], None]
"""Takes a descriptor and what epoll says of it."""


class Sockets:
    """What is watched, and who is told."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = epoll()
        self._told: dict[int, Ready] = {}
        loop.add_reader(self._epoll.fileno(), self._look)

    def watch(self, descriptor: int, mask: int, ready: Ready) -> None:
        """Tell ``ready`` when a socket can do what the mask (EPOLLIN, EPOLLOUT) says."""
        if self._epoll.closed:
            return
        if descriptor in self._told:
            self._epoll.modify(descriptor, mask)
        else:
            self._epoll.register(descriptor, mask)
        self._told[descriptor] = ready

    def forget(self, descriptor: int) -> None:
        """Watch a socket no more."""
        if self._told.pop(descriptor, None) is not None and not self._epoll.closed:
            with suppress(OSError):  # it is closed already, and with that nobody watches it any more
                self._epoll.unregister(descriptor)

    def close(self) -> None:
        """Watch nothing more."""
        self._told.clear()
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _look(self) -> None:
        for descriptor, events in self._epoll.poll(0, EVENTS_AT_ONCE):
            if (ready := self._told.get(descriptor)) is not None:  # an earlier one may have ended it
                ready(descriptor, events)

"""libcurl's multi interface on a running loop: no thread, no polling."""

from __future__ import annotations

import asyncio
from select import EPOLLIN, EPOLLOUT
from typing import Any

import pycurl

from heartbeat.http.sockets import Sockets

MASKS = {pycurl.POLL_IN: EPOLLIN, pycurl.POLL_OUT: EPOLLOUT, pycurl.POLL_INOUT: EPOLLIN | EPOLLOUT}
TURNS = 10
"""How often libcurl may ask in a row to be called again at once; then others have their turn first."""


class Multi:
    """Drives any number of easy handles on one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._deadline: float | None = None
        self._at_once = False
        self._waiting: dict[Any, asyncio.Future[tuple[int, str]]] = {}
        self._sockets = Sockets(loop)
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_NOTHING)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._arm)

    async def perform(self, handle: Any) -> tuple[int, str]:
        """Run one handle to its end; return libcurl's code and message. Cancelling takes it out at once."""
        done: asyncio.Future[tuple[int, str]] = self._loop.create_future()
        self._waiting[handle] = done
        self._multi.add_handle(handle)
        self._go_on()
        try:
            return await done
        finally:
            self._waiting.pop(handle, None)
            self._remove(handle)

    def close(self) -> None:
        """Let go of everything, without waiting for anything; what is in flight is cancelled."""
        for handle, done in list(self._waiting.items()):
            done.cancel()
            self._remove(handle)
        self._waiting.clear()
        if not self._multi.closed:
            self._multi.close()
        self._arm(-1)
        self._sockets.close()

    def _remove(self, handle: Any) -> None:
        if not self._multi.closed and handle in self._multi:
            self._multi.remove_handle(handle)
            self._go_on()

    def _watch(self, what: int, fd: int, _multi: Any, _data: Any) -> None:
        """Watch a socket as libcurl asks."""
        if what == pycurl.POLL_REMOVE:
            self._sockets.forget(fd)
        else:
            self._sockets.watch(fd, MASKS[what], self._take_event)

    def _arm(self, milliseconds: int) -> None:
        """Set libcurl's one timer. One that comes earlier is left to find that out when it comes."""
        self._at_once = milliseconds == 0
        if milliseconds <= 0:
            self._deadline = None
            return
        self._deadline = self._loop.time() + milliseconds / 1000
        if self._timer is None or self._timer.when() > self._deadline:
            self._set_timer(self._deadline)

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._expire)

    def _expire(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self._deadline - self._loop.time() > 0.001:  # uvloop's timers have a grain of 1 ms
            self._set_timer(self._deadline)
        else:
            self._deadline = None
            self._act(pycurl.SOCKET_TIMEOUT, 0)

    def _take_event(self, fd: int, events: int) -> None:
        # An error or a hang-up is for libcurl to find out, by reading or writing as it wanted to.
        what = (pycurl.CSELECT_IN if events & ~EPOLLOUT else 0) | (pycurl.CSELECT_OUT if events & ~EPOLLIN else 0)
        self._act(fd, what)

    def _act(self, fd: int, events: int) -> None:
        self._step(fd, events)
        self._go_on()

    def _go_on(self) -> None:
        """Call libcurl again where it asked for that; it must not be called from within its own callback."""
        for _ in range(TURNS):
            if not self._at_once:
                return
            self._at_once = False
            self._step(pycurl.SOCKET_TIMEOUT, 0)
        self._loop.call_soon(self._go_on)

    def _step(self, fd: int, events: int) -> None:
        if self._multi.closed:
            return
        _, running = self._multi.socket_action(fd, events)
        if running < len(self._waiting):
            self._collect()

    def _collect(self) -> None:
        """Hand out the results of what has ended."""
        left = 1
        while left:
            left, good, bad = self._multi.info_read()
            for handle, code, message in (*((handle, 0, "") for handle in good), *bad):
                done = self._waiting.get(handle)
                if done is not None and not done.done():
                    done.set_result((code, message))

"""libcurl's multi interface on a running loop's own readers, writers and timers: no thread, no polling."""

from __future__ import annotations

import asyncio
from typing import Any

import pycurl


class Multi:
    """Drives any number of easy handles on one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.Handle | None = None
        self._watched: dict[int, int] = {}
        self._waiting: dict[Any, asyncio.Future[tuple[int, str]]] = {}
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_NOTHING)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._arm)

    async def perform(self, handle: Any) -> tuple[int, str]:
        """Run one handle to its end; return libcurl's code and message. Cancelling takes it out at once."""
        done: asyncio.Future[tuple[int, str]] = self._loop.create_future()
        self._waiting[handle] = done
        self._multi.add_handle(handle)
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
        self._arm(-1)
        for fd in list(self._watched):
            self._watch(pycurl.POLL_REMOVE, fd, None, None)
        if not self._multi.closed:
            self._multi.close()

    def _remove(self, handle: Any) -> None:
        if not self._multi.closed and handle in self._multi:
            self._multi.remove_handle(handle)

    def _watch(self, what: int, fd: int, _multi: Any, _data: Any) -> None:
        """Watch a socket as libcurl asks: POLL_IN is 1, POLL_OUT is 2, POLL_INOUT both, POLL_REMOVE 4."""
        before, wanted = self._watched.pop(fd, 0), 0 if what == pycurl.POLL_REMOVE else what
        if wanted:
            self._watched[fd] = wanted
        if (before ^ wanted) & 1:
            if wanted & 1:
                self._loop.add_reader(fd, self._act, fd, pycurl.CSELECT_IN)
            else:
                self._loop.remove_reader(fd)
        if (before ^ wanted) & 2:
            if wanted & 2:
                self._loop.add_writer(fd, self._act, fd, pycurl.CSELECT_OUT)
            else:
                self._loop.remove_writer(fd)

    def _arm(self, milliseconds: int) -> None:
        """Set libcurl's one timer. Zero means now; more is at least 1 ms, the grain of uvloop's timers."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if milliseconds == 0:
            self._timer = self._loop.call_soon(self._expire)
        elif milliseconds > 0:
            self._timer = self._loop.call_later(milliseconds / 1000, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._act(pycurl.SOCKET_TIMEOUT, 0)

    def _act(self, fd: int, events: int) -> None:
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

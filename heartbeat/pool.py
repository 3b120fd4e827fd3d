"""A bounded pool of daemonic threads for plugins with a plain ``def run``.

A thread cannot be stopped from outside. One that hangs past its deadline is given up and replaced, up to a cap; nothing
waits for it, not even the end of the process. (The standard library's executor joins its threads at exit.)
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any

from heartbeat.check import CheckBroken

THREADS = 32
STUCK_AT_MOST = 64


class PoolExhausted(Exception):  # noqa: N818 - a state of the pool, not a mistake in it
    """Every thread is taken or hanging."""


@dataclass(slots=True, eq=False)
class Call:
    """A function under way: ``outcome`` is what it returns or raises, ``ended`` is done when its thread is free."""

    function: Callable[[], Any]
    outcome: asyncio.Future[Any]
    ended: asyncio.Future[None]
    given_up: bool = False


class Pool:
    """Runs functions in threads. More than ``threads`` at once are refused, never queued."""

    def __init__(self, threads: int = THREADS, stuck_at_most: int = STUCK_AT_MOST) -> None:
        self._threads = threads
        self._stuck_at_most = stuck_at_most
        self._calls: SimpleQueue[Call] = SimpleQueue()
        self._process = os.getpid()
        self._idle = 0
        self.busy = 0
        self.stuck = 0

    def submit(self, function: Callable[[], Any]) -> Call:
        """Start the function in a thread. Raises ``PoolExhausted`` where none is free."""
        if self.busy - self.stuck >= self._threads or self.stuck >= self._stuck_at_most:
            raise PoolExhausted(f"all {self._threads} threads for plugins are taken, and {self.stuck} more hang")
        loop = asyncio.get_running_loop()
        call = Call(function, loop.create_future(), loop.create_future())
        if self._idle:
            self._idle -= 1
        else:
            self._hire(loop)
        self.busy += 1
        self._calls.put(call)
        return call

    async def run(
        self, function: Callable[[], Any], lingering: Callable[[asyncio.Future[Any]], None] | None = None
    ) -> Any:
        """Return what the function returns, or raise what it raises. One that is cancelled meanwhile is given up.

        Where it goes on then, ``lingering`` is handed what is done when it has ended.

        Raises ``CheckBroken`` where no thread is free.
        """
        try:
            call = self.submit(partial(copy_context().run, function))
        except PoolExhausted as full:
            raise CheckBroken(str(full), reason="resource") from full
        try:
            return await call.outcome
        finally:
            self.give_up(call)
            if lingering is not None and not call.ended.done():
                lingering(call.ended)

    def give_up(self, call: Call) -> None:
        """Replace the thread of a function that went past its deadline; it counts as stuck until it returns."""
        if not call.ended.done() and not call.given_up:
            call.given_up = True
            self.stuck += 1

    def _hire(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            threading.Thread(target=self._work, args=(loop,), name="heartbeat-plugin", daemon=True).start()
        except RuntimeError as error:  # the machine, or the container's limit of processes, has none left
            raise PoolExhausted(f"no thread for the plugin: {error}") from error

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            call = self._calls.get()
            value, error = None, None
            try:
                value = call.function()
            except BaseException as raised:  # noqa: BLE001 - a thread has nobody above it: the runner sorts what came
                error = raised
            if os.getpid() != self._process:  # the plugin forked, and this is the child: it has no loop to go back to
                os._exit(0)
            with suppress(RuntimeError):  # the loop is closed: the daemon has gone, and nobody waits
                loop.call_soon_threadsafe(self._finish, call, value, error)
            del call, value, error

    def _finish(self, call: Call, value: Any, error: BaseException | None) -> None:
        self.busy -= 1
        self._idle += 1
        self.stuck -= call.given_up
        call.ended.set_result(None)
        if call.given_up or call.outcome.done():  # nobody asks any more
            return
        if error is None:
            call.outcome.set_result(value)
        elif isinstance(error, StopIteration):  # a future refuses to carry one
            call.outcome.set_exception(RuntimeError(f"StopIteration: {error}"))
        else:
            call.outcome.set_exception(error)

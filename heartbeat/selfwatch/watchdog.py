"""The watchdog: a thread that sees a silent main loop, dumps its stack, names the check, and ends the process.

Crash-only: a loop that stands still for ``limit`` seconds cannot be mended from inside. The supervisor starts the
daemon again, and the next start leaves out the check that held it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import traceback
from collections.abc import Callable
from time import monotonic

import structlog

from heartbeat.lag import LagMeter
from heartbeat.runner import CURRENT

log = structlog.get_logger()

SILENT = 2.0
"""Seconds after which a silent loop is reported."""
EXIT_STALLED = 70
"""Exit status after a stall (EX_SOFTWARE of sysexits.h)."""

Blame = Callable[[str, str], None]
"""Called with the name of a check (empty: unknown) and what it did, just before the process ends."""


class Watchdog:
    """Watches the loop's beat from a thread of its own."""

    def __init__(self, lag: LagMeter, loop: asyncio.AbstractEventLoop, limit: float, blame: Blame) -> None:
        self._lag = lag
        self._loop = loop
        self._limit = limit
        self._blame = blame
        self._stopped = threading.Event()
        self._main = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, name="heartbeat-watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch; called on the loop's thread."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopped.set()

    def _watch(self) -> None:
        reported, looked, resumed = 0.0, monotonic(), 0.0
        while not self._stopped.wait(min(SILENT, self._limit) / 4):
            before, looked = looked, monotonic()
            if looked - before > self._limit / 2:  # this thread stood still, too: the whole process was stopped
                resumed = looked
            silent = looked - max(self._lag.beat, resumed)
            if silent >= self._limit:
                self._end(silent)
            elif silent >= SILENT and reported != self._lag.beat:
                reported = self._lag.beat
                log.error("the loop stands still", seconds=round(silent, 1), check=self._culprit(), stack=self._stack())

    def _end(self, silent: float) -> None:
        culprit = self._culprit()
        log.critical("the loop is lost; exiting", seconds=round(silent, 1), check=culprit, stack=self._stack())
        try:
            self._blame(culprit, f"held the main loop for {silent:.0f} s")
            sys.stderr.flush()
        finally:  # a full disk must not keep us here
            really_exit(EXIT_STALLED)

    def _culprit(self) -> str:
        """Return the check whose task the loop is executing (a task is named after its check by the runner)."""
        task = asyncio.current_task(self._loop)
        name = task.get_name() if task else ""
        return name.removeprefix("run ") if name.startswith("run ") else ""

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._main)  # noqa: SLF001 - the documented way to see another thread
        return "".join(traceback.format_stack(frame)[-12:]) if frame else ""


really_exit = os._exit


def end_forks(loop: asyncio.AbstractEventLoop) -> None:
    """Let a child that a plugin forks end where it comes back to the loop: it would be a second daemon."""

    def end() -> None:
        if not loop.is_closed():
            loop.call_soon(really_exit, 0)

    os.register_at_fork(after_in_child=end)


def guard_exit(blame: Blame) -> None:
    """Name the check that calls ``os._exit`` before the process ends. A forked child may end as it likes."""
    daemon = os.getpid()

    def exit_with_blame(status: int) -> None:
        try:
            if os.getpid() == daemon and CURRENT.get():
                blame(CURRENT.get(), f"ended the daemon with os._exit({status!r})")
        finally:
            really_exit(status)

    os._exit = exit_with_blame  # type: ignore[assignment]  # never returns, which a plain function cannot promise

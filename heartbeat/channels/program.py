"""A foreign program: run in a group of its own, ended in time with all that it started, whatever holds its pipes."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import STDOUT, Process
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

MERCY = 2.0
"""Seconds between SIGTERM and SIGKILL."""
FAREWELL = 1.0
"""Seconds that the kernel may take to end a killed process."""
OUTPUT_BYTES = 4096
"""How much of the end of the output is kept. The rest is read and dropped, so that nobody blocks on a full pipe."""
READ_AT_MOST = 16
"""Reads of the last look at a pipe: a grandchild may go on writing for ever."""

_left: set[int] = set()
"""Groups that may hold orphans: where we are process 1 of a container, it falls to us to bury them."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a program ended: ``status`` is its exit status, or minus the number of the signal that ended it."""

    status: int
    timed_out: bool
    last_line: str


async def run(command: Sequence[str], given: bytes, environment: Mapping[str, str], timeout: float) -> Ending:  # noqa: ASYNC109 - at its end a group of processes has to be ended
    """Run a program with ``given`` on its standard input. Raises ``OSError`` where it cannot be started.

    What it leaves running in the background is left alone when it ended by itself; past ``timeout`` seconds, or when
    this is cancelled, all of its group is ended.
    """
    bury()
    with _given(given) as stdin, _output() as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=stdin,
            stdout=output.end,
            stderr=STDOUT,
            env=dict(environment),
            cwd="/",
            start_new_session=True,
        )
        output.close_end()
        try:
            timed_out = await _wait(process, timeout)
        finally:
            if process.returncode is not None:  # or burying could take its status from the loop
                _left.add(process.pid)
        status = process.returncode
        return Ending(-signal.SIGKILL if status is None else status, timed_out, output.last_line())


async def _wait(process: Process, timeout: float) -> bool:  # noqa: ASYNC109 - as in run
    """Wait for the program, and end it when the time is up; say whether it had to be."""
    ended = asyncio.ensure_future(process.wait())
    must_end = True
    try:
        await asyncio.wait({ended}, timeout=timeout)
        must_end = not ended.done()
        if must_end:
            _signal(process, signal.SIGTERM)
            await asyncio.wait({ended}, timeout=MERCY)
    finally:
        if must_end:
            _signal(process, signal.SIGKILL)  # also what is left of its group after SIGTERM
            await asyncio.wait({ended}, timeout=FAREWELL)
        ended.cancel()
    return must_end


def _signal(process: Process, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def bury() -> None:
    """Take the exit statuses of orphans that fell to us, so that no zombies stay."""
    for group in list(_left):
        with suppress(ChildProcessError):
            while os.waitpid(-group, os.WNOHANG)[0]:
                pass
            continue
        _left.discard(group)


@contextmanager
def _given(text: bytes) -> Iterator[int]:
    """Give a file in memory: a program that reads nothing cannot make us wait, as with a pipe."""
    descriptor = os.memfd_create("event")
    try:
        os.write(descriptor, text)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


class _Output:
    """The reading side of a program's output. ``end`` is the writing side; close ours once the program has its own."""

    def __init__(self) -> None:
        self._side, self.end = os.pipe()
        self._kept = b""
        os.set_blocking(self._side, False)
        asyncio.get_running_loop().add_reader(self._side, self._read)

    def _read(self) -> bool:
        try:
            read = os.read(self._side, 65536)
        except BlockingIOError:
            return False
        if not read:
            asyncio.get_running_loop().remove_reader(self._side)
        self._kept = (self._kept + read)[-OUTPUT_BYTES:]
        return bool(read)

    def last_line(self) -> str:
        """Return the last line that is there by now and not empty; nobody waits for those who hold the pipe open."""
        for _ in range(READ_AT_MOST):
            if not self._read():
                break
        lines = self._kept.decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "")

    def close_end(self) -> None:
        """Let go of the writing side."""
        if self.end >= 0:
            os.close(self.end)
            self.end = -1

    def close(self) -> None:
        """Let go of both sides."""
        self.close_end()
        asyncio.get_running_loop().remove_reader(self._side)
        os.close(self._side)


@contextmanager
def _output() -> Iterator[_Output]:
    output = _Output()
    try:
        yield output
    finally:
        output.close()

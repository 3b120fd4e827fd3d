"""What a program writes: read as it comes, so that nobody waits at a full pipe; its beginning and its end are kept."""

from __future__ import annotations

import asyncio
import fcntl
import os
from contextlib import suppress

TAIL = 4
"""One part in so many of what is kept is the end."""
PACED = 2**20
"""Bytes after which a pipe is only looked at from time to time: who writes for ever must not keep us busy."""
PACE = 0.01
"""Seconds between two such looks."""
PIPE_BYTES = 2**20
"""What a pipe holds from then on, so that programs hardly notice."""
CHUNK = 65536
LAST_READS = 16
"""Reads of the last look at a pipe: a descendant may go on writing for ever."""


class Output:
    """What a program writes to one pipe; at most ``limit`` bytes of it are kept.

    Attributes:
        total: bytes that were read so far.
    """

    def __init__(self, limit: int = 64 * 1024) -> None:
        self.total = 0
        self._head_bytes = limit - limit // TAIL
        self._tail_bytes = limit // TAIL
        self._head = bytearray()
        self._tail = b""
        self._side = -1
        self._timer: asyncio.TimerHandle | None = None

    @property
    def text(self) -> str:
        """What was written until now; where something is missing in the middle, a line says how much."""
        missing = self.total - len(self._head) - len(self._tail)
        if not missing:
            return (self._head + self._tail).decode(errors="replace")
        head, tail = self._head.decode(errors="replace"), self._tail.decode(errors="replace")
        return f"{head}\n[{missing} bytes left out]\n{tail}"

    def open(self) -> int:
        """Return the writing side of a new pipe, and begin to read; whoever calls closes what is returned."""
        self._side, end = os.pipe()
        os.set_blocking(self._side, False)
        asyncio.get_running_loop().add_reader(self._side, self._read)
        return end

    def finish(self) -> None:
        """Take what is there by now, and close the reading side; nobody waits for those who hold the pipe open."""
        if self._side < 0:
            return
        for _ in range(LAST_READS):
            if not self._take():
                break
        self._pause()
        os.close(self._side)
        self._side = -1

    def _read(self) -> None:
        """Read once, as the loop says that there is something."""
        if not self._take():
            self._pause()
        elif self.total > PACED:
            self._pause()
            with suppress(OSError):
                fcntl.fcntl(self._side, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            self._look_later()

    def _look(self) -> None:
        """Read what has come since the last look."""
        for _ in range(PIPE_BYTES // CHUNK):
            taken = self._take()
            if not taken:
                if taken is None:
                    break
                return
        self._look_later()

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(PACE, self._look)

    def _take(self) -> bool | None:
        """Read a piece; None where there is none now, False where there will be none any more."""
        try:
            read = os.read(self._side, CHUNK)
        except BlockingIOError:
            return None
        self.total += len(read)
        room = self._head_bytes - len(self._head)
        self._head += read[:room]
        self._tail = (self._tail + read[room:])[-self._tail_bytes :]
        return bool(read)

    def _pause(self) -> None:
        asyncio.get_running_loop().remove_reader(self._side)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

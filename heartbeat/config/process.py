"""The process that reads a configuration for us: started with a pipe of its own, told what is known, ended in any case.

It answers over that pipe, as plugins may print. Secrets travel in the pipe and nowhere else.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from subprocess import PIPE, Popen

from heartbeat.config.model import Config

BATCH = 500
"""Names of known checks in one frame."""
LINGER = 5.0
"""Seconds to go on reading after the child has ended; a grandchild may hold the pipe open for ever."""
HEAD = 4
"""Bytes of the length before each frame."""
_ROOT = str(Path(__file__).parents[2])
_BOOT = "import sys; sys.path.append(sys.argv[1]); from heartbeat.config.answering import main; main()"


@dataclass(frozen=True, slots=True)
class Child:
    """What it answers, and its exit status when it has ended."""

    reader: asyncio.StreamReader
    exited: asyncio.Task[int]


@asynccontextmanager
async def running(
    paths: Sequence[Path], known: Config | None, environ: Mapping[str, str] | None
) -> AsyncIterator[Child]:
    """Start the child with the writing end of a pipe, and end it in any case."""
    ours, theirs = os.pipe()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb"))
    try:
        try:
            process = _start(paths, theirs, environ)
        finally:
            os.close(theirs)
        exited = loop.create_task(asyncio.to_thread(_await_end, process.pid))
        exited.add_done_callback(lambda _: loop.call_later(LINGER, reader.feed_eof))
        telling = loop.create_task(asyncio.to_thread(_tell, process, known))
        try:
            yield Child(reader, exited)
        finally:
            if not exited.done():
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.gather(exited, telling)
            process.wait()
    finally:
        transport.close()


def _start(paths: Sequence[Path], descriptor: int, environ: Mapping[str, str] | None) -> Popen[bytes]:
    """Start it. Python uses vfork here, where uvloop would fork: to copy the tables of our memory holds the loop."""
    command = (sys.executable, "-P", "-c", _BOOT, _ROOT, str(descriptor), *map(str, paths))
    return Popen(  # noqa: S603 - ourselves
        command, pass_fds=(descriptor,), stdin=PIPE, stdout=2, start_new_session=True, env=environ
    )


def _await_end(pid: int) -> int:
    """Wait until a child has ended, and return its exit status, negative for a signal.

    It stays a zombie until it is asked for again, so that its number is still its own when it is to be killed.
    """
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    if ended is None:  # only with WNOHANG, which is not asked for
        return 0
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def _tell(process: Popen[bytes], known: Config | None) -> None:
    """Say which checks are known, as names and digests. That the child has ended is noticed where it is listened to."""
    told = iter(known.checks.items() if known is not None else ())
    assert process.stdin is not None  # noqa: S101 - it was started with a pipe; for the type checker
    with suppress(OSError), process.stdin as pipe:
        while batch := {name: check.digest for name, check in islice(told, BATCH)}:
            pipe.write(framed(batch))


def framed(content: object) -> bytes:
    """Return a frame: the length of what is pickled, and that."""
    frame = pickle.dumps(content, protocol=pickle.HIGHEST_PROTOCOL)
    return len(frame).to_bytes(HEAD) + frame

"""Running a program: ordered from the process that starts them (``foreman``), awaited, ended whatever happens."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, Popen
from time import monotonic
from typing import Any

from heartbeat.program.output import Output

MERCY = 1.0
"""Seconds between SIGTERM and SIGKILL."""
FAREWELL = 1.0
"""Seconds that the kernel may take to end what was killed, before a cancellation waits no longer."""
AGAIN = 0.005
"""Seconds until a foreman that has too many orders is asked again."""
_FOREMAN = str(Path(__file__).with_name("foreman.py"))
_attending: set[asyncio.Task[Ending]] = set()
_foreman: _Foreman | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, and how.

    Attributes:
        command: the program and its arguments; no shell reads them. A name without a slash is looked for on the
            ``PATH`` of ``environment``.
        environment: all of it.
        directory: where it runs.
        given: its standard input.
        cpu_seconds: of CPU that each of its processes may use, rounded up; 0: as many as it likes. Past them it gets
            SIGXCPU, and a second later SIGKILL.
        memory_bytes: of address space that each of its processes may have; 0: no limit.
        open_files: that each of its processes may have; 0: as usual (1,024).
        nice: how much it steps back behind others, 0 to 19.
        leaves_children: what it leaves running when it ends by itself is left alone. Else it is ended as well.
        mercy: seconds between SIGTERM and SIGKILL.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    directory: str = "/"
    given: bytes = b""
    cpu_seconds: float = 0.0
    memory_bytes: int = 0
    open_files: int = 0
    nice: int = 0
    leaves_children: bool = False
    mercy: float = MERCY


@dataclass(frozen=True, slots=True)
class Ending:
    """How a program ended.

    Attributes:
        status: its exit status, or minus the number of the signal that ended it.
        seconds: from its start to its end, or to where it was told to end.
        timed_out: whether it was ended, as its time was up.
        left: how many of its processes could not be ended; those of other users, as a rule.
    """

    status: int
    seconds: float
    timed_out: bool
    left: int = 0


@dataclass(frozen=True, slots=True)
class _Foreman:
    """The process that starts programs, and how it is told to."""

    process: Popen[bytes]
    door: socket.socket


async def run(
    program: Program,
    timeout: float,  # noqa: ASYNC109 - at its end a tree of processes has to be ended, elsewhere
    *,
    output: Output,
    errors: Output | None = None,
    lingering: Callable[[asyncio.Future[Ending]], object] | None = None,
) -> Ending:
    """Run a program, and return when it has ended with all that it started, setsid or not.

    Past ``timeout`` seconds, or when this is cancelled, all of it gets SIGTERM, and after some mercy SIGKILL. Where it
    still cannot be ended (it hangs in the kernel), this goes on waiting until it is cancelled.

    Args:
        program: what to run.
        timeout: seconds that it may take.
        output: takes what it writes, and can be read at any time.
        errors: takes what it writes to its standard error; without it that goes to ``output``, too.
        lingering: gets, when this is cancelled, the future that is done when all of it has ended
            (``probe.keep_busy``). Without it the cancellation waits for that, for a moment.

    Raises:
        OSError: where it cannot be started; its file name is what was to be started.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    until = monotonic() + timeout
    task = asyncio.get_running_loop().create_task(_attend(program, until, (ours, theirs), output, errors))
    _attending.add(task)
    task.add_done_callback(_let_go)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with suppress(OSError):  # it has just ended
            ours.shutdown(socket.SHUT_WR)
        if lingering is not None:
            lingering(task)
        else:
            await asyncio.wait({task}, timeout=program.mercy + FAREWELL)
        raise


def _let_go(task: asyncio.Task[Ending]) -> None:
    _attending.discard(task)
    if not task.cancelled():
        task.exception()  # looked at, so that nobody complains where this was cancelled


async def _attend(
    program: Program, until: float, sides: tuple[socket.socket, socket.socket], output: Output, errors: Output | None
) -> Ending:
    """Order a program, and wait for what is said of its end. Closing our side ends it, too."""
    with ExitStack() as stack:
        ours = stack.enter_context(sides[0])
        with ExitStack() as ends:
            theirs = ends.enter_context(sides[1])
            order = _in_memory(_order(program, until), ends)
            given = _in_memory(program.given, ends)
            descriptors = [theirs.fileno(), order, given, _open(output, ends, stack)]
            descriptors.append(descriptors[-1] if errors is None else _open(errors, ends, stack))
            await _hand_over(descriptors)
        try:
            said = await asyncio.get_running_loop().sock_recv(ours, 4096)
        except ConnectionError:
            said = b""
    return _read(program, said)


def _order(program: Program, until: float) -> bytes:
    return json.dumps(
        {
            "command": list(program.command),
            "environment": dict(program.environment),
            "directory": program.directory,
            "cpu_seconds": program.cpu_seconds,
            "memory_bytes": program.memory_bytes,
            "open_files": program.open_files,
            "nice": program.nice,
            "leaves_children": program.leaves_children,
            "mercy": program.mercy,
            "until": until,
        }
    ).encode()


def _in_memory(text: bytes, ends: ExitStack) -> int:
    """Return a file in memory: unlike with a pipe, nobody waits for a program that reads nothing."""
    descriptor = os.memfd_create("heartbeat")
    ends.callback(os.close, descriptor)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(text)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _open(output: Output, ends: ExitStack, stack: ExitStack) -> int:
    end = output.open()
    ends.callback(os.close, end)
    stack.callback(output.finish)
    return end


def _read(program: Program, said: bytes) -> Ending:
    if not said:
        raise ChildProcessError(f"the process that watched over {program.command[0]} is gone; was it killed?")
    found: dict[str, Any] = json.loads(said)
    if number := found.get("errno"):
        raise OSError(number, os.strerror(number), found["path"])
    return Ending(**found)


async def _hand_over(descriptors: Sequence[int]) -> None:
    """Give an order to the foreman, who is started for the first, and again where he is gone."""
    while True:
        try:
            socket.send_fds(_door(), [b"!"], descriptors)
        except BlockingIOError:
            await asyncio.sleep(AGAIN)
        except (BrokenPipeError, ConnectionResetError):
            dismiss()
        else:
            return


def _door() -> socket.socket:
    """Return where orders go. The foreman gets no environment: what is ours is not for programs to read."""
    global _foreman  # noqa: PLW0603 - one for the process, whatever loops it runs
    if _foreman is None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            command = (sys.executable, "-I", "-S", "-X", "utf8", _FOREMAN, str(theirs.fileno()))
            try:
                process = Popen(  # noqa: S603 - ourselves
                    command,
                    pass_fds=(theirs.fileno(),),
                    stdin=DEVNULL,
                    stdout=2,
                    env={},
                    cwd="/",
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                raise
        _foreman = _Foreman(process, ours)
    return _foreman.door


@atexit.register
def dismiss() -> None:
    """End the process that starts programs; the next order brings a new one. What runs goes on until it ends."""
    global _foreman
    if _foreman is not None:
        gone, _foreman = _foreman, None
        gone.door.close()
        gone.process.kill()
        gone.process.wait()

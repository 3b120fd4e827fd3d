"""The process that starts programs: run by its path, with nothing but the standard library, before anything is large.

Each program gets a supervisor, a fork of this process, to which Linux gives all that descends from it: who loses its
parent becomes the supervisor's child (``PR_SET_CHILD_SUBREAPER`` of prctl(2)), also after ``setsid``, after a double
fork, and with another environment. So all of it can be found and ended, and nothing stays a zombie. The supervisor
keeps the deadline, and ends everything when whoever ordered it is gone, be it by ``kill -9``.

Here limits are set between fork and exec by plain Python, which only a process with one thread may do; and a program
that lies on a disk which does not answer holds its supervisor, and not the daemon's loop.

An order is one byte with five descriptors: the connection to who ordered it, a file with the order as JSON, and the
program's standard input, output and error. What comes back over the connection is one message, as JSON.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic
from typing import Any, NoReturn

DESCRIPTORS = 5
FAREWELL = 1.0
"""Seconds to wait for what was killed, where the program itself has ended: it may belong to another user."""
PAUSES = (0.01, 1.0)
"""Seconds between two attempts to kill what is left: the first pause, and the longest."""
FILES = 1024
"""Open files where nothing else is said: what programs expect. The daemon's own limit may be a thousand times that."""
OUT_OF_MEMORY_FIRST = "500"
"""When memory runs out the kernel ends a program before the daemon."""

OURS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that a terminal or systemd sends to everybody: we end when the daemon does, and not before."""

_PDEATHSIG, _SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True)


class Supervisor:
    """The parent of one program, and of all its descendants that have lost theirs.

    Attributes:
        main: the process id of the program.
        status: its exit status, or minus the number of the signal that ended it; None while it runs.
        is_alone: whether nobody is left.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.main = 0
        self.status: int | None = None
        self.is_alone = False
        self._awake, alarm = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(alarm)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def wait(self, until: float, is_done: Callable[[], bool], *, is_bound: bool = False) -> None:
        """Bury who ends until it is done, the time is up, or (``is_bound``) nobody wants it any more."""
        events = select.poll()
        events.register(self._awake, select.POLLIN)
        if is_bound:
            events.register(self.connection, select.POLLIN)
        while not self._bury(is_done) and (left := until - monotonic()) > 0:
            for descriptor, _ in events.poll(min(left * 1000 + 1, 1e6)):
                if descriptor != self._awake:  # nothing is ever sent here: it was closed
                    return
                with suppress(BlockingIOError):
                    os.read(self._awake, 4096)

    def end_all(self, mercy: float) -> None:
        """End everything: SIGTERM, some seconds of mercy, SIGKILL until nobody is left.

        That takes as long as it takes while the program itself is there: one that hangs in the kernel must not be
        started again and again.
        """
        self._signal(signal.SIGTERM)
        self.wait(monotonic() + mercy, lambda: self.is_alone)
        enough, pause = monotonic() + FAREWELL, PAUSES[0]
        while not self.is_alone and (self.status is None or monotonic() < enough):
            self._signal(signal.SIGKILL)
            self.wait(monotonic() + pause, lambda: self.is_alone)
            pause = min(2 * pause, PAUSES[1])

    def _bury(self, is_done: Callable[[], bool]) -> bool:
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self.main:
                    self.status = os.waitstatus_to_exitcode(ended[1])
        except ChildProcessError:
            self.is_alone = True
        return is_done()

    def _signal(self, number: int) -> None:
        """Signal whole groups: nobody can fork in between. Groups are only joined from within their session."""
        ours, groups = os.getpgrp(), set()
        for process, group in descendants():
            if group == ours:  # it has just been forked
                _kill(process, number)
            else:
                groups.add(group)
        for group in groups:
            _kill(-group, number)
        if not groups and self.status is None:  # where there is no /proc to be read
            _kill(self.main, number)


def descendants() -> Iterator[tuple[int, int]]:
    """Yield the process id and the group of everything that descends from this process and runs."""
    children: dict[int, list[tuple[int, int]]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():  # noqa: PTH112, PTH208 - pathlib would be a third of what this process is
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - as above
                state, parent, group = file.read().rpartition(b")")[2].split()[:3]
                if state not in b"ZX":
                    children.setdefault(int(parent), []).append((int(name), int(group)))
    below = [os.getpid()]
    while below:
        for child in children.get(below.pop(), ()):
            yield child
            below.append(child[0])


def _kill(process: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(process, number)


def supervise(order: dict[str, Any], connection: socket.socket, ends: list[int]) -> None:
    """Run a program as it was ordered, and say how it ended."""
    _libc.prctl(_SUBREAPER, 1, 0, 0, 0)
    supervisor = Supervisor(connection)
    started = monotonic()
    supervisor.main = _fork(lambda: _become(order, connection, ends))
    for end in ends:
        os.close(end)
    supervisor.wait(order["until"], lambda: supervisor.status is not None, is_bound=True)
    lasted, was_ended = monotonic() - started, supervisor.status is None
    if was_ended or not (supervisor.is_alone or order["leaves_children"]):
        supervisor.end_all(order["mercy"])
    found = {
        "status": supervisor.status,
        "seconds": lasted,
        "timed_out": was_ended and started + lasted >= order["until"],
        "left": 0 if supervisor.is_alone or order["leaves_children"] else sum(1 for _ in descendants()),
    }
    with suppress(OSError):  # nobody wants to know any more
        connection.send(json.dumps(found).encode())


def _become(order: dict[str, Any], connection: socket.socket, ends: list[int]) -> None:
    """Turn this fork into the program. Says over the connection why that cannot be."""
    what = ""
    try:
        os.setsid()
        _libc.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.set_wakeup_fd(-1)
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ, *OURS):  # by Python, or by us, and that would be inherited
            signal.signal(ignored, signal.SIG_DFL)
        for number, end in enumerate(ends):
            os.dup2(end, number)
        what = order["directory"]
        os.chdir(what)
        what = order["command"][0]
        _limit(order)
        os.execvpe(what, order["command"], order["environment"])  # noqa: S606 - no shell: that is what is wanted
    except OSError as error:
        _refuse(connection, error.errno, what)
    except ValueError:  # a NUL character, for one
        _refuse(connection, errno.EINVAL, what)
    except MemoryError:  # its limit is too little even for starting it
        _refuse(connection, errno.ENOMEM, what)


def _refuse(connection: socket.socket, number: int | None, what: str | None = None) -> None:
    with suppress(OSError):
        connection.send(json.dumps({"errno": number or errno.EAGAIN, "path": what}).encode())


def _limit(order: dict[str, Any]) -> None:
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123 - as above
        file.write(OUT_OF_MEMORY_FIRST)
    os.nice(order["nice"])
    _at_most(resource.RLIMIT_CORE, 0, 0)  # what it knows is not to lie about
    _at_most(resource.RLIMIT_NOFILE, order["open_files"] or FILES, order["open_files"])
    if seconds := order["cpu_seconds"]:
        _at_most(resource.RLIMIT_CPU, -int(-seconds // 1), -int(-seconds // 1) + 1)  # SIGXCPU, a second later SIGKILL
    if order["memory_bytes"]:
        _at_most(resource.RLIMIT_AS, order["memory_bytes"], order["memory_bytes"])


def _at_most(kind: int, soft: int, hard: int) -> None:
    """Lower a limit; a hard limit of 0 for open files leaves that as it is."""
    _, highest = resource.getrlimit(kind)
    if kind != resource.RLIMIT_CORE and not hard:
        hard = highest
    hard = hard if highest == resource.RLIM_INFINITY else min(hard, highest)
    resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _fork(work: Callable[[], None]) -> int:
    """Do something in a child, which ends with it; return its process id."""
    process = os.fork()
    if process:
        return process
    try:
        work()
    finally:
        os._exit(os.EX_SOFTWARE)


def _attend(connection: socket.socket, descriptors: list[int], door: socket.socket) -> None:
    """Start a supervisor for an order."""

    def work() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        door.close()
        with open(descriptors[0], encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
            order = json.load(file)
        try:
            supervise(order, connection, descriptors[1:])
        except OSError as error:
            _refuse(connection, error.errno)

    try:
        _fork(work)
    except OSError as error:  # no more processes, or memory
        _refuse(connection, error.errno)


def _bury_supervisors(*_: object) -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main() -> NoReturn:
    """Take orders until who gives them is gone. What programs leave running on purpose goes to this process first."""
    _libc.prctl(_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGCHLD, _bury_supervisors)
    for number in OURS:
        signal.signal(number, signal.SIG_IGN)
    door = socket.socket(fileno=int(sys.argv[1]))
    while True:
        message, descriptors, _, _ = socket.recv_fds(door, 1, DESCRIPTORS)
        if not message:
            sys.exit()
        for descriptor in descriptors:  # Python 3.11 forgets the flags for recv_fds, which could do it as they come
            os.set_inheritable(descriptor, False)
        connection = socket.socket(fileno=descriptors[0])
        _attend(connection, descriptors[1:], door)
        connection.close()
        for descriptor in descriptors[1:]:
            os.close(descriptor)


if __name__ == "__main__":
    main()

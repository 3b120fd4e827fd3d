"""A process on the bench: started, watched from outside, and ended by its id."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import clock_gettime, monotonic, sleep
from typing import Self

CPUCLOCK_SCHED = 2
"""The clock of all threads of a process together: user and system, in nanoseconds (clock_getcpuclockid(3))."""
WITHIN = 30.0


class Program:
    """A process that we started, with its output in a file."""

    def __init__(
        self,
        command: Sequence[str | Path],
        folder: Path,
        *,
        name: str = "",
        environ: Mapping[str, str] | None = None,
        cores: Sequence[int] | None = None,
    ) -> None:
        self.name = name or Path(command[0]).name
        self.output = folder / f"{self.name}.log"
        pinned = ["taskset", "--cpu-list", ",".join(map(str, cores))] if cores else []
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [*pinned, *map(str, command)],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(environ or {})},
            )

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def cpu(self) -> float:
        """Return the seconds of CPU that it has used, user and system, over all its threads."""
        return clock_gettime((~self.pid << 3) | CPUCLOCK_SCHED)

    def children_cpu(self) -> float:
        """Return the seconds of CPU of its children that have ended, in steps of 10 ms (proc(5))."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Return its resident memory in bytes."""
        return self._status("VmRSS") * 1024

    def peak(self) -> int:
        """Return the most resident memory that it ever had, in bytes."""
        return self._status("VmHWM") * 1024

    def threads(self) -> int:
        """Return how many threads it has."""
        return self._status("Threads")

    def descriptors(self) -> int:
        """Return how many files and sockets it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def _status(self, key: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))

    def wait_until(self, true: Callable[[], object], within: float = WITHIN) -> None:
        """Wait until something is true, or end with what the process said."""
        ends = monotonic() + within
        while not true():
            if self._process.poll() is not None:
                raise SystemExit(f"{self.name} ended with {self._process.returncode}:\n{self.tail()}")
            if monotonic() > ends:
                raise SystemExit(f"{self.name} did not get ready within {within:g} s:\n{self.tail()}")
            sleep(0.02)

    def tail(self) -> str:
        """Return the end of what it said."""
        return self.output.read_text(encoding="utf-8", errors="replace")[-4000:]

    def stop(self) -> None:
        """End it, politely at first."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def kill(self) -> None:
        """End it at once: what it would still write is of no interest."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

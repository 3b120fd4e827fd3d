"""One life of the daemon: the real process, from its start to its violent end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import deque
from pathlib import Path
from typing import Any

STARTS_WITHIN = 60.0
STOPS_WITHIN = 30.0
CRASHED = 137
"""The exit status at a named crash point."""


class SoakFailed(Exception):  # noqa: N818 - the word that is printed
    """The soak cannot go on, and what the daemon said last."""


class Life:
    """``heartbeat run`` as a process of its own; ``begin`` makes one."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.serving: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Where it serves its metrics; None where it ended before it could."""
        self.faults: list[str] = []
        """Errors of the daemon's own that it logged: none is expected, whatever happens to it."""
        self._last: deque[str] = deque(maxlen=20)
        self._reading = asyncio.ensure_future(self._read())

    @classmethod
    async def begin(cls, config: Path, crash_at: str = "") -> Life:
        """Start the daemon, if wanted with a named point at which it ends itself."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "heartbeat", "run", "-c", str(config),
            stderr=asyncio.subprocess.PIPE, env={**os.environ, "HEARTBEAT_CRASH_AT": crash_at}, limit=2**20,
        )  # fmt: skip
        return cls(process)

    async def serves(self) -> str:
        """Wait until it serves and return where; nothing where it ended first. Raises ``SoakFailed``."""
        try:
            return await asyncio.wait_for(asyncio.shield(self.serving), STARTS_WITHIN)
        except TimeoutError:
            await self.kill()
            raise SoakFailed(f"the daemon did not start within {STARTS_WITHIN:g} s:\n{self.tail}") from None

    async def kill(self, after: float = 0.0) -> int:
        """Let it live for some seconds, kill it, and return its exit status. Raises ``SoakFailed`` if it gave up."""
        try:
            await asyncio.wait_for(self.process.wait(), after)
        except TimeoutError:
            self.process.kill()
        return await self._end((-signal.SIGKILL, CRASHED))

    async def stop(self) -> None:
        """End it in good order. Raises ``SoakFailed`` where it does not end well."""
        self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), STOPS_WITHIN)
        except TimeoutError:
            self.process.kill()
        await self._end((0,))

    @property
    def tail(self) -> str:
        """The end of its log."""
        return "".join(self._last)

    async def _end(self, expected: tuple[int, ...]) -> int:
        code = await self.process.wait()
        await self._reading
        if code not in expected:
            raise SoakFailed(f"the daemon ended by itself with {code}:\n{self.tail}")
        return code

    async def _read(self) -> None:
        async for raw in self.process.stderr or asyncio.StreamReader():
            line = raw.decode(errors="replace")
            self._last.append(line)
            self._note(_parsed(line), line)
        if not self.serving.done():
            self.serving.set_result("")

    def _note(self, said: dict[str, Any], line: str) -> None:
        if said.get("event") == "serving" and not self.serving.done():
            self.serving.set_result(str(said["metrics"]))
        if "exception" in said or said.get("level") == "critical" or not said:
            self.faults.append(line.strip())


def _parsed(line: str) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}

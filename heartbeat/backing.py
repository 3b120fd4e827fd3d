"""What stands behind a probe: memory that survives restarts, threads, test accounts. A probe in a test has its own."""

from __future__ import annotations

import asyncio
import json
from collections import UserDict
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from heartbeat.check import CheckBroken

MEMORY_BYTES = 64 * 1024
"""What one check may remember, as JSON."""


class Account(Protocol):
    """A test account that this run has to itself."""

    def __getitem__(self, field: str) -> str:
        """Return ``user``, ``password``, ``token`` or ``totp`` (a fresh code). Raises ``CheckBroken`` for others.

        A code is given once; where the next one is wanted before its time has come, wait for it with ``fresh``.
        """
        ...

    async def fresh(self) -> None:
        """Wait until ``totp`` is a code that nobody had. Raises ``CheckBroken`` where the run ends before that."""
        ...

    async def refuse(self) -> bool:
        """Say that the target refused it (401); True where there is another credential to try now, from the start."""
        ...

    def accept(self) -> None:
        """Say that the target took it."""


class Memory(UserDict[str, Any]):
    """What a check remembers: a mapping of whatever JSON can say. It is written after the run, or by ``save``.

    What is ``passing`` is remembered as long as the process lives, and never written.
    """

    def __init__(self, text: str = "", write: Callable[[str], Awaitable[None]] | None = None) -> None:
        super().__init__(json.loads(text) if text else {})
        self._written = text or "{}"
        self.passing: dict[str, Any] = {}
        self.write = write

    async def save(self) -> None:
        """Return when what is remembered is safe on disk. Raises ``CheckBroken`` where it cannot be."""
        try:
            text = json.dumps(self.data, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            raise CheckBroken(f"what is to be remembered is no JSON: {error}") from None
        if len(text) > MEMORY_BYTES:
            raise CheckBroken(f"a check can remember {MEMORY_BYTES} bytes at most, not {len(text)}")
        if text != self._written and self.write is not None:
            await self.write(text)
        self._written = text


async def _in_thread(work: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(work)


def _no_account(name: str, _within: float) -> AbstractAsyncContextManager[Account]:
    raise CheckBroken(f"there is no account {name!r}: name it under accounts: in the configuration", reason="config")


@dataclass(frozen=True, slots=True)
class Backing:
    """What a run gets from the process around it.

    Attributes:
        memory: returns what a check remembers, by the check's name: the same object each time.
        in_thread: runs what blocks in a bounded pool of threads.
        lease: gives an account to this run alone, waiting so many seconds for it at most.
        marks: says whether requests tell that they are synthetic, and of which run.
    """

    memory: Callable[[str], Memory] = lambda _: Memory()
    in_thread: Callable[[Callable[[], Any]], Awaitable[Any]] = _in_thread
    lease: Callable[[str, float], AbstractAsyncContextManager[Account]] = _no_account
    marks: Callable[[], bool] = lambda: True


ALONE = Backing()
"""Behind a probe that somebody made for a test."""

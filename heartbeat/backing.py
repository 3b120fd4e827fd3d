"""What stands behind a probe: memory that survives restarts, threads, test accounts. A probe in a test has its own."""

from __future__ import annotations

import asyncio
import json
from collections import UserDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from heartbeat.check import CheckBroken

TYPE, OWED = "@type", "@owed"
"""What is written beside what a check remembers: whose it is, and what it owes."""
MEMORY_BYTES = 64 * 1024
"""What one check may remember, as JSON."""


Conceal = Callable[[str, str], None]
"""Is told the name and the value of what must not be told of a run."""
Lingering = Callable[[asyncio.Future[Any]], None]


class Run(Protocol):
    """What may go on of a run when it has ended, and so of its probe."""

    lingering: tuple[asyncio.Future[Any], ...]

    def keep_busy(self, until: asyncio.Future[Any], /) -> None:
        """Add something to it."""
        ...


class InThread(Protocol):
    """Runs a function in a thread."""

    async def __call__(self, work: Callable[[], Any], lingering: Lingering | None = None, /) -> Any:
        """Return what the function returns, or raise what it raises."""
        ...


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

    What is ``passing`` is remembered as long as the process lives, and never written. What is ``owed`` is a sentence
    on what stays undone if all this is forgotten; it is logged when the check is removed, or becomes one of another
    type. The ``type`` is the one whose checks understand it.
    """

    def __init__(
        self, text: str = "", write: Callable[[str], Awaitable[None]] | None = None, type_: str | None = None
    ) -> None:
        super().__init__(json.loads(text) if text else {})
        self.type: str | None = self.data.pop(TYPE, type_)
        self.owed: str = self.data.pop(OWED, "")
        self._written = text or "{}"
        self.passing: dict[str, Any] = {}
        self.write = write

    async def save(self) -> None:
        """Return when what is remembered is safe on disk. Raises ``CheckBroken`` where it cannot be."""
        try:
            beside = {name: text for name, text in ((TYPE, self.type), (OWED, self.owed)) if text} if self.data else {}
            text = json.dumps({**beside, **self.data}, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            raise CheckBroken(f"what is to be remembered is no JSON: {error}") from None
        if len(text) > MEMORY_BYTES:
            raise CheckBroken(f"a check can remember {MEMORY_BYTES} bytes at most, not {len(text)}")
        if text != self._written and self.write is not None:
            await self.write(text)
        self._written = text


async def _in_thread(work: Callable[[], Any], lingering: Lingering | None = None) -> Any:
    going = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(going)
    finally:
        if lingering is not None and not going.done():
            lingering(going)


def tell_nobody(_name: str, _value: str) -> None:
    """Stand in where nothing is told of a run at all."""


class Lease(Protocol):
    """Gives a test account to one run alone."""

    def __call__(self, name: str, within: float, conceal: Conceal = ..., /) -> AbstractAsyncContextManager[Account]:
        """Give it to a run that has so many seconds left. What is secret of it is told to ``conceal`` on the way."""
        ...


@asynccontextmanager
async def lent(lease: AbstractAsyncContextManager[Account], run: Run) -> AsyncIterator[Account]:
    """Keep an account until nothing of a run goes on: a thread that cannot be stopped uses it still."""
    async with AsyncExitStack() as stack:
        account = await stack.enter_async_context(lease)
        try:
            yield account
        finally:
            if left := [one for one in run.lingering if not one.done()]:
                run.keep_busy(asyncio.ensure_future(_give_back_after(left, stack.pop_all())))


async def _give_back_after(left: Iterable[asyncio.Future[Any]], lease: AsyncExitStack) -> None:
    await asyncio.wait(left)
    await lease.aclose()


def _no_account(name: str, _within: float, _conceal: object = None, /) -> AbstractAsyncContextManager[Account]:
    raise CheckBroken(f"there is no account {name!r}: name it under accounts: in the configuration", reason="config")


@dataclass(frozen=True, slots=True)
class Backing:
    """What a run gets from the process around it.

    Attributes:
        memory: returns what a check remembers, by the check's name: the same object each time.
        in_thread: runs what blocks in a bounded pool of threads. A thread cannot be stopped: where the run ends before
            it, ``lingering`` is handed what is done when it is over (``probe.keep_busy``).
        lease: gives an account to this run alone.
        marks: says whether requests tell that they are synthetic, and of which run.
    """

    memory: Callable[[str], Memory] = lambda _: Memory()
    in_thread: InThread = _in_thread
    lease: Lease = _no_account
    marks: Callable[[], bool] = lambda: True


ALONE = Backing()
"""Behind a probe that somebody made for a test."""

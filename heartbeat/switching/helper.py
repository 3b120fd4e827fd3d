"""One thread for what may wait: a file system, a provider of flags."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from heartbeat.pool import Call, Pool, PoolExhausted

TIMEOUT = 5.0
"""The deadline of one call, in seconds."""
T = TypeVar("T")


class Helper:
    """One thread of the pool at a time. While a call hangs there is no other."""

    def __init__(self, pool: Pool, timeout: float = TIMEOUT) -> None:
        self.timeout = timeout
        self._pool = pool
        self._call: Call | None = None

    @property
    def is_free(self) -> bool:
        """Say whether nothing is under way, or hangs."""
        return self._call is None or self._call.ended.done()

    async def run(self, work: Callable[[], T]) -> T | None:
        """Return what it returns; None where no thread is free now. Raises ``TimeoutError``."""
        try:
            call = self._call = self._pool.submit(work)
        except PoolExhausted:
            return None
        try:
            async with asyncio.timeout(self.timeout):
                found: T = await call.outcome
                return found
        finally:
            self._pool.give_up(call)

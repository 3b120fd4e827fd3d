"""What the store should know of deliveries: written at once, or remembered and tried again until the store takes it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from heartbeat.core.model import Delivery

log = structlog.get_logger()

SECONDS = 5.0
"""How long a lane waits for the store; after that it goes on, and the settlement is tried again."""
AGAIN = 5.0
FAREWELL = 1.0
REMEMBERED = 10_000
"""Beyond this many the oldest is forgotten: after a restart its message goes out once more, with the same id."""


class Settlement:
    """Writes deliveries through ``settle``; the newest state of each waits here while the store fails."""

    def __init__(self, settle: Callable[[Delivery], Awaitable[None]], again: float = AGAIN) -> None:
        self.waiting: dict[str, Delivery] = {}
        self._settle = settle
        self._again = again
        self._retrying: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to try again what fails."""
        self._retrying = asyncio.create_task(self._retry(), name="outbox settlement")

    async def settle(self, delivery: Delivery) -> bool:
        """Write a delivery's state, and say whether it is safe; if not, it is tried again later."""
        self.waiting.pop(delivery.id, None)
        self.waiting[delivery.id] = delivery
        if len(self.waiting) > REMEMBERED:
            del self.waiting[next(iter(self.waiting))]
        try:
            async with asyncio.timeout(SECONDS):
                await self._settle(delivery)
        except Exception as error:  # noqa: BLE001 - whatever ails the store, the next message must not wait for it
            log.warning("a delivery is not recorded yet", delivery=delivery.id, error=type(error).__name__)
            return False
        if self.waiting.get(delivery.id) is delivery:
            del self.waiting[delivery.id]
        return True

    async def stop(self) -> None:
        """Stop trying again, after a last time."""
        if self._retrying is not None:
            self._retrying.cancel()
            with suppress(asyncio.CancelledError):
                await self._retrying
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await self._settle_all()

    async def _retry(self) -> None:
        while True:
            await asyncio.sleep(self._again)
            await self._settle_all()

    async def _settle_all(self) -> None:
        """Write what waits, until the store fails again."""
        for delivery in list(self.waiting.values()):
            if self.waiting.get(delivery.id) is delivery and not await self.settle(delivery):
                return

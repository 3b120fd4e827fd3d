"""What the store should know of deliveries: written at once, or remembered and tried again until the store takes it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from itertools import islice

import structlog

from heartbeat.core.model import Delivery

log = structlog.get_logger()

SECONDS = 5.0
"""How long a message waits for the store; after that it goes on, and the settlement is tried again."""
AGAIN = 5.0
FAREWELL = 1.0
REMEMBERED = 10_000
"""Beyond this many the oldest is forgotten: after a restart its message goes out once more, with the same id."""
AT_ONCE = 200

Settle = Callable[..., Awaitable[None]]
"""``store.settle``: writes any number of deliveries in one durable commit."""


class Settlement:
    """Writes deliveries through ``settle``; the newest state of each waits here while the store fails."""

    def __init__(self, settle: Settle, again: float = AGAIN) -> None:
        self.waiting: dict[str, Delivery] = {}
        self.failing = False
        """The store failed the last time: nobody waits for it until it is back."""
        self._settle = settle
        self._again = again
        self._retrying: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to try again what fails."""
        self._retrying = asyncio.create_task(self._retry(), name="outbox settlement", context=Context())

    async def settle(self, *deliveries: Delivery) -> bool:
        """Write the states of deliveries, all or none, and say whether they are safe; if not, it is tried again."""
        for delivery in deliveries:
            self.waiting.pop(delivery.id, None)
            self.waiting[delivery.id] = delivery
        for forgotten in list(islice(self.waiting, max(0, len(self.waiting) - REMEMBERED))):
            del self.waiting[forgotten]
        return not self.failing and await self._write(deliveries)

    async def stop(self) -> None:
        """Stop trying again, after a last time."""
        if self._retrying is not None:
            self._retrying.cancel()
            with suppress(asyncio.CancelledError):
                await self._retrying
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await self._settle_all()

    async def _write(self, deliveries: tuple[Delivery, ...]) -> bool:
        try:
            async with asyncio.timeout(SECONDS):
                await self._settle(*deliveries)
        except Exception as error:  # noqa: BLE001 - whatever ails the store, the next message must not wait for it
            if not self.failing:
                first = deliveries[0].id if deliveries else None
                log.warning("a delivery is not recorded yet", delivery=first, error=type(error).__name__)
            self.failing = True
            return False
        self.failing = False
        for delivery in deliveries:
            if self.waiting.get(delivery.id) is delivery:
                del self.waiting[delivery.id]
        return True

    async def _retry(self) -> None:
        while True:
            await asyncio.sleep(self._again)
            await self._settle_all()

    async def _settle_all(self) -> None:
        """Write what waits, the oldest first, until the store fails again."""
        while self.waiting:
            if not await self._write(tuple(islice(self.waiting.values(), AT_ONCE))):
                return

"""The last hop of a rehearsal: it keeps what would have left, and acknowledges."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field

from heartbeat.channels import Channel, Departure, Rendered
from heartbeat.core.batch import Batch

KEPT = "kept by the rehearsal; it was not sent"
"""What is acknowledged with."""
PATIENCE = 2.0
"""Seconds without anything new after which nobody waits for a message any more: it could not be made."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A message that would have left: by which channel, what it tells, its bytes, and what would cross."""

    channel: Channel
    batch: Batch
    message: Rendered
    leaves: Departure


@dataclass(slots=True)
class Shelf:
    """Keeps what would have left."""

    shown: list[Shown] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    """The ids of all deliveries in there."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def show(self, channel: Channel, batch: Batch, message: Rendered) -> str:
        """Keep a message instead of sending it: a transport; see ``attempt.send``."""
        self.shown.append(Shown(channel, batch, message, channel.departure(batch, message)))
        self.seen |= {delivery.id for delivery in batch.deliveries}
        self._news.set()
        return KEPT

    async def wait_for(self, ids: Collection[str]) -> None:
        """Wait until these deliveries are here, or nothing has come for a while."""
        with suppress(TimeoutError):
            while not self.seen.issuperset(ids):
                self._news.clear()
                async with asyncio.timeout(PATIENCE):
                    await self._news.wait()

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from heartbeat.channels import Channel, Rendered
from heartbeat.core.batch import Batch
from heartbeat.core.model import Address, Delivery, DeliveryState, Event, Kind, Severity
from heartbeat.outbox import Outbox, Pace

NOW = 1_795_269_731.0
Hop = Callable[[Delivery, Rendered], Awaitable[str]]


class Scripted(Channel):
    """A channel whose last hop is a function of the test."""

    kind: ClassVar[str] = "scripted"
    hop: Any
    timeout: float = 30.0

    def render(self, batch: Batch, at: float) -> Rendered:
        (delivery,) = batch.deliveries
        mark = "" if delivery.event.context.get("recorded", True) else " not recorded"
        return Rendered(f"{delivery.event.sentence}{mark}".encode())

    async def send(self, batch: Batch, message: Rendered) -> str:
        (delivery,) = batch.deliveries
        answer = await self.hop(delivery, message)
        assert isinstance(answer, str)
        return answer


@dataclass
class Post:
    """An outbox with clocks that the test moves, and a store that keeps what was settled."""

    wall: float = NOW
    steady: float = 0.0
    store_works: bool = True
    settled: list[Delivery] = field(default_factory=list)
    observed: list[tuple[str, str]] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    secrets: dict[str, str] = field(default_factory=dict)
    outbox: Outbox = field(init=False)

    def channel(self, hop: Hop) -> Channel:
        return Scripted(hop=hop)

    def build(self, channels: Mapping[str, Channel], **pace: Any) -> Outbox:
        self.outbox = Outbox(
            settle=self.settle,
            channels=channels,
            clock=lambda: self.wall,
            redact=self.redact,
            observe=lambda address, outcome: self.observed.append((address.channel, outcome)),
            pace=Pace(monotonic=lambda: self.steady, jitter=lambda: 0.5, **pace),
        )
        return self.outbox

    def redact(self, text: str) -> str:
        for secret, name in self.secrets.items():
            text = text.replace(secret, f"<redacted:{name}>")
        return text

    async def settle(self, delivery: Delivery) -> None:
        if not self.store_works:
            raise OSError("disk full")
        async with self.changed:
            self.settled.append(delivery)
            self.changed.notify_all()

    async def until_settled(self, count: int) -> list[Delivery]:
        await self.until(lambda: len(self.settled) >= count)
        return self.settled

    async def until(self, condition: Callable[[], bool], within: float = 10) -> None:
        """Wait for something that comes true with a settlement."""
        async with asyncio.timeout(within), self.changed:
            await self.changed.wait_for(condition)

    async def until_idle(self) -> None:
        """Let everything that can happen now happen."""
        for _ in range(50):
            await asyncio.sleep(0)

    def move(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds
        self.outbox.look_again()

    def done(self, state: DeliveryState = DeliveryState.ACKNOWLEDGED) -> list[str]:
        return [delivery.id for delivery in self.settled if delivery.state is state]


Running = Callable[..., Any]


@pytest.fixture
def running() -> Running:
    """Build and start an outbox with some channels; drain it at the end."""

    @asynccontextmanager
    async def run(hops: Mapping[str, Hop], pending: tuple[Delivery, ...] = (), **pace: Any) -> AsyncIterator[Post]:
        post = Post()
        post.build({name: Scripted(hop=hop) for name, hop in hops.items()}, **pace)
        await post.outbox.start(pending)
        try:
            yield post
        finally:
            await post.outbox.drain(0.1)

    return run


@pytest.fixture
def letter() -> Callable[..., Delivery]:
    """Make a delivery: of an incident, with a number in it, to a channel and recipient."""

    def make(incident: str = "inc_1", sequence: int = 1, channel: str = "a", **changes: Any) -> Delivery:
        event_changes = {key: changes.pop(key) for key in ("sentence", "result", "at") if key in changes}
        recipient = changes.pop("recipient", "")
        event = Event(
            id=f"evt_{incident}_{sequence}",
            kind=Kind.RAISED,
            check="shop",
            incident=incident,
            sequence=sequence,
            at=event_changes.pop("at", NOW),
            was=Severity.OK,
            severity=Severity.FAIL,
            since=NOW,
            reason=None,
            sentence=event_changes.pop("sentence", "it broke"),
            **event_changes,
        )
        identity = f"dlv_{incident}_{sequence}_{channel}_{recipient}"
        return Delivery(identity, event, Address("team", channel, recipient), **{"next_at": NOW, **changes})

    return make

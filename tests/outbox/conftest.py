from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from heartbeat.channels import Channel, ForPeople, Rendered
from heartbeat.core.batch import Batch
from heartbeat.core.model import Address, Delivery, DeliveryState, Event, Kind, Severity
from heartbeat.outbox import Outbox, Pace
from heartbeat.outbox.parcel import DONE

NOW = 1_795_269_731.0
Hop = Callable[[Delivery, Rendered], Awaitable[str]]


class Scripted(Channel):
    """A channel to machines whose last hop is a function of the test."""

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


class Chat(ForPeople):
    """A channel to people, whose messages name their events and when they were made."""

    kind: ClassVar[str] = "chat"
    hop: Any
    timeout: float = 30.0

    def render(self, batch: Batch, at: float) -> Rendered:
        told = " ".join(f"{event.incident}/{event.sequence}" for event in batch.events)
        return Rendered(f"{batch.id} at {at - NOW:g}: {told}".encode())

    async def send(self, batch: Batch, message: Rendered) -> str:
        answer = await self.hop(batch, message)
        assert isinstance(answer, str)
        return answer


@dataclass
class Post:
    """An outbox with clocks that the test moves, and a store that keeps what was settled."""

    wall: float = NOW
    steady: float = 0.0
    store_works: bool = True
    store: dict[str, Delivery] = field(default_factory=dict)
    """What is recorded, as it stands."""
    commits: list[tuple[Delivery, ...]] = field(default_factory=list)
    settled: list[Delivery] = field(default_factory=list)
    """What came of attempts: everything that was written down but seals and news."""
    observed: list[tuple[str, str]] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    secrets: dict[str, str] = field(default_factory=dict)
    outbox: Outbox = field(init=False)

    def channel(self, hop: Hop) -> Channel:
        return Scripted(hop=hop)

    def build(self, channels: Mapping[str, Channel], fallback: tuple[Address, ...] = (), **pace: Any) -> Outbox:
        self.outbox = Outbox(
            settle=self.settle,
            channels=channels,
            fallback=fallback,
            find=self.find,
            clock=lambda: self.wall,
            redact=self.redact,
            observe=self.observe,
            pace=Pace(monotonic=lambda: self.steady, jitter=lambda: 0.5, **pace),
        )
        return self.outbox

    def redact(self, text: str) -> str:
        for secret, name in self.secrets.items():
            text = text.replace(secret, f"<redacted:{name}>")
        return text

    def observe(self, address: Address, outcome: str, ages: Sequence[float]) -> None:
        self.observed.append((address.channel, outcome))
        self.ages += ages

    async def find(self, ids: Collection[str]) -> list[Delivery]:
        return [self.store[identity] for identity in ids if identity in self.store]

    async def settle(self, *deliveries: Delivery) -> None:
        if not self.store_works:
            raise OSError("disk full")
        async with self.changed:
            for delivery in deliveries:
                before = self.store.get(delivery.id)
                if delivery.state in DONE or (before is not None and before.attempts < delivery.attempts):
                    self.settled.append(delivery)
                self.store[delivery.id] = delivery
            self.commits.append(deliveries)
            self.changed.notify_all()

    def tell(self, *deliveries: Delivery, volatile: bool = False) -> None:
        """Do what the line does: assign, record, hand over."""
        assigned = self.outbox.assign(deliveries)
        if not volatile:
            self.store |= {delivery.id: delivery for delivery in assigned}
        self.outbox.accept(assigned, volatile=volatile)

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
    async def run(
        hops: Mapping[str, Hop | Channel], pending: tuple[Delivery, ...] = (), **options: Any
    ) -> AsyncIterator[Post]:
        post = Post()
        post.build(
            {name: hop if isinstance(hop, Channel) else Scripted(hop=hop) for name, hop in hops.items()}, **options
        )
        post.store |= {delivery.id: delivery for delivery in pending}
        await post.outbox.start(pending)
        try:
            yield post
        finally:
            await post.outbox.drain(0.1)

    return run


@pytest.fixture
def chat() -> Callable[..., Channel]:
    """Make a channel to people."""

    def make(hop: Callable[[Batch, Rendered], Awaitable[str]], **options: Any) -> Channel:
        return Chat(hop=hop, **options)

    return make


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

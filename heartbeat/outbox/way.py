"""One channel as the outbox sees it: its letters in order, what may fly now, and when to look again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

from heartbeat.channels import Channel, Rendered
from heartbeat.core.model import Delivery, DeliveryState
from heartbeat.metrics.instruments import Backlog

AT_ONCE = 4
"""Attempts of one channel at the same time."""
LOOK_AGAIN = 60.0
DONE = frozenset({DeliveryState.ACKNOWLEDGED, DeliveryState.DEAD})

Lane = tuple[str, str]
"""Incident and recipient: within a lane order is kept."""


@dataclass(slots=True, eq=False)
class Letter:
    """A delivery on its way. ``due`` is on the monotonic clock; ``volatile`` says that the store does not have it."""

    delivery: Delivery
    due: float
    volatile: bool = False
    rendered: Rendered | None = None


@dataclass(slots=True, eq=False)
class Way:
    """One channel: its letters in order, and what its worker knows."""

    identity: str
    channel: Channel | None
    receiver: str
    lanes: dict[Lane, list[Letter]] = field(default_factory=dict)
    flying: dict[Lane, asyncio.Task[None]] = field(default_factory=dict)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    hold: float = 0.0
    """Until then (monotonic) nothing is sent: the receiver asked for it, or a person has to mend something."""
    strained: bool = False
    """The latest answer asked us to wait: the next attempt goes alone."""
    worker: asyncio.Task[None] | None = None

    def letters(self) -> Iterator[Letter]:
        """Yield all letters that wait or fly."""
        for lane in self.lanes.values():
            yield from lane

    def add(self, letter: Letter) -> None:
        """Take a letter in, at its place in the incident: what an earlier life left behind may come after news."""
        lane = self.lanes.setdefault((letter.delivery.event.incident, letter.delivery.address.recipient), [])
        lane.append(letter)
        lane.sort(key=lambda one: one.delivery.event.sequence)
        self.wake.set()

    def remove(self, key: Lane, letter: Letter) -> None:
        """Let go of a letter that is done with."""
        self.lanes[key].remove(letter)
        if not self.lanes[key]:
            del self.lanes[key]

    def adopt(self, channel: Channel | None, now: float) -> None:
        """Take over a changed channel: what went wrong with the old one says nothing about it."""
        self.channel, self.hold, self.strained = channel, 0.0, False
        for letter in self.letters():
            letter.due, letter.rendered = now, None
        self.wake.set()

    def next_up(self, now: float) -> tuple[list[Lane], float]:
        """Return the lanes to send from now, the longest due first, and how many seconds to wait after that."""
        room = (1 if self.strained else AT_ONCE) - len(self.flying)
        if self.channel is None or room <= 0:
            return [], LOOK_AGAIN
        heads = sorted((max(lane[0].due, self.hold), key) for key, lane in self.lanes.items() if key not in self.flying)
        ready = [key for due, key in heads if due <= now][:room]
        return ready, min([*(due - now for due, _ in heads if due > now), LOOK_AGAIN])

    def backlog(self, now: float) -> Backlog:
        """Return how much waits, and for how long."""
        ages = [max(0.0, now - letter.delivery.event.at) for letter in self.letters()]
        return Backlog(self.receiver, self.identity, len(ages), max(ages, default=0.0))

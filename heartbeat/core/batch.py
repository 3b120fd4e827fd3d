"""Batches: what travels in one message to one channel and recipient, and what it tells of each incident.

For machines a batch is a single delivery. For people it is all that came up within ``group_wait``, and while a message
could not be delivered also what came up meanwhile: so one message tells the truth of the moment it leaves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from heartbeat.core.model import OVER, Address, Delivery, Event, derive_id


@dataclass(frozen=True, slots=True)
class Batch:
    """One message on its way. Its id is the message's id, the same on every attempt and after a restart."""

    id: str
    address: Address
    deliveries: tuple[Delivery, ...]

    @property
    def events(self) -> tuple[Event, ...]:
        """What it tells, in the order in which it happened."""
        return tuple(delivery.event for delivery in self.deliveries)


@dataclass(frozen=True, slots=True)
class Story:
    """All that a batch tells of one incident: one event, or several of which the last says how it stands."""

    events: tuple[Event, ...]

    @property
    def newest(self) -> Event:
        """The event that says how it stands."""
        return self.events[-1]

    @property
    def is_over(self) -> bool:
        """Say whether the incident has ended by now, though this message is the first to tell of it."""
        return self.newest.kind in OVER and len(self.events) > 1


def single(delivery: Delivery) -> Batch:
    """Return the batch of one delivery that travels alone: the message's id is the event's."""
    return Batch(delivery.event.id, delivery.address, (delivery,))


def group(deliveries: Iterable[Delivery]) -> Batch:
    """Return the batch of deliveries that were put together; they carry its id. There must be one at least."""
    together = tuple(deliveries)
    first = together[0]
    return Batch(first.batch, first.address, together) if first.batch else single(first)


def batch_id(delivery: Delivery) -> str:
    """Return the id of a batch that this delivery opens."""
    return derive_id("bat", delivery.id)


def stories(batch: Batch) -> tuple[Story, ...]:
    """Return what a batch tells, one story per incident, the worst and oldest first."""
    found: dict[str, list[Event]] = {}
    for event in batch.events:
        found.setdefault(event.incident, []).append(event)
    told = [Story(tuple(sorted(events, key=lambda event: event.sequence))) for events in found.values()]
    return tuple(sorted(told, key=lambda story: (-story.newest.severity, story.newest.at, story.newest.check)))

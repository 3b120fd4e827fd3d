"""A batch on its way: what it holds, when it is due, and whether others may still join it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import inf

from heartbeat.channels import Rendered
from heartbeat.core.batch import Batch, batch_id, group
from heartbeat.core.model import Delivery, DeliveryState, derive_id

DONE = frozenset({DeliveryState.ACKNOWLEDGED, DeliveryState.DEAD})
MOST = 500
"""Deliveries in one batch; after that another one is opened."""
SOON = 30.0
"""Seconds after an attempt from which news, or a channel that works again, may cause one ahead of the schedule."""

Key = tuple[str, str]
"""Incident and recipient, or the recipient alone where what is told is put together: within it order is kept."""


@dataclass(slots=True, eq=False)
class Parcel:
    """A batch on its way. Times are on the monotonic clock, but for ``closes_at``."""

    due: float
    batch: str = ""
    """The id of its batch; empty for a delivery that travels alone."""
    closes_at: float = 0.0
    """Until when others may join, on the wall clock: it is written down."""
    deliveries: list[Delivery] = field(default_factory=list)
    key: Key = ("", "")
    awaited: set[str] = field(default_factory=set)
    """Ids of deliveries that were assigned to it and whose commit has not ended yet."""
    volatile: set[str] = field(default_factory=set)
    """Ids of deliveries that the store does not have."""
    flying: bool = False
    frozen: bool = False
    """The receiver may have it: the same deliveries are sent again, as the same bytes."""
    tried: float = -inf
    nudged: float = inf
    """When to try it ahead of the schedule."""
    rendered: Rendered | None = None

    attempts: int = 0
    """How many attempts of the schedule were made."""
    incidents: set[str] = field(default_factory=set)
    """The incidents that it tells of."""

    def __post_init__(self) -> None:
        self.attempts = max((delivery.attempts for delivery in self.deliveries), default=0)
        self.incidents = {delivery.event.incident for delivery in self.deliveries}

    @property
    def is_fresh(self) -> bool:
        """Say whether others may still join: no attempt was made, and its message was not made either."""
        return bool(self.batch) and not (self.flying or self.frozen or self.attempts) and len(self.deliveries) < MOST

    @property
    def is_waiting(self) -> bool:
        """Say whether it failed and its receiver surely does not have it."""
        return bool(self.attempts) and not (self.flying or self.frozen)

    @property
    def is_done(self) -> bool:
        """Say whether nothing in it is on its way any more."""
        return all(delivery.state in DONE for delivery in self.deliveries)

    def has_room_for(self, other: Parcel) -> bool:
        """Say whether another one may be absorbed: its receiver surely does not have it, and it is not too much."""
        return not (other.flying or other.frozen) and len(self.deliveries) + len(other.deliveries) <= MOST

    def add(self, delivery: Delivery, *, volatile: bool = False) -> None:
        """Take a delivery in."""
        self.awaited.discard(delivery.id)
        self.deliveries.append(delivery)
        self.incidents.add(delivery.event.incident)
        if volatile:
            self.volatile.add(delivery.id)

    def absorb(self, other: Parcel) -> None:
        """Take over all of another one, which is empty then: one message tells both."""
        self.batch = self.batch or batch_id(self.deliveries[0])
        first = self.deliveries[0]
        self.deliveries = [
            replace(one, batch=self.batch, closes_at=first.closes_at, next_at=first.next_at)
            for one in (*self.deliveries, *other.deliveries)
        ]
        self.volatile |= other.volatile
        self.incidents |= other.incidents
        self.tried = max(self.tried, other.tried)
        other.deliveries = []

    def contents(self) -> Batch:
        """Return what it holds, in an order that is the same after a restart."""
        ordered = sorted(
            self.deliveries, key=lambda one: (one.event.at, one.event.incident, one.event.sequence, one.id)
        )
        return group(ordered)


def is_sealed(delivery: Delivery) -> bool:
    """Say whether an earlier life made the message, so that its receiver may have it."""
    return delivery.state is DeliveryState.LEASED and delivery.sealed_at > 0


def sort_out(deliveries: Iterable[Delivery], *, together: bool) -> list[list[Delivery]]:
    """Return what was put together before, in the order of creation.

    What had been assigned to a message that left without it gets a batch of its own, with an id of its own.
    """
    known = list(deliveries)
    left = {one.batch for one in known if is_sealed(one)} if together else set()
    sets: dict[tuple[object, ...], list[Delivery]] = {}
    for one in known:
        if together and one.batch in left and one.batch and not is_sealed(one):
            one = replace(one, batch=late_id(one))  # noqa: PLW2901 - the same delivery, corrected
        alone = not (together and one.batch)
        key = (one.id,) if alone else (one.address.recipient, one.batch)
        sets.setdefault(key, []).append(one if together else replace(one, batch=""))
    return list(sets.values())


def late_id(delivery: Delivery) -> str:
    """Return the id of a batch for a delivery that came too late for the one it was assigned to."""
    return derive_id("bat", delivery.batch, delivery.id)

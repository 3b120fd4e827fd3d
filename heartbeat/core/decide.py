"""Who is told of an event, or why nobody is."""

from __future__ import annotations

from heartbeat.core.model import Address, Delivery, DeliveryState, Event, derive_id

NOBODY = Address(receiver="", channel="")


def decide(event: Event, ways_out: tuple[Address, ...], now: float) -> tuple[Delivery, ...]:
    """Return one delivery per way out; where there is none, one suppressed delivery that says so.

    Both are recorded, so that "why was I not told?" can always be answered.
    """
    if not ways_out:
        return (_delivery(event, NOBODY, now, DeliveryState.SUPPRESSED, "no receiver is configured for this check"),)
    return tuple(_delivery(event, address, now) for address in ways_out)


def _delivery(
    event: Event, address: Address, now: float, state: DeliveryState = DeliveryState.PENDING, note: str = ""
) -> Delivery:
    identity = derive_id("dlv", event.id, address.channel, address.recipient)
    return Delivery(identity, event, address, state, next_at=now, note=note)

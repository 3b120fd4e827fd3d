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


def pass_on(delivery: Delivery, ways_out: tuple[Address, ...], now: float, note: str) -> tuple[Delivery, ...]:
    """Return the deliveries to others that take the place of one that its receiver could not be told, and say why.

    Their ids are those of ordinary deliveries: who was to be told anyhow is not told twice.
    """
    to = delivery.address
    who = f"{to.channel} could not tell {to.recipient}" if to.recipient else f"{to.channel} could not be told"
    return tuple(_delivery(delivery.event, address, now, why=f"{who}: {note}") for address in ways_out)


def _delivery(  # noqa: PLR0913 - the fields of a delivery
    event: Event,
    address: Address,
    now: float,
    state: DeliveryState = DeliveryState.PENDING,
    note: str = "",
    *,
    why: str = "",
) -> Delivery:
    identity = derive_id("dlv", event.id, address.channel, address.recipient)
    return Delivery(identity, event, address, state, next_at=now, note=note, why=why)

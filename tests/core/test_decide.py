from __future__ import annotations

from heartbeat.core.decide import decide
from heartbeat.core.model import Address, DeliveryState, Event, Kind, Reason, Severity

EVENT = Event(
    "evt_1",
    Kind.RAISED,
    "shop",
    "inc_1",
    1,
    1000.0,
    Severity.OK,
    Severity.FAIL,
    1000.0,
    Reason.STATUS,
    "it answered 500",
)


def test_every_way_out_gets_a_delivery_of_its_own() -> None:
    ways_out = (Address("oncall", "oncall/email", "a@example.com"), Address("oncall", "oncall/email", "b@example.com"))
    deliveries = decide(EVENT, ways_out, 1000.0)
    assert tuple(delivery.address for delivery in deliveries) == ways_out
    assert len({delivery.id for delivery in deliveries}) == 2
    assert all(delivery.state is DeliveryState.PENDING for delivery in deliveries)
    assert deliveries == decide(EVENT, ways_out, 1000.0)


def test_where_nobody_is_told_the_reason_is_kept() -> None:
    (delivery,) = decide(EVENT, (), 1000.0)
    assert delivery.state is DeliveryState.SUPPRESSED
    assert "no receiver" in delivery.note

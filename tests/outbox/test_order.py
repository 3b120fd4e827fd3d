from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any, ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st

from heartbeat.channels import Channel, DeliveryFailed, Rendered
from heartbeat.core.batch import Batch
from heartbeat.core.model import Address, Delivery, DeliveryState, Event, Kind, Severity
from heartbeat.outbox import Outbox, Pace
from heartbeat.outbox.parcel import DONE

LOST = DeliveryFailed("the answer was lost")
ANSWERS = {
    "take": None,
    "refuse": DeliveryFailed("no"),
    "lose": LOST,
    "bury": DeliveryFailed("never", permanent=True),
    "break": RuntimeError(),
}


class Wild(Channel):
    """A receiver that does as the story says, and then takes everything."""

    kind: ClassVar[str] = "wild"
    story: Any
    seen: Any

    def render(self, batch: Batch, at: float) -> Rendered:
        return Rendered(batch.deliveries[0].id.encode())

    async def send(self, batch: Batch, message: Rendered) -> str:
        (delivery,) = batch.deliveries
        await asyncio.sleep(0)
        error = ANSWERS[next(self.story, "take")]
        if error is None or error is LOST:
            self.seen.append(delivery)
        if error is not None:
            raise error
        return "taken"


def make(incidents: list[int], recipients: int) -> list[Delivery]:
    """Number the events of each incident as they come, and address each to every recipient."""
    deliveries: list[Delivery] = []
    counts: defaultdict[int, int] = defaultdict(int)
    for incident in incidents:
        counts[incident] += 1
        sequence = counts[incident]
        event = Event(
            f"evt_{incident}_{sequence}",
            Kind.RAISED,
            "check",
            f"inc_{incident}",
            sequence,
            at=0.0,
            was=Severity.OK,
            severity=Severity.FAIL,
            since=0.0,
            reason=None,
            sentence="",
        )
        deliveries += [Delivery(f"{event.id}_{n}", event, Address("r", "a", str(n))) for n in range(recipients)]
    return deliveries


async def deliver(deliveries: list[Delivery], story: list[str]) -> tuple[list[Delivery], list[Delivery]]:
    """Send all, and return what the receiver saw and what was settled for good."""
    final: list[Delivery] = []
    all_done = asyncio.Event()

    async def settle(*settled: Delivery) -> None:
        await asyncio.sleep(0)
        final.extend(delivery for delivery in settled if delivery.state in DONE)
        if len(final) == len(deliveries):
            all_done.set()

    wild = Wild(story=iter(story), seen=[])
    outbox = Outbox(
        settle=settle,
        channels={"a": wild},
        clock=lambda: 0.0,
        redact=lambda text: text,
        observe=lambda *_: None,
        pace=Pace(delays=(0.0,)),
    )
    await outbox.start()
    for delivery in deliveries:
        outbox.accept([delivery])
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await all_done.wait()
    await outbox.drain(1)
    assert outbox.pending() == 0
    return wild.seen, final


@settings(max_examples=60, deadline=None)
@given(
    incidents=st.lists(st.integers(0, 3), min_size=1, max_size=15),
    recipients=st.integers(1, 3),
    story=st.lists(st.sampled_from(sorted(ANSWERS)), max_size=40),
)
def test_order_holds_per_incident_and_recipient_whatever_the_receiver_does(
    incidents: list[int], recipients: int, story: list[str]
) -> None:
    deliveries = make(incidents, recipients)
    seen, final = asyncio.run(deliver(deliveries, story))
    assert sorted(delivery.id for delivery in final) == sorted(delivery.id for delivery in deliveries)
    lanes: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for delivery in seen:
        lanes[delivery.event.incident, delivery.address.recipient].append(delivery.event.sequence)
    for sequences in lanes.values():
        assert sequences == sorted(sequences)
    acknowledged = {delivery.id for delivery in final if delivery.state is DeliveryState.ACKNOWLEDGED}
    assert acknowledged <= {delivery.id for delivery in seen}

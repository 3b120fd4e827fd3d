from __future__ import annotations

import dataclasses
from typing import Any

from heartbeat.core.model import Address, Kind


async def test_what_ended_lately_is_found_per_channel_in_order_and_once(store: Any, make: Any) -> None:
    def entry(n: int, kind: Kind, channel: str) -> Any:
        raised = make.raised(n)
        event = dataclasses.replace(raised.events[0], kind=kind)
        deliveries = [make.delivery(event, id=f"dlv_{n}_{to}", address=Address("a", channel, to)) for to in "xy"]
        return dataclasses.replace(raised, events=(event,), deliveries=tuple(deliveries))

    entries = [
        entry(1, Kind.RESOLVED, "a/alertmanager"),
        entry(4, Kind.WITHDRAWN, "a/alertmanager"),
        entry(3, Kind.CHECK_REPAIRED, "a/alertmanager"),
        entry(5, Kind.RAISED, "a/alertmanager"),
        entry(6, Kind.RESOLVED, "a/email"),
    ]
    for one in entries:
        await store.write(one)
    since = entries[2].events[0].at
    assert await store.ended("a/alertmanager", since) == [*entries[2].events, *entries[1].events]

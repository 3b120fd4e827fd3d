"""The delivery log: who was told what, when, with what answer. Plain functions on a connection that can only read."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, or_, select

from heartbeat.core.model import Delivery, DeliveryState, Event, Kind
from heartbeat.store.rows import read_delivery, read_event
from heartbeat.store.schema import delivery, event

LAST = "\U0010ffff"
"""Sorts behind every id."""


def deliveries(
    connection: Connection, *, incident: str = "", check: str = "", state: DeliveryState | None = None, limit: int = 100
) -> list[Delivery]:
    """Return the latest deliveries, newest first.

    Args:
        connection: to the store.
        incident: only those of this incident: its id, or how that begins.
        check: only those about this check.
        state: only those in this state.
        limit: how many at most.
    """
    rows = _deliveries().order_by(delivery.c.number.desc()).limit(limit)
    if incident:
        rows = rows.where(_begins(delivery.c.incident, incident))
    if check:
        rows = rows.where(event.c.check == check)
    if state is not None:
        rows = rows.where(delivery.c.state == state.value)
    return [read_delivery(row) for row in connection.execute(rows)]


def delivery_of(connection: Connection, identity: str) -> Delivery | None:
    """Return one delivery, or None."""
    row = connection.execute(_deliveries().where(delivery.c.id == identity)).first()
    return None if row is None else read_delivery(row)


def incidents(connection: Connection, beginning: str) -> list[str]:
    """Return the ids of incidents that begin so, two at most: one is what was meant, two are too many."""
    ids = select(delivery.c.incident).where(_begins(delivery.c.incident, beginning)).distinct().limit(2)
    return list(connection.scalars(ids))


def events_of(connection: Connection, incident: str, limit: int = 500) -> list[Event]:
    """Return the events of an incident, in order."""
    told = select(delivery.c.event_id).where(delivery.c.incident == incident)  # every event has one, and an index
    rows = select(event.c.data).where(event.c.id.in_(told)).order_by(event.c.sequence).limit(limit)
    return [read_event(data) for data in connection.scalars(rows)]


def drills(connection: Connection, check: str, limit: int = 2) -> list[Event]:
    """Return the latest drills that a self check looks after, newest first."""
    rows = select(event.c.data).where(event.c.check == check, event.c.kind == Kind.DRILL.value)
    return [read_event(data) for data in connection.scalars(rows.order_by(event.c.at.desc()).limit(limit))]


def _begins(column: Column[str], beginning: str) -> ColumnElement[bool]:
    """Match an id by its beginning, with or without the part that says what it is the id of."""
    return or_(*(column.between(start, start + LAST) for start in (beginning, f"inc_{beginning}")))


def _deliveries() -> Select[Any]:
    return select(delivery, event.c.data).join(event, event.c.id == delivery.c.event_id)

"""What the record says of a check up to a time. Plain functions on a connection that can only read."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Connection, func, select

from heartbeat.core.model import Delivery, Event
from heartbeat.core.status import Status
from heartbeat.store.entry import Recorded
from heartbeat.store.rows import read_delivery, read_event, read_result, read_status
from heartbeat.store.schema import check_status, delivery, event, result

CHUNK = 500
"""Rows read at once: no reading holds up the daemon's checkpoints."""


def names(connection: Connection) -> list[str]:
    """Return the names of all checks that have a status."""
    return list(connection.scalars(select(check_status.c.name).order_by(check_status.c.name)))


def status_of(connection: Connection, check: str) -> Status | None:
    """Return the latest status of a check that was recorded; steady runs since are not in it."""
    text = connection.scalar(select(check_status.c.status).where(check_status.c.name == check))
    return None if text is None else read_status(text)


def runs_until(connection: Connection, check: str, until: float, limit: int) -> list[Recorded]:
    """Return the latest runs of a check up to a time, newest first."""
    rows = select(result).where(result.c.check == check, result.c.at <= until)
    return [
        read_result(row)
        for row in connection.execute(rows.order_by(result.c.at.desc(), result.c.id.desc()).limit(limit))
    ]


def events_until(connection: Connection, check: str, until: float, limit: int) -> list[Event]:
    """Return the latest events of a check up to a time, the oldest of them first."""
    rows = select(event.c.data).where(event.c.check == check, event.c.at <= until)
    found = connection.scalars(rows.order_by(event.c.at.desc(), event.c.sequence.desc()).limit(limit))
    return [read_event(data) for data in found][::-1]


def deliveries_of(connection: Connection, events: Collection[str]) -> list[Delivery]:
    """Return the deliveries of events, in the order in which they were made."""
    wanted = list(events)
    found: list[Delivery] = []
    for start in range(0, len(wanted), CHUNK):
        rows = select(delivery, event.c.data).join(event, event.c.id == delivery.c.event_id)
        rows = rows.where(delivery.c.event_id.in_(wanted[start : start + CHUNK])).order_by(delivery.c.number)
        found += [read_delivery(row) for row in connection.execute(rows)]
    return found


def deliveries_between(connection: Connection, start: float, until: float) -> list[Delivery]:
    """Return the deliveries of all events between two times, in the order in which they were made."""
    rows = select(delivery, event.c.data).join(event, event.c.id == delivery.c.event_id)
    rows = rows.where(event.c.at >= start, event.c.at <= until).order_by(event.c.at, delivery.c.number)
    return [read_delivery(row) for row in connection.execute(rows)]


def count(connection: Connection) -> int:
    """Return how many runs are kept."""
    return connection.scalar(select(func.count()).select_from(result)) or 0


def first_good(connection: Connection) -> float | None:
    """Return the time of the oldest run that was well: failures are kept longer, and alone they tell nothing."""
    found: float | None = connection.scalar(select(func.min(result.c.at)).where(result.c.failed == 0))
    return found


def ids_between(connection: Connection, start: float, until: float, checks: Collection[str]) -> list[int]:
    """Return the ids of the runs between two times, in order; of these checks, or of all where none is named."""
    wanted: ColumnElement[bool] = (result.c.at >= start) & (result.c.at <= until)
    rows = select(result.c.id).where(wanted & result.c.check.in_(checks) if checks else wanted)
    return list(connection.scalars(rows.order_by(result.c.at, result.c.id)))


def runs(connection: Connection, ids: Collection[int]) -> Iterator[Recorded]:
    """Yield the runs of these ids, in order of their times; those that are gone, or cannot be read, are left out."""
    for row in connection.execute(select(result).where(result.c.id.in_(ids)).order_by(result.c.at, result.c.id)):
        try:
            yield read_result(row)
        except (ValidationError, ValueError):
            continue

"""The read side: plain functions on a connection that can only read; the command line may use them too."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Row, Select, select, text

from heartbeat.core.model import OVER, Delivery, DeliveryState, Event
from heartbeat.core.status import Status
from heartbeat.store.entry import Recorded, Snapshot
from heartbeat.store.rows import read_delivery, read_event, read_result, read_status
from heartbeat.store.schema import OPEN, check_status, delivery, event, memory, result

MOST_IDS = 500
"""In one query; SQLite takes 32,766 at most."""

# The names are found by jumping from one to the next in the index; grouping would read all of it.
_NEWEST = text("""
WITH RECURSIVE name(value) AS (
    SELECT min("check") FROM result
    UNION ALL
    SELECT (SELECT min("check") FROM result WHERE "check" > name.value) FROM name WHERE name.value IS NOT NULL
)
SELECT (SELECT id FROM result WHERE "check" = name.value ORDER BY at DESC, id DESC LIMIT 1) AS id
FROM name WHERE name.value IS NOT NULL
""").columns(result.c.id)


def load(connection: Connection) -> Snapshot:
    """Read what a start takes over. A delivery that is leased may have been sent by the life that leased it."""
    unreadable: list[str] = []
    statuses: dict[str, Status] = {}
    for row in connection.execute(select(check_status)):
        try:
            statuses[row.name] = read_status(row.status)
        except (ValidationError, ValueError) as error:
            unreadable.append(f"The status of {row.name} cannot be read ({_short(error)}); it starts afresh.")
    pending: list[Delivery] = []
    for row in connection.execute(_deliveries().where(text(f"delivery.{OPEN}")).order_by(delivery.c.number)):
        try:
            pending.append(read_delivery(row))
        except (ValidationError, ValueError) as error:
            unreadable.append(f"The delivery {row.id} to {row.channel} cannot be read ({_short(error)}).")
    memories = {row.check: row.data for row in connection.execute(select(memory))}
    return Snapshot(statuses, tuple(pending), _last(connection), tuple(unreadable), memories)


def _last(connection: Connection) -> dict[str, Recorded]:
    newest: dict[str, Recorded] = {}
    for row in connection.execute(select(result).where(result.c.id.in_(_NEWEST))):
        try:
            newest[row.check] = read_result(row)
        except (ValidationError, ValueError):
            continue  # history of another version; the next run makes a new one
    return newest


def _short(error: ValueError) -> str:
    return str(error).partition("\n")[0][:200]


def _deliveries() -> Select[Any]:
    return select(delivery, event.c.data).join(event, event.c.id == delivery.c.event_id)


def results(connection: Connection, check: str, limit: int) -> list[Recorded]:
    """Return the latest runs of a check, newest first."""
    rows = select(result).where(result.c.check == check).order_by(result.c.at.desc(), result.c.id.desc()).limit(limit)
    return [read_result(row) for row in connection.execute(rows)]


def events(connection: Connection, check: str | None, limit: int) -> list[Event]:
    """Return the latest events of a check, or of all, newest first."""
    rows = select(event.c.data).order_by(event.c.at.desc(), event.c.sequence.desc()).limit(limit)
    if check is not None:
        rows = rows.where(event.c.check == check)
    return [read_event(row.data) for row in connection.execute(rows)]


def deliveries(connection: Connection, incident: str | None, state: DeliveryState | None, limit: int) -> list[Delivery]:
    """Return the latest deliveries, newest first."""
    rows = _deliveries().order_by(delivery.c.number.desc()).limit(limit)
    if incident is not None:
        rows = rows.where(delivery.c.incident == incident)
    if state is not None:
        rows = rows.where(delivery.c.state == state.value)
    found: list[Row[Any]] = list(connection.execute(rows))
    return [read_delivery(row) for row in found]


def find(connection: Connection, ids: Collection[str]) -> list[Delivery]:
    """Return those of these deliveries that are there."""
    wanted = list(ids)
    parts = [wanted[start : start + MOST_IDS] for start in range(0, len(wanted), MOST_IDS)]
    rows = [row for part in parts for row in connection.execute(_deliveries().where(delivery.c.id.in_(part)))]
    return [read_delivery(row) for row in rows]


def ended(connection: Connection, channel: str, since: float) -> list[Event]:
    """Return the events since a time by which incidents ended that a channel is told of, oldest first."""
    told = select(delivery.c.event_id).where(delivery.c.channel == channel, delivery.c.event_id == event.c.id)
    kinds = [kind.value for kind in OVER]
    rows = select(event.c.data).where(event.c.at >= since, event.c.kind.in_(kinds), told.exists())
    return [read_event(row.data) for row in connection.execute(rows.order_by(event.c.at))]

"""What people asked for at run time, as rows: saved whole, read back at the start, kept for a while after its end."""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, Row, delete, or_, select
from sqlalchemy.dialects.sqlite import insert

from heartbeat.core.quiet import Order
from heartbeat.store.rows import encode
from heartbeat.store.schema import quiet

ENDED_AT_MOST = 10_000
"""How many that have ended are kept, the latest."""
_ORDER: TypeAdapter[Order] = TypeAdapter(Order)
_insert = insert(quiet)
# What has ended stays so: a record that comes late, of how it began, must not open it again.
_UPSERT = _insert.on_conflict_do_update(
    index_elements=["id"],
    set_={name: _insert.excluded[name] for name in ("data", "ended")},
    where=quiet.c.ended.is_(None),
)
log = structlog.get_logger(__name__)


def save(connection: Connection, order: Order) -> None:
    """Record an order, or what has become of it."""
    row = {"id": order.id, "kind": order.kind.value, "data": encode(order), "at": order.start, "ended": order.ended}
    connection.execute(_UPSERT, row)


def load(connection: Connection) -> list[Order]:
    """Return what has not ended, the oldest first. What cannot be read is logged, and stays."""
    return list(_read(connection.execute(select(quiet).where(quiet.c.ended.is_(None)).order_by(quiet.c.at))))


def past(connection: Connection, limit: int) -> list[Order]:
    """Return what has ended, the latest first."""
    rows = select(quiet).where(quiet.c.ended.is_not(None)).order_by(quiet.c.ended.desc(), quiet.c.id).limit(limit)
    return list(_read(connection.execute(rows)))


def forget(connection: Connection, before: float, most: int = ENDED_AT_MOST) -> int:
    """Delete what ended before a time, and what is more than is kept; return how many that were."""
    ended = quiet.c.ended.is_not(None)
    surplus = select(quiet.c.id).where(ended).order_by(quiet.c.ended.desc(), quiet.c.id).limit(-1).offset(most)
    return connection.execute(delete(quiet).where(ended, or_(quiet.c.ended < before, quiet.c.id.in_(surplus)))).rowcount


def _read(rows: Iterable[Row[tuple[object, ...]]]) -> Iterable[Order]:
    for row in rows:
        try:
            yield _ORDER.validate_json(row.data)
        except ValidationError as error:
            log.error("not taken over", error=f"The order {row.id} cannot be read: {str(error).splitlines()[0]}")

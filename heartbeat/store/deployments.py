"""Deployments as rows: saved whole, the latest read back at the start, kept for as long as events are."""

from __future__ import annotations

import structlog
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.sqlite import insert

from heartbeat.core.deployment import Deployment
from heartbeat.store.rows import encode
from heartbeat.store.schema import deployment as table

KEPT = 10_000
"""How many are kept, the latest."""
_DEPLOYMENT: TypeAdapter[Deployment] = TypeAdapter(Deployment)
_insert = insert(table)
# What has ended stays so: a record that comes late, of how it began, must not open it again.
_UPSERT = _insert.on_conflict_do_update(
    index_elements=["id"],
    set_={name: _insert.excluded[name] for name in ("data", "ended")},
    where=table.c.ended.is_(None) | _insert.excluded.ended.is_not(None),
)
log = structlog.get_logger(__name__)


def save(connection: Connection, deployment: Deployment) -> None:
    """Record a deployment, or what has become of it."""
    connection.execute(
        _UPSERT,
        {
            "id": deployment.id,
            "name": deployment.name,
            "data": encode(deployment),
            "at": deployment.start,
            "ended": deployment.ended,
        },
    )


def load(connection: Connection, limit: int, name: str = "") -> list[Deployment]:
    """Return the latest deployments, the oldest of them first. What cannot be read is logged, and stays."""
    rows = select(table).order_by(table.c.at.desc(), table.c.id).limit(limit)
    found = []
    for row in connection.execute(rows.where(table.c.name == name) if name else rows):
        try:
            found.append(_DEPLOYMENT.validate_json(row.data))
        except ValidationError as error:
            log.error("not taken over", error=f"The deployment {row.id} cannot be read: {str(error).splitlines()[0]}")
    return found[::-1]


def forget(connection: Connection, before: float, most: int = KEPT) -> int:
    """Delete what began before a time, and what is more than is kept; return how many that were."""
    surplus = select(table.c.id).order_by(table.c.at.desc(), table.c.id).limit(-1).offset(most)
    return connection.execute(delete(table).where((table.c.at < before) | table.c.id.in_(surplus))).rowcount

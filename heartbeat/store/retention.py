"""Retention: the oldest go first, a few at a time, and nothing that is still on its way to someone."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, Select, Table, delete, exists, func, not_, or_, select, text

from heartbeat.config.model import History
from heartbeat.core.model import DeliveryState
from heartbeat.store import deployments, quiet
from heartbeat.store.schema import OPEN, check_status, delivery, event, result

STEP = 500
"""Rows per transaction: a few milliseconds, so that a record that must be durable never waits long."""


class Sweep:
    """One look at what is past its time, in steps. Rows are counted once: that reads an index from end to end."""

    def __init__(self, history: History, now: float) -> None:
        self._history = history
        self._fresh = now - history.keep
        self._fresh_failures = now - max(history.keep, history.keep_failures)
        self._surplus: int | None = None

    def step(self, connection: Connection) -> bool:
        """Delete at most ``STEP`` results or events in the open transaction; say whether there may be more."""
        plain, failed = result.c.failed == 0, result.c.failed == 1
        return bool(
            _delete_results(connection, STEP, plain & (result.c.at < self._fresh))
            or _delete_results(connection, STEP, failed & (result.c.at < self._fresh_failures))
            or self._delete_surplus(connection)
            or _delete_events(connection, self._fresh_failures)
            or quiet.forget(connection, self._fresh_failures)
            or deployments.forget(connection, self._fresh_failures)
        )

    def _delete_surplus(self, connection: Connection) -> int:
        if self._surplus is None:
            rows = connection.scalar(select(func.count()).select_from(result)) or 0
            self._surplus = max(0, rows - self._history.rows)
        gone = _delete_results(connection, min(STEP, self._surplus))
        self._surplus -= gone
        return gone


def _delete_results(connection: Connection, most: int, condition: ColumnElement[bool] | None = None) -> int:
    """Delete the oldest results that meet the condition, plain ones before failures."""
    if not most:
        return 0
    oldest = select(result.c.id).order_by(result.c.failed, result.c.at).limit(most)
    return _delete(connection, result, oldest if condition is None else oldest.where(condition))


def _delete_events(connection: Connection, before: float) -> int:
    """Delete old events with their deliveries, unless one is on its way or the check still holds the incident.

    One that was given up counts from then: somebody has to have had the time to see it.
    """
    given_up = (delivery.c.state == DeliveryState.DEAD.value) & (delivery.c.done_at >= before)
    on_its_way = exists().where(delivery.c.event_id == event.c.id, or_(text(f"delivery.{OPEN}"), given_up))
    held = exists().where(check_status.c.name == event.c.check, func.instr(check_status.c.status, event.c.incident) > 0)
    oldest = select(event.c.id).where(event.c.at < before, not_(or_(on_its_way, held))).order_by(event.c.at).limit(STEP)
    return _delete(connection, event, oldest)


def _delete(connection: Connection, table: Table, ids: Select[tuple[str]] | Select[tuple[int]]) -> int:
    return connection.execute(delete(table).where(table.c.id.in_(ids))).rowcount

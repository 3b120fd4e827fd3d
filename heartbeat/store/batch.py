"""One group of work as statements: many rows per table, in an order that means the same as one by one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, bindparam, delete, exists, select, tuple_, update
from sqlalchemy.dialects.sqlite import insert, pysqlite

from heartbeat.core.model import Event
from heartbeat.crash import crash_point
from heartbeat.store.backlog import Change, Settled, Work
from heartbeat.store.entry import Entry, Remembered
from heartbeat.store.rows import delivery_row, event_row, result_row, status_row, writable
from heartbeat.store.schema import check_status, delivery, event, memory, result, window

Rows = list[dict[str, Any]]

_RESULT_COLUMNS = [column for column in result.c if column.name != "id"]
_RESULT_NAMES = [column.name for column in _RESULT_COLUMNS]
_SAME_RUN = exists().where(result.c.check == bindparam("check"), result.c.at == bindparam("at"),
                           result.c.run == bindparam("run"))  # fmt: skip
# Compiled once and fed with tuples: building each row from a dict would cost as much as writing it.
INSERT_RESULT = str(insert(result).values(dict.fromkeys(_RESULT_NAMES)).compile(dialect=pysqlite.dialect()))
INSERT_RESULT_ONCE = insert(result).from_select(
    _RESULT_NAMES,
    select(*(bindparam(column.name, type_=column.type) for column in _RESULT_COLUMNS)).where(~_SAME_RUN),
)
_status = insert(check_status)
# By boot first: within one the clock is steady, between two it may have been set back.
UPSERT_STATUS = _status.on_conflict_do_update(
    index_elements=["name"],
    set_={name: _status.excluded[name] for name in ("status", "boot", "at")},
    where=tuple_(_status.excluded.boot, _status.excluded.at) >= tuple_(check_status.c.boot, check_status.c.at),
)
_memory = insert(memory)
UPSERT_MEMORY = _memory.on_conflict_do_update(
    index_elements=["check"], set_={name: _memory.excluded[name] for name in ("data", "at")}
)
INSERT_EVENT = insert(event).on_conflict_do_nothing()
INSERT_DELIVERY = insert(delivery).on_conflict_do_nothing(index_elements=["id"])
_settled = insert(delivery)
_PROGRESS = ("state", "attempts", "next_at", "note", "lease_boot", "batch", "closes_at", "sealed_at", "done_at")
SETTLE_DELIVERY = _settled.on_conflict_do_update(
    index_elements=["id"], set_={name: _settled.excluded[name] for name in _PROGRESS}
)


class Batch:
    """The rows of some entries and settled deliveries. Building it encodes; calling it writes.

    Tables are written one after the other. For entries and settlements that ends like one by one: an insert of what
    is there changes nothing, statuses and settlements keep their order, and each delivery brings its event along.
    """

    def __init__(self, boot: int, now: float) -> None:
        self._boot, self._now = boot, now
        self._results: list[tuple[Any, ...]] = []
        self._results_again: Rows = []
        self._statuses: Rows = []
        self._events: dict[str, Event] = {}
        self._deliveries: Rows = []
        self._settled: Rows = []
        self._memories: dict[str, str] = {}

    def add(self, work: Entry | Settled | Remembered) -> None:
        """Take in one piece of work."""
        if isinstance(work, Remembered):
            self._memories[work.check] = work.data
            return
        if isinstance(work, tuple):
            for delivery in work:
                self._events.setdefault(delivery.event.id, delivery.event)
                self._settled.append(delivery_row(delivery, self._boot))
            return
        if work.run is not None and work.result is not None and work.verdict is not None:
            row = result_row(work.run, work.result, work.verdict)
            if work.again:
                self._results_again.append(dict(zip(_RESULT_NAMES, row, strict=True)))
            else:
                self._results.append(row)
        if work.status is not None:
            at = self._now if work.at is None else work.at
            self._statuses.append(status_row(work.name, work.status, self._boot, at))
        for one in (*work.events, *(sent.event for sent in work.deliveries)):
            self._events.setdefault(one.id, one)
        self._deliveries += [delivery_row(sent, self._boot) for sent in work.deliveries]

    def __call__(self, connection: Connection) -> None:
        """Write all of it in the transaction that is open."""
        if self._results:
            connection.exec_driver_sql(INSERT_RESULT, self._results)
        for statement, rows in (
            (INSERT_RESULT_ONCE, self._results_again),
            (UPSERT_STATUS, self._statuses),
            (INSERT_EVENT, [event_row(one) for one in self._events.values()]),
            (INSERT_DELIVERY, self._deliveries),
            (SETTLE_DELIVERY, self._settled),
            (UPSERT_MEMORY, self._memory_rows()),
        ):
            if rows:
                connection.execute(statement, rows)
        if self._deliveries:
            crash_point("before_commit")

    def _memory_rows(self) -> Rows:
        return [{"check": writable(name), "data": data, "at": self._now} for name, data in self._memories.items()]


def plan(group: Iterable[Work], boot: int, now: float) -> list[Change]:
    """Return the changes that write a group, in order; a change in the queue ends one batch and begins the next."""
    changes: list[Change] = []
    batch: Batch | None = None
    for work in group:
        if isinstance(work, (Entry, Remembered, tuple)):
            if batch is None:
                batch = Batch(boot, now)
                changes.append(batch)
            batch.add(work)
        else:
            batch = None
            changes.append(work)
    return changes


def rename(connection: Connection, old: str, new: str) -> None:
    """Carry the past of a check over to its new name; not if the new name has a past of its own.

    What events say of themselves stays as it was said, under the old name.
    """
    for table, column in ((check_status, check_status.c.name), (result, result.c.check)):
        if connection.execute(select(table).where(column == new).limit(1)).first() is not None:
            return
    connection.execute(update(check_status).where(check_status.c.name == old).values(name=new))
    for table in (window, memory):
        connection.execute(delete(table).where(table.c.check == new))
    for table in (result, event, window, memory):
        connection.execute(update(table).where(table.c.check == old).values({"check": new}))


def forget(connection: Connection, name: str) -> None:
    """Drop what stands of a check that was removed, and what it remembers; its history stays for its time."""
    connection.execute(delete(check_status).where(check_status.c.name == name))
    for table in (window, memory):
        connection.execute(delete(table).where(table.c.check == name))

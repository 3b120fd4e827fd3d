"""The store's thread: it opens the file, owns the only connection that writes, commits groups, and tidies."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread
from time import monotonic

import structlog
from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from heartbeat.config.model import History
from heartbeat.store.backlog import Backlog, Change, Item
from heartbeat.store.batch import plan
from heartbeat.store.errors import StoreError, StoreFailed, explain, is_about_the_row
from heartbeat.store.files import connect_writer, has_reset_bug, pragma
from heartbeat.store.migrate import check_integrity, migrate
from heartbeat.store.retention import Sweep
from heartbeat.store.schema import OPEN, delivery, meta

PATIENCE = 5.0
"""Seconds that a commit waits for a lock which another program holds."""
COMPANY = 1.0
"""Seconds that a steady result waits for others to share a commit with."""
SWEEP = 60.0
"""Seconds between two looks at what is past its time."""
log = structlog.get_logger(__name__)


class Writer:
    """Everything that happens on the store's thread. Only ``backlog`` is shared; the rest is told by callback."""

    def __init__(
        self,
        path: Path,
        history: History,
        clock: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
        patience: float = PATIENCE,
    ) -> None:
        self.backlog = Backlog()
        self.history = history
        self.boot = 0
        self.failing = ""
        self.lost = 0
        """Steady results that were in a commit that failed; those that overload dropped are the backlog's."""
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.closing = False
        self.busy_since: float | None = None
        """When the commit that is under way began (monotonic); None between two."""
        self._path, self._clock, self._loop, self._patience = path, clock, loop, patience
        self._identity = (0, 0)
        self._next_sweep = 0.0
        self._sweep: Sweep | None = None
        # A disk that hangs must not keep the process from ending.
        Thread(target=self._run, name="store", daemon=True).start()

    def _run(self) -> None:
        engine = connect_writer(self._path, self._patience)
        try:
            with engine.connect() as connection:
                self._open(connection)
                self._tell([self.opened], None)
                self._work(connection)
        except Exception as error:  # noqa: BLE001 - the last hop: whoever waits must hear of it, whatever it is
            self.failing = explain(error, self._path)
            self._tell([self.opened], StoreError(self.failing))
        finally:
            engine.dispose()
            self._refuse_rest()
            self._tell([self.closed], None)

    def _open(self, connection: Connection) -> None:
        check_integrity(connection, self._path)
        migrate(connection, self._path)
        if pragma(connection, "journal_mode=WAL") != "wal":
            raise StoreError(f"The store {self._path} cannot keep a log beside it; put it on a local file system.")
        if has_reset_bug(sqlite3.sqlite_version_info):
            log.info("sqlite_reset_bug", version=sqlite3.sqlite_version,
                     meaning="harmless here: only one connection writes and checkpoints")  # fmt: skip
        with connection.begin():
            self.boot = 1 + int(connection.scalar(select(meta.c.value).where(meta.c.key == "boot")) or 0)
            connection.execute(insert(meta).prefix_with("OR REPLACE").values(key="boot", value=str(self.boot)))
            # Whoever held a lease is gone: the lock on the file says so.
            connection.execute(update(delivery).where(text(OPEN)).values(state="pending", lease_boot=None))
        self._identity = self._identify()

    def _work(self, connection: Connection) -> None:
        while not self.closing or len(self.backlog):
            group = self.backlog.take(COMPANY if not self.closing and not self._sweeping() else 0.0)
            if group:
                self.busy_since = monotonic()
                self._commit(connection, group)
                self.busy_since = None
            if self._sweeping() and not self.closing:
                self._tidy(connection)

    def _commit(self, connection: Connection, group: Sequence[Item]) -> None:
        """Write a group in one transaction and tell those who wait; where one row is refused, write one by one."""
        futures = [future for _, future in group if future is not None]
        try:
            changes = plan([work for work, _ in group], self.boot, self._clock())
            self._transact(connection, changes, durable=bool(futures))
        except Exception as error:  # noqa: BLE001 - the last hop: whoever waits must hear of it, whatever it is
            if len(group) > 1 and is_about_the_row(error):
                for item in group:
                    self._commit(connection, [item])
                return
            self._fail(error, futures, len(group) - len(futures))
        else:
            if self.failing:
                log.info("store_recovered", lost=self.lost)
            self.failing = ""
            self._tell(futures, None)

    def _transact(self, connection: Connection, changes: Sequence[Change], *, durable: bool) -> None:
        if durable and self._identify() != self._identity:
            raise StoreFailed(f"The store {self._path} was removed or replaced while in use; restart the daemon.")
        pragma(connection, f"synchronous={'FULL' if durable else 'NORMAL'}")
        with connection.begin():
            for change in changes:
                change(connection)

    def _fail(self, error: BaseException, futures: list[asyncio.Future[None]], steady: int) -> None:
        sentence = explain(error, self._path)
        self.lost += steady
        if not is_about_the_row(error):
            if sentence != self.failing:
                log.error("store_failing", error=sentence)
            self.failing = sentence
        else:
            log.error("store_refused_row", error=sentence)
        self._tell(futures, StoreFailed(sentence))

    def _sweeping(self) -> bool:
        return monotonic() >= self._next_sweep

    def _tidy(self, connection: Connection) -> None:
        """Delete one step; come back at once while there is more."""
        self._sweep = self._sweep or Sweep(self.history, self._clock())
        try:
            pragma(connection, "synchronous=NORMAL")
            with connection.begin():
                more = self._sweep.step(connection)
        except SQLAlchemyError as error:
            more = False
            log.warning("store_retention_failed", error=explain(error, self._path))
        if not more:
            self._sweep, self._next_sweep = None, monotonic() + SWEEP

    def _identify(self) -> tuple[int, int]:
        try:
            now = self._path.stat()
        except OSError:
            return (-1, -1)
        return now.st_dev, now.st_ino

    def _refuse_rest(self) -> None:
        self.closing = True
        while group := self.backlog.take(0.0):
            futures = [future for _, future in group if future is not None]
            self.lost += len(group) - len(futures)
            self._tell(futures, StoreFailed(self.failing or "The store is closed."))

    def _tell(self, futures: Sequence[asyncio.Future[None]], error: Exception | None) -> None:
        if futures:
            try:
                self._loop.call_soon_threadsafe(_settle, futures, error)
            except RuntimeError:  # the loop is closed: nobody waits any more
                log.debug("store_told_nobody")


def _settle(futures: Sequence[asyncio.Future[None]], error: Exception | None) -> None:
    for future in futures:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

"""The store's thread: it opens the file, owns the only connection that writes, commits groups, and tidies."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread
from time import monotonic

import structlog
from sqlalchemy import Connection, Engine, insert, select
from sqlalchemy.exc import SQLAlchemyError

from heartbeat.config.model import History
from heartbeat.crash import crash_point
from heartbeat.store.backlog import Backlog, Change, Item, count_steady
from heartbeat.store.batch import plan
from heartbeat.store.entry import Entry
from heartbeat.store.errors import FULL, StoreError, StoreFailed, explain, is_about_the_row, is_out_of_room
from heartbeat.store.files import LOG_BYTES, checkpoint, connect_writer, has_reset_bug, log_size, pragma
from heartbeat.store.migrate import check_integrity, migrate
from heartbeat.store.reserve import Reserve
from heartbeat.store.retention import Sweep
from heartbeat.store.schema import meta

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
        self.failures = {"write": 0, "prune": 0}
        """How often a commit and a step of the retention failed."""
        self.closing = False
        self.busy_since: float | None = None
        """When the commit that is under way began (monotonic); None between two."""
        self._path, self._clock, self._loop, self._patience = path, clock, loop, patience
        self._reserve = Reserve(path)
        self._identity = (0, 0)
        self._next_sweep = 0.0
        self._sweep: Sweep | None = None
        # A disk that hangs must not keep the process from ending.
        Thread(target=self._run, name="store", daemon=True).start()

    def _run(self) -> None:
        engine = connect_writer(self._path, self._patience)
        try:
            with self._connect(engine) as connection:
                self._tell([self.opened], None)
                self._work(connection)
        except Exception as error:  # noqa: BLE001 - the last hop: whoever waits must hear of it, whatever it is
            self.failing = explain(error, self._path)
            self._tell([self.opened], StoreError(self.failing))
        finally:
            engine.dispose()
            self._refuse_rest()
            self._tell([self.closed], None)

    def _connect(self, engine: Engine) -> Connection:
        """Return the connection, open and ready; on a full disk the reserve lets us start."""
        connection = None
        try:
            connection = engine.connect()
            self._open(connection)
        except Exception as error:
            if connection is not None:
                connection.close()
            if not self._give_up_reserve(error):
                raise
            return self._connect(engine)
        return connection

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
        self._identity = self._identify()
        if not self._reserve.make() and self._reserve.spent:
            self.failing = self._on_reserve()
            log.error("store_failing", error=self.failing)

    def _work(self, connection: Connection) -> None:
        while not self.closing or len(self.backlog):
            group = self.backlog.take(COMPANY if not self.closing and not self._sweeping() else 0.0)
            if group:
                self.busy_since = monotonic()
                self._commit(connection, group)
                self.busy_since = None
            if log_size(self._path) >= LOG_BYTES:
                self._checkpoint(connection)
            if self._reserve.spent and self.failing == self._on_reserve():
                self._recover()
            if self._sweeping() and not self.closing:
                self._tidy(connection)

    def _commit(self, connection: Connection, group: Sequence[Item]) -> None:
        """Write a group in one transaction and tell those who wait; where one row is refused, write one by one."""
        group = self._spare(group)
        futures = [future for _, future in group if future is not None]
        try:
            changes = plan([work for work, _ in group], self.boot, self._clock())
            self._transact(connection, changes, durable=bool(futures))
        except Exception as error:  # noqa: BLE001 - the last hop: whoever waits must hear of it, whatever it is
            if len(group) > 1 and is_about_the_row(error):
                for item in group:
                    self._commit(connection, [item])
                return
            if self._give_up_reserve(error):
                self._commit(connection, group)
                return
            self._fail(error, futures, count_steady(group))
        else:
            self._recover()
            self._tell(futures, None)

    def _recover(self) -> None:
        """The store works again; but on its reserve it still fails, so that somebody makes room."""
        on_reserve = self._reserve.spent and not self._reserve.make()
        before, self.failing = self.failing, self._on_reserve() if on_reserve else ""
        if before and not self.failing:
            log.info("store_recovered", lost=self.lost)

    def _give_up_reserve(self, error: BaseException) -> bool:
        """Make room for what matters, where that is what lacks and there is any."""
        if not (is_out_of_room(error) and self._reserve.release()):
            return False
        self.failing = self._on_reserve()
        log.error("store_failing", error=self.failing)
        return True

    def _on_reserve(self) -> str:
        return f"The store {self._path} keeps alerts only, on its last room: {FULL}."

    def _spare(self, group: Sequence[Item]) -> Sequence[Item]:
        """Leave out history while the store lives on its reserve: changes of state, events and deliveries need it."""
        if not self._reserve.spent:
            return group
        spared = [item for item in group if item[1] is None or (isinstance(item[0], Entry) and not item[0].again)]
        self.lost += count_steady(spared)
        self._tell([future for _, future in spared if future is not None], StoreFailed(self._on_reserve()))
        return [item for item in group if item not in spared] if spared else group

    def _transact(self, connection: Connection, changes: Sequence[Change], *, durable: bool) -> None:
        if durable and self._identify() != self._identity:
            raise StoreFailed(f"The store {self._path} was removed or replaced while in use; restart the daemon.")
        pragma(connection, f"synchronous={'FULL' if durable else 'NORMAL'}")
        with connection.begin():
            for change in changes:
                change(connection)

    def _fail(self, error: BaseException, futures: list[asyncio.Future[None]], steady: int) -> None:
        sentence = explain(error, self._path)
        self.failures["write"] += 1
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
                crash_point("during_retention")
        except SQLAlchemyError as error:
            more = False
            self.failures["prune"] += 1
            log.warning("store_retention_failed", error=explain(error, self._path))
        if not more:
            self._sweep, self._next_sweep = None, monotonic() + SWEEP
            self._checkpoint(connection)

    def _checkpoint(self, connection: Connection) -> None:
        try:
            checkpoint(connection)
        except sqlite3.Error as error:
            log.warning("store_checkpoint_failed", error=explain(error, self._path))

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
            self.lost += count_steady(group)
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

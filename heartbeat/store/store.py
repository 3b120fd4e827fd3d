"""The store as the main loop sees it: nothing here blocks, and what must be durable says when it is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from heartbeat.config.model import History
from heartbeat.core.deployment import Deployment
from heartbeat.core.model import Delivery, DeliveryState, Event
from heartbeat.core.quiet import Order
from heartbeat.store import deployments, quiet, reader
from heartbeat.store.backlog import Work
from heartbeat.store.batch import forget, rename
from heartbeat.store.entry import Entry, Recorded, Remembered, Snapshot
from heartbeat.store.errors import StoreFailed, explain
from heartbeat.store.files import connect_reader, lock, prepare
from heartbeat.store.windows import Saved, save
from heartbeat.store.writer import PATIENCE, Writer

GIVE_UP = 10.0
"""Seconds after which a caller is let go, as its disk hangs; the store counts as failing after half of them."""
T = TypeVar("T")
log = structlog.get_logger(__name__)


class Store:
    """An open store. Made by ``open``; all methods belong to the loop that opened it."""

    def __init__(self, path: Path, writer: Writer, lock_descriptor: int) -> None:
        self.path = path
        self._writer = writer
        self._lock: int | None = lock_descriptor
        self._loop = asyncio.get_running_loop()
        self._engine = connect_reader(path)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="store-reader")

    @classmethod
    async def open(
        cls, path: Path, *, history: History, clock: Callable[[], float], patience: float = PATIENCE
    ) -> Store:
        """Lock, check and migrate the file, making it where it is missing.

        Args:
            path: the file; its lock is ``<path>.lock`` beside it.
            history: how long results are kept; see the property of that name.
            clock: returns seconds since the epoch; called on the store's thread too.
            patience: seconds that a commit waits for a lock which another program holds.

        Raises:
            StoreError: the file is in use, damaged, newer than this version, or cannot be written.
        """
        await asyncio.to_thread(prepare, path)
        descriptor = lock(path)
        writer = Writer(path, history, clock, asyncio.get_running_loop(), patience)
        try:
            await writer.opened
        except BaseException:
            writer.closing = True
            await asyncio.shield(writer.closed)
            os.close(descriptor)
            raise
        return cls(path, writer, descriptor)

    @property
    def boot(self) -> int:
        """The number of this opening, counted up at each; leases carry it."""
        return self._writer.boot

    @property
    def failing(self) -> str:
        """Why the last commit failed, or does not end, and what to do; or nothing."""
        since = self._writer.busy_since
        if since is not None and monotonic() - since > GIVE_UP / 2:
            return self._hanging()
        return self._writer.failing

    @property
    def backlog(self) -> int:
        """How many records wait to be written."""
        return len(self._writer.backlog)

    @property
    def lost(self) -> int:
        """How many steady results were never written: dropped by overload, or in a commit that failed."""
        return self._writer.lost + self._writer.backlog.dropped

    @property
    def failures(self) -> Mapping[str, int]:
        """How many operations failed, by kind: ``write`` for commits, ``prune`` for steps of the retention."""
        return self._writer.failures

    @property
    def history(self) -> History:
        """How long results are kept; may be set at any time, as after a reload."""
        return self._writer.history

    @history.setter
    def history(self, history: History) -> None:
        self._writer.history = history

    def write(self, entry: Entry) -> asyncio.Future[None] | None:
        """Record an entry; never blocks.

        Returns:
            A future for a durable entry: done after its commit, or ``StoreFailed``; then hand the same entry over
            again later. None for a steady result, which waits up to a second for company and may be lost.
        """
        if entry.durable:
            return self._submit(entry)
        if self._writer.closing:
            self._writer.backlog.dropped += 1
        else:
            self._writer.backlog.put(entry)
        return None

    def settle(self, *deliveries: Delivery) -> asyncio.Future[None]:
        """Record how far deliveries got, all in one durable commit; what is not there yet is inserted as a whole."""
        return self._submit(deliveries)

    def save(self, windows: Sequence[Saved]) -> None:
        """Record windows in one commit, when there is one; what gets lost is filled again from results."""
        if not self._writer.closing:
            self._writer.backlog.put(partial(save, saved=windows))

    def flush(self) -> asyncio.Future[None]:
        """Write all that waits; done when it can be read."""
        return self._submit(_nothing)

    def keep(self, order: Order) -> asyncio.Future[None]:
        """Record what somebody asked for at run time, or that it has ended."""
        return self._submit(partial(quiet.save, order=order))

    def remember(self, check: str, data: str) -> asyncio.Future[None]:
        """Record what a check remembers, as JSON, in place of what it did."""
        return self._submit(Remembered(check, data))

    def mark(self, deployment: Deployment) -> asyncio.Future[None]:
        """Record a deployment, or what has become of it."""
        return self._submit(partial(deployments.save, deployment=deployment))

    def rename(self, old: str, new: str) -> asyncio.Future[None]:
        """Carry status, results, events, windows and memory over to a new name, unless that has a past of its own."""
        return self._submit(partial(rename, old=old, new=new))

    def forget(self, name: str) -> asyncio.Future[None]:
        """Drop status, windows and memory of a removed check; its history stays for the retention time."""
        return self._submit(partial(forget, name=name))

    def _submit(self, work: Work) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        if self._writer.closing:
            future.set_exception(StoreFailed(self.failing or f"The store {self.path} is closed."))
        elif not self._writer.backlog.put(work, future):
            future.set_exception(StoreFailed(f"The store {self.path} is {self.backlog} records behind; "
                                             "its disk is too slow or hangs."))  # fmt: skip
        else:
            giving_up = self._loop.call_later(GIVE_UP, self._give_up, future)
            future.add_done_callback(lambda _: giving_up.cancel())
        return future

    def _give_up(self, future: asyncio.Future[None]) -> None:
        """Let the caller go on without the disk; the record stays in the queue and may still be written."""
        if not future.done():
            future.set_exception(StoreFailed(self._hanging()))

    def _hanging(self) -> str:
        return f"The store {self.path} has not answered for over {GIVE_UP / 2:g} s; its disk is too slow or hangs."

    async def load(self) -> Snapshot:
        """Read what a start takes over from the past; call it before anything runs."""
        return await self._read(reader.load)

    async def results(self, check: str, limit: int = 100) -> list[Recorded]:
        """Return the latest runs of a check, newest first; steady ones appear within about a second."""
        return await self._read(partial(reader.results, check=check, limit=limit))

    async def events(self, check: str | None = None, limit: int = 100) -> list[Event]:
        """Return the latest events of a check, or of all, newest first."""
        return await self._read(partial(reader.events, check=check, limit=limit))

    async def deliveries(
        self, incident: str | None = None, state: DeliveryState | None = None, limit: int = 100
    ) -> list[Delivery]:
        """Return the latest deliveries, newest first."""
        return await self._read(partial(reader.deliveries, incident=incident, state=state, limit=limit))

    async def find(self, ids: Collection[str]) -> list[Delivery]:
        """Return those of these deliveries that are there."""
        return await self._read(partial(reader.find, ids=ids))

    async def ended(self, channel: str, since: float) -> list[Event]:
        """Return the events since a time by which incidents ended that a channel is told of, oldest first."""
        return await self._read(partial(reader.ended, channel=channel, since=since))

    async def ask(self, query: Callable[[Connection], T]) -> T:
        """Return what a query of ``ledger`` finds. Raises ``StoreFailed``."""
        return await self._read(query)

    async def _read(self, query: Callable[[Connection], T]) -> T:
        return await self._loop.run_in_executor(self._pool, self._query, query)

    def _query(self, query: Callable[[Connection], T]) -> T:
        try:
            with self._engine.connect() as connection:
                return query(connection)
        except Exception as error:
            raise StoreFailed(explain(error, self.path)) from error

    async def close(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - the bound is the promise of this method
        """Write what waits, for at most ``timeout`` seconds, and let go of the file.

        A disk that hangs keeps the lock until the process ends; what was not confirmed fails with ``StoreFailed``.
        """
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._writer.closing = True
        self._writer.backlog.wake()
        try:
            await asyncio.wait_for(asyncio.shield(self._writer.closed), timeout)
        except TimeoutError:
            log.error("store_close_timeout", waiting=self.backlog, path=str(self.path))
            return
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _nothing(_: Connection) -> None:
    """Write nothing: what counts is what was written before."""

"""The one queue between the main loop and the store's thread: first in, first out, bounded, never blocking."""

from __future__ import annotations

from asyncio import Future
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from threading import Event, Lock

from sqlalchemy import Connection

from heartbeat.core.model import Delivery
from heartbeat.store.entry import Entry, Remembered

GROUP = 500
"""At most so many records go into one transaction; with so many waiting, nobody waits for more."""
LIMIT = 20_000

Change = Callable[[Connection], object]
"""Anything else that is done in its place in the queue, inside the transaction of its group."""
Settled = tuple[Delivery, ...]
"""How far some deliveries got; recorded together."""
Work = Entry | Settled | Remembered | Change
Item = tuple[Work, "Future[None] | None"]


def count_steady(items: Iterable[Item]) -> int:
    """Return how many of them are steady results; windows may be dropped too, but are saved again soon."""
    return sum(future is None and isinstance(work, Entry) for work, future in items)


class Backlog:
    """What waits to be written. Work with a future is durable; work without may be dropped, oldest first."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.dropped = 0
        self._limit = limit
        self._steady = 0
        self._items: deque[Item] = deque()
        self._lock = Lock()
        self._wake = Event()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, work: Work, future: Future[None] | None = None) -> bool:
        """Add work. False says that the queue is full of durable work and took nothing."""
        with self._lock:
            if len(self._items) >= self._limit and not self._make_room():
                self.dropped += count_steady([(work, future)])
                return False
            self._items.append((work, future))
            self._steady += future is None
        if future is not None or len(self._items) >= GROUP:
            self._wake.set()
        return True

    def _make_room(self) -> bool:
        """Drop the oldest tenth of what may be dropped, in one pass, so that overload costs little per record."""
        excess = min(self._steady, max(1, self._limit // 10))
        if excess:
            steady = ((index, item) for index, item in enumerate(self._items) if item[1] is None)
            doomed = dict(islice(steady, excess))
            self.dropped += count_steady(doomed.values())
            self._items = deque(item for index, item in enumerate(self._items) if index not in doomed)
            self._steady -= excess
        return bool(excess)

    def take(self, wait: float) -> list[Item]:
        """Return the next group, after at most ``wait`` seconds; at once when durable work is waiting."""
        self._wake.wait(wait)
        self._wake.clear()
        with self._lock:
            group = [self._items.popleft() for _ in range(min(GROUP, len(self._items)))]
            self._steady -= sum(future is None for _, future in group)
            if self._items:
                self._wake.set()
        return group

    def wake(self) -> None:
        """Let ``take`` return at once."""
        self._wake.set()

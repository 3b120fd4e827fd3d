"""What checks remember from run to run: in memory while the daemon runs, and in the store behind it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import structlog

from heartbeat.backing import Memory
from heartbeat.store import Store, StoreFailed

log = structlog.get_logger()


class Memories:
    """The memories of all checks, by name. A rename moves them, a removal drops them, here and in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._texts: dict[str, str] = {}
        self._known: dict[str, Memory] = {}
        self._unwritten: dict[str, str] = {}

    def recall(self, texts: Mapping[str, str]) -> None:
        """Take over what the store has."""
        self._texts.update(texts)

    def of(self, name: str) -> Memory:
        """Return what a check remembers: the same object each time, which follows a rename."""
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = Memory(self._texts.pop(name, ""), partial(self._write, name))
        return known

    def rename(self, old: str, new: str) -> None:
        """Let a check remember under its new name."""
        memory = self.of(old)
        self.forget(old)
        memory.write = partial(self._write, new)
        self._known[new] = memory

    def forget(self, name: str) -> None:
        """Remember nothing more of a check."""
        for held in (self._known, self._texts, self._unwritten):
            held.pop(name, None)

    async def _write(self, name: str, text: str) -> None:
        """Write what a check remembers. Where the store fails it holds in memory, and is written when it is back."""
        try:
            await self._store.remember(name, text)
        except StoreFailed as failure:
            log.error("what a check remembers is not on disk", check=name, error=str(failure))
            self._unwritten[name] = text
        else:
            self._unwritten.pop(name, None)

    @property
    def lag_behind(self) -> bool:
        """Whether the store could not take something."""
        return bool(self._unwritten)

    async def write_again(self) -> None:
        """Write what the store could not take, until it fails again."""
        for name, text in list(self._unwritten.items()):
            if self._store.failing:
                return
            await self._write(name, text)

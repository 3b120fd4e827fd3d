"""What checks remember from run to run: in memory while the daemon runs, and in the store behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from json import dumps
from typing import Any

import structlog

from heartbeat.backing import OWED, TYPE, Memory
from heartbeat.store import Store, StoreFailed

log = structlog.get_logger()


OURS = "heartbeat."
"""What the names of what we remember ourselves begin with."""


class Memories:
    """The memories of all checks, by name. A rename moves them; a removal drops them, and so does another type.

    Args:
        store: where they are written.
        type_of: returns the type of a check, None where there is no such check.
    """

    def __init__(self, store: Store, type_of: Callable[[str], str | None] = lambda _: "") -> None:
        self._store = store
        self._type_of = type_of
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
            if self._is_of_another_type(name):
                self.begin_anew(name)
            write = partial(self._write, name)
            known = self._known[name] = Memory(self._texts.pop(name, ""), write, self._type_of(name))
        return known

    def rename(self, old: str, new: str) -> None:
        """Let a check remember under its new name."""
        every: tuple[dict[str, Any], ...] = (self._known, self._texts, self._unwritten)
        for held in every:
            held.pop(new, None)
            if old in held:
                held[new] = held.pop(old)
        if memory := self._known.get(new):
            memory.write = partial(self._write, new)

    def forget(self, name: str) -> None:
        """Remember nothing more of a check, not even what a run of it may still have to say. What it owed is logged."""
        memory, text = self._known.pop(name, None), self._texts.pop(name, "")
        self._unwritten.pop(name, None)
        if memory is None and f'"{OWED}":' in text:
            memory = Memory(text)
        if memory is not None:
            memory.write = None
            if memory.owed:
                log.warning("what a check left behind nobody sees to any more", check=name, left=memory.owed)

    def begin_anew(self, name: str) -> None:
        """Forget what a check remembered that has become one of another type."""
        self.forget(name)
        self._unwritten[name] = "{}"

    def sort_out(self) -> list[str]:
        """Forget what stands of checks that are gone, whose names are returned, or that are of another type now."""
        gone = [name for name in self._texts if self._type_of(name) is None and not name.startswith(OURS)]
        for name in gone:
            self.forget(name)
        for name in filter(self._is_of_another_type, tuple(self._texts)):
            self.begin_anew(name)
        return gone

    def _is_of_another_type(self, name: str) -> bool:
        """Say so without reading all of it: there may be ten thousand. The type is written first."""
        text, type_ = self._texts.get(name, ""), self._type_of(name)
        return bool(type_) and text.startswith(f'{{"{TYPE}":') and not text.startswith(f'{{"{TYPE}":{dumps(type_)}')

    async def _write(self, name: str, text: str) -> None:
        """Write what a check remembers. Where the store fails it holds in memory, and is written when it is back."""
        self._unwritten.pop(name, None)  # at once: what is older must never be written after it
        try:
            await self._store.remember(name, text)
        except StoreFailed as failure:
            log.error("what a check remembers is not on disk", check=name, error=str(failure))
            self._unwritten[name] = text

    @property
    def lag_behind(self) -> bool:
        """Whether the store could not take something."""
        return bool(self._unwritten)

    async def write_again(self) -> None:
        """Write what the store could not take, until it fails again."""
        for name in tuple(self._unwritten):
            if self._store.failing:
                return
            if name in self._unwritten:  # what is newer may have been written meanwhile
                await self._write(name, self._unwritten[name])

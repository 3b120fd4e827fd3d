"""When Python collects cycles, and when memory goes back to the system.

A run makes no reference cycles, be it a good or a failing one (measured: none in 4,000 runs), so what it leaves is
freed at once by its reference count. Left alone, the collector still looks at everything again and again: a full
collection with ten thousand checks holds the loop for 13 to 68 ms, and finds nothing. So

* what is there when the daemon has started, and the checks of a large reload, are frozen: never looked at again. They
  are freed by their reference counts all the same;
* young objects are collected as usual, in portions that take a few milliseconds at most: plugins and libraries do
  make cycles;
* old ones are collected when clearly more is held than after the last time, at two looks in a row: a page of metrics
  is gone by the second. Where it is not, no cycle that matters is left. What counts is what is held now: its peak would
  have to grow further each time;
* the first time is the exception: what the first runs of all checks leave is no waste, and is frozen too.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import sysconf
from pathlib import Path
from sys import getallocatedblocks
from time import monotonic, perf_counter

import structlog

log = structlog.get_logger()

THRESHOLDS = (10_000, 5, 1_000_000)
"""Of Python's three generations; the first is larger than by default, so that results are in the store before they
are looked at, and the last is never reached, as ``OldObjects`` does that."""
EVERY = 5.0
"""Seconds between two looks at how much is alive; a look takes 60 us for a million blocks."""
BLOCKS = 100_000
"""Blocks of memory (of 60 bytes or so each) by which Python has to hold more, before old objects are collected."""
RESIDENT = 8 * 2**20
"""Bytes by which all of the process has to hold more: a small object of Python's may own a large one of OpenSSL's."""
SHARE = 10
"""And this part of what was held before."""
PAGE = sysconf("SC_PAGE_SIZE")


@contextmanager
def no_collection() -> Iterator[None]:
    """Collect nothing inside: all that loading builds is kept, and looking at it takes a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def settle() -> None:
    """Take what there is as what there will be: clean up once, freeze the rest, and give back what is free."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    return_memory()


def keep() -> None:
    """Freeze what was built while nothing was collected, before the collector would look at all of it."""
    gc.freeze()


def return_memory() -> None:
    """Give free memory back to the system, where the C library can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@dataclass(frozen=True, slots=True)
class Load:
    """What is held: blocks by Python, bytes in memory by all of the process (libraries written in C hold some, too)."""

    blocks: int
    resident: int

    @classmethod
    def now(cls) -> Load:
        """Look."""
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return cls(getallocatedblocks(), pages * PAGE)

    def least(self, other: Load) -> Load:
        """Return the lower of each."""
        return Load(min(self.blocks, other.blocks), min(self.resident, other.resident))

    def has_grown(self, before: Load) -> bool:
        """Say whether it is clearly more than it was."""
        more_blocks = self.blocks - before.blocks >= BLOCKS + before.blocks // SHARE
        return more_blocks or self.resident - before.resident >= RESIDENT + before.resident // SHARE


class OldObjects:
    """Collects what young collections leave, when there is reason to; asked by the ticker."""

    def __init__(self) -> None:
        self._due = monotonic() + EVERY
        self._load = Load.now()
        self._grew = False
        self._is_first = True

    def tick(self) -> None:
        """Collect if more is held than there was after the last time, and has been since the last look."""
        if monotonic() < self._due:
            return
        self._due = monotonic() + EVERY
        load = Load.now()
        self._load = self._load.least(load)
        grew, self._grew = self._grew, load.has_grown(self._load)
        if not (grew and self._grew):
            return
        self._grew = False
        if self._is_first:
            self._is_first = False
            keep()
        else:
            _collect()
        self._load = Load.now()


def _collect() -> None:
    began = perf_counter()
    found = gc.collect()
    return_memory()
    log.debug("old objects collected", found=found, seconds=round(perf_counter() - began, 4))

"""When the disk itself stood still: what is committed meanwhile waits for it, whoever commits."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import time

STALL = 0.02
"""Seconds from which a write of a page counts as a standstill; it takes less than one usually."""
PAUSE = 0.02
PAGE = b"x" * 4096

Stall = tuple[float, float]
"""From when to when, in seconds since the epoch."""


@contextmanager
def stalls_of(folder: Path) -> Iterator[list[Stall]]:
    """Write a page to a file of our own again and again while the block runs, and note when that took long."""
    found: list[Stall] = []
    over = threading.Event()

    def watch() -> None:
        with (folder / "page").open("wb", buffering=0) as file:
            while not over.wait(PAUSE):
                began = time()
                os.pwrite(file.fileno(), PAGE, 0)
                os.fsync(file.fileno())
                if (ended := time()) - began > STALL:
                    found.append((began, ended))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()


def overlaps(began: float, ended: float, stalls: list[Stall]) -> bool:
    """Say whether something fell into a standstill, or one into it."""
    return any(began <= stall[1] and stall[0] <= ended for stall in stalls)

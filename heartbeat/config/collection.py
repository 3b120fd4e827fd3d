"""Keeping Python's garbage collector out of the way while a large configuration is built.

Nothing that loading builds is garbage, but the collector looks at all of it again and again: at ten thousand checks
that is a third of the time, and holds the loop for half a second (measured).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection(*, freeze: bool) -> Iterator[None]:
    """Collect nothing inside.

    Args:
        freeze: leave what is there afterwards out of all later collections: it is kept for long, and is freed by its
            reference count when the next configuration takes its place.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
        if freeze:
            gc.freeze()
    finally:
        if was_on:
            gc.enable()

"""Importing a library without another one that it takes where it is there, and of which we make no use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hidden(*names: str) -> Iterator[None]:
    """Let modules that were not imported so far not be found while the block runs.

    httpx brings a command line with it and structlog pretty tracebacks: click, rich and Pygments, 5 to 10 MB in the
    memory of a daemon that never uses them. Both do without where the import fails.
    """
    ours = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(ours))  # type: ignore[arg-type]  # None is the documented way to say no
    try:
        yield
    finally:
        for name in ours:
            del sys.modules[name]

"""A loop on which time passes at once, wherever everybody waits for it."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

T = TypeVar("T")
Play = Callable[[Coroutine[Any, Any, T]], T]


class Instant(selectors.DefaultSelector):
    """Waits for nothing but the time, which it lets pass."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "everybody waits for something that never comes"
        self.now += max(0.0, timeout)
        return []


class Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.instant = Instant()
        super().__init__(self.instant)

    def time(self) -> float:
        return self.instant.now


def run_at_once(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(work)


@pytest.fixture(scope="session")
def play() -> Play[Any]:
    """Return what runs a coroutine, on a clock of its own that begins at 0."""
    return run_at_once

"""What has arrived at a receiver, in order, and a way to wait for the next thing that fits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class NeverArrived(Exception):  # noqa: N818 - what the story says when it does not go on
    """Something that the story waits for did not come in time."""


class Arrivals(Generic[T]):
    """Things that arrived. ``show`` is called with each one as it comes in."""

    def __init__(self, show: Callable[[T], None] = lambda _: None) -> None:
        self.all: list[T] = []
        self._show = show
        self._more = asyncio.Event()

    def add(self, thing: T) -> None:
        """Take one in, show it, and wake who waits for it."""
        self.all.append(thing)
        self._show(thing)
        self._more.set()

    async def first(self, what: str, fits: Callable[[T], bool], *, after: int = 0, within: float = 20.0) -> T:
        """Return the first one past the first ``after`` that fits, at once or when it arrives.

        Args:
            what: the thing's name for the error, as in "no alert mail arrived".
            fits: says whether it is the one.
            after: how many arrivals to pass over.
            within: seconds to wait for it.

        Raises:
            NeverArrived: nothing that fits came in time.
        """
        try:
            async with asyncio.timeout(within):
                while True:
                    self._more.clear()
                    for thing in self.all[after:]:
                        if fits(thing):
                            return thing
                    await self._more.wait()
        except TimeoutError:
            raise NeverArrived(f"no {what} arrived within {within:.0f} seconds") from None

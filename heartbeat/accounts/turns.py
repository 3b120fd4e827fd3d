"""A lock that knows who has it and since when, and whose turn comes next: who asks first gets it first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from heartbeat.core.times import readable


class Taken(Exception):  # noqa: N818 - a sentence for who waited in vain
    """Others kept it all the time; the text says who has it."""


class Turns:
    """One has it, the others wait in order. It is handed on directly, so that nobody pushes in."""

    __slots__ = ("_holder", "_queue", "_since")

    def __init__(self) -> None:
        self._holder: str | None = None
        self._since = 0.0
        self._queue: dict[asyncio.Future[None], str] = {}

    @property
    def is_taken(self) -> bool:
        """Whether somebody has it."""
        return self._holder is not None

    @property
    def is_idle(self) -> bool:
        """Whether nobody has it, and nobody waits."""
        return self._holder is None and not self._queue

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue)

    async def take(self, who: str, within: float, now: Callable[[], float]) -> None:
        """Return when it is ours. Raises ``Taken`` where it is not so within so many seconds.

        Whoever is cancelled while he waits, even in the moment in which it is handed to him, leaves nothing behind.
        """
        if self._holder is None:  # then nobody waits, as it is handed on
            self._holder, self._since = who, now()
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue[turn] = who
        try:
            async with asyncio.timeout(within):
                await turn
        except TimeoutError:
            if turn.done() and not turn.cancelled():  # it became ours in the last moment
                return
            raise Taken(self._describe(turn)) from None
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.give_back(now)
            raise
        finally:
            self._queue.pop(turn, None)

    def give_back(self, now: Callable[[], float]) -> None:
        """Hand it to the next one who still waits."""
        while self._queue:
            turn = next(iter(self._queue))
            who = self._queue.pop(turn)
            if not turn.done():
                self._holder, self._since = who, now()
                turn.set_result(None)
                return
        self._holder = None

    def _describe(self, turn: asyncio.Future[None]) -> str:
        others = next((place for place, one in enumerate(self._queue) if one is turn), 0)
        first = f", and {others} more come first" if others else ""
        return f"{self._holder or 'another one'} has had it since {readable(self._since)}{first}"

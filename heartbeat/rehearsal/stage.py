"""What stands around a rehearsal: a store that is thrown away, and time that can be moved on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from heartbeat import http
from heartbeat.assembly import Assembly, Setting, assemble
from heartbeat.channels.attempt import Transport, send
from heartbeat.clock import Clock, Reading, read_clocks
from heartbeat.config import Config
from heartbeat.lag import LagMeter
from heartbeat.metrics.instruments import Instruments
from heartbeat.outbox.pace import Pace
from heartbeat.state import Live
from heartbeat.store import Store

GRACE = 2.0
"""Seconds that what is under way has at the end."""

DIFFERENCES = {
    "outbox._desk.transport": "the last hop keeps a message instead of sending it",
    "line.clock._read": "time can be moved on, or everybody would wait for group_wait",
    "line.clock._boottime": "the same",
    "outbox._pace.monotonic": "the same",
    "accounts.around.reread": "nothing is loaded again in its course, so secret files are not read again either",
    "accounts.around.changed": "the check of the accounts is the daemon's own, and only those of the configuration run",
}
"""All in which the parts of a dry run are other than the daemon's, by where they stand in an ``Assembly``.

Their store is a temporary one, and nothing starts runs by itself. A test holds this against the real objects.
"""
ASSUMED = {
    "line.perform": "what the plugin found is replaced by what is assumed",
    "line.pause": "a second look at what is assumed needs no waiting",
}
"""What else is other where a result is assumed."""


class Ahead:
    """The clocks of the system, which can be moved on together."""

    def __init__(self, read: Callable[[], Reading] = read_clocks) -> None:
        self._read = read
        self._seconds = 0.0

    def __call__(self) -> Reading:
        """Read them."""
        now, more = self._read(), self._seconds
        return Reading(now.wall + more, now.monotonic + more, now.boottime + more)

    def monotonic(self) -> float:
        """Return the time that waiting goes by."""
        return self().monotonic

    def pass_by(self, seconds: float) -> None:
        """Let time pass, at once."""
        self._seconds += seconds


@dataclass(frozen=True, slots=True)
class Stage:
    """The parts of the line in a rehearsal, and the time that they go by."""

    config: Config
    parts: Assembly
    store: Store
    clock: Clock
    time: Ahead

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        while tasks := set(self.parts.dispatch.tasks):
            await asyncio.wait(tasks)

    def pass_by(self, seconds: float) -> None:
        """Let time pass at once, and let the outbox see what is due now, as after a sleep of the machine."""
        self.time.pass_by(seconds)
        self.parts.outbox.look_again()


@asynccontextmanager
async def staged(
    config: Config, transport: Transport = send, read: Callable[[], Reading] = read_clocks
) -> AsyncIterator[Stage]:
    """Put everything together as the daemon does, with all checks of the configuration, and clear it away afterwards.

    Args:
        config: what the checks are, and who is told.
        transport: the last hop; what is rehearsed hands in another than the daemon's.
        read: reads the clocks.
    """
    with TemporaryDirectory(prefix="heartbeat-rehearsal-") as folder:
        time, lag = Ahead(read), LagMeter()
        clock = Clock(time)
        store = await Store.open(Path(folder) / "heartbeat.db", history=config.history, clock=clock.now)
        pace = Pace(monotonic=time.monotonic)
        parts = assemble(Setting(lambda: config, store, clock, lag, Instruments(), pace), transport)
        parts.adopt(config)
        parts.state.checks.update({name: Live(check) for name, check in config.checks.items()})
        lag.start()
        await parts.outbox.start()
        try:
            yield Stage(config, parts, store, clock, time)
        finally:
            await parts.dispatch.drain(GRACE)
            await parts.outbox.drain(GRACE)
            await store.close()
            lag.stop()
            http.close()

"""A check that watches the daemon's own loop from inside, for the bench: how long was it held?"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from pathlib import Path
from time import perf_counter, time

from heartbeat import Check, Probe

TICK = 0.001
NOTICEABLE = 0.002
LateTick = tuple[float, float, float, float]


class Stillness(Check):
    """Tick every millisecond for some seconds, and write down when a tick came late, and by how much.

    ``schedstat`` tells what the thread did in that time: nanoseconds on a core, and nanoseconds on a run queue, when
    it only waited for a core because others used it.
    """

    file: Path
    """JSON: a list of [seconds since the epoch, seconds late, seconds that it waited for a core, seconds on one]."""
    seconds: float = 10.0

    async def run(self, probe: Probe) -> None:
        """Watch, and write the file at the end."""
        found: list[LateTick] = []
        statistics = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
        ended = asyncio.get_running_loop().create_future()
        ends = perf_counter() + self.seconds
        watch(statistics, found, ends, ended)
        try:
            await ended
        finally:
            os.close(statistics)
        self.file.write_text(json.dumps(found), encoding="ascii")
        probe.record("late_ticks", len(found))


def watch(statistics: int, found: list[LateTick], ends: float, ended: asyncio.Future[None]) -> None:
    """Tick until the end."""
    loop = asyncio.get_running_loop()

    def spent() -> tuple[int, int]:
        ran, waited, _ = os.pread(statistics, 80, 0).split()
        return int(ran), int(waited)

    def tick(due: float, before: tuple[int, int]) -> None:
        now, after = perf_counter(), spent()
        if now - due > NOTICEABLE:
            found.append((time(), now - due, (after[1] - before[1]) / 1e9, (after[0] - before[0]) / 1e9))
        if ended.done():
            return
        if now > ends:
            ended.set_result(None)
            return
        loop.call_later(TICK, tick, perf_counter() + TICK, after)

    loop.call_later(TICK, tick, perf_counter() + TICK, spent())

"""Windows are saved: a few at a time, all in five minutes, and what is left when the daemon ends.

What is not saved is filled again from results, so nothing is urgent but what no result tells: runs that were missed,
windows that are new, and a step of the clock, which moves them all. It moves the statuses too, so those are recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice
from math import ceil
from time import monotonic, perf_counter

from heartbeat.clock import STEP
from heartbeat.core.status import Status, incidents
from heartbeat.core.windows import Windows
from heartbeat.dispatch import Dispatch
from heartbeat.line import tell
from heartbeat.refill import outline
from heartbeat.state import Live
from heartbeat.store import Entry
from heartbeat.store.windows import Saved

ROUND = 300
"""Ticks in which all windows are saved that have changed, if results are kept for longer than that."""
CRON = 60.0
"""Seconds between two runs of a check with a cron schedule, at least."""
LOOK = 1000
"""Checks that are looked at in each tick for what is pressing: half a millisecond."""
SLICE = 0.002
"""Seconds of work after which others may run."""
PAUSE = 0.02
"""Seconds between two slices."""
FAREWELL = 0.5
"""Seconds at the end that are taken from nobody's grace."""


class Saving:
    """Keeps what is on disk close to what is in memory."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._saved: dict[str, tuple[Windows | None, tuple[int, ...]]] = {}
        """What was saved last, and how many runs had been counted by then."""
        self._due: dict[str, None] = {}
        self._look: Iterator[tuple[str, Live]] = iter(())
        self._round: Iterator[tuple[str, Live]] = iter(())
        self._portion = 0
        self._offset = self._read_offset()
        self._under_way = False

    def start(self) -> None:
        """Take all windows as saved: what they hold comes from there, or from results that are there."""
        self._saved = {name: (live.windows, live.runs.values()) for name, live in self._windowed()}

    def tick(self) -> None:
        """See what is to be saved; called once a second."""
        offset = self._read_offset()
        if abs(offset - self._offset) >= STEP:
            self._offset = offset
            self._saved.clear()
            self._record_statuses()
        self._due |= dict.fromkeys(self._pressing())
        self._due |= dict.fromkeys(self._next_portion())
        if self._due and not self._under_way:
            self._under_way = True
            self._dispatch.spawn(self._save_slowly(), "saving windows")

    def _record_statuses(self) -> None:
        """Record the statuses whose times matter, as they are on the clock that was stepped."""
        for name, live in self._dispatch.state.checks.items():
            if is_stirred(live.status):
                self._dispatch.spawn(self._record_status(live), name)

    async def _record_status(self, live: Live) -> None:
        line = self._dispatch.line
        if not live.retired:
            await tell(line, Entry(check=live.config.name, status=live.status, steady_at=line.clock.steady()))

    async def finish(self, seconds: float) -> None:
        """Save all that has changed, for so many seconds at most, or a moment; results tell the rest."""
        until = monotonic() + max(FAREWELL, seconds)
        self._due |= {name: None for name, live in self._windowed() if self._has_news(name, live)}
        while self._due and monotonic() < until:
            self._save_slice()
            await asyncio.sleep(0)

    async def _save_slowly(self) -> None:
        try:
            while self._due and not self._dispatch.line.closing.is_set():
                self._save_slice()
                await asyncio.sleep(PAUSE)
        finally:
            self._under_way = False

    def _save_slice(self) -> None:
        """Save for a moment. Only the text is made here; the store's thread writes it."""
        saved, until = [], perf_counter() + SLICE
        while self._due and perf_counter() < until:
            name = next(iter(self._due))
            del self._due[name]
            live = self._dispatch.state.checks.get(name)
            if live is not None and live.windows is not None:
                which = "; ".join(map(outline, live.windows.plan.needs))
                saved.append(Saved(name, which, live.windows.dump(), self._dispatch.line.clock.now()))
                self._saved[name] = live.windows, live.runs.values()
        if saved:
            self._dispatch.line.store.save(saved)

    def _windowed(self) -> list[tuple[str, Live]]:
        return [(name, live) for name, live in self._dispatch.state.checks.items() if live.windows is not None]

    def _pressing(self) -> list[str]:
        """Return those of the next checks whose windows are new, or counted missed runs: no result tells of them."""
        checks = list(islice(self._look, LOOK))
        if not checks:
            self._look = iter(tuple(self._dispatch.state.checks.items()))
            checks = list(islice(self._look, LOOK))
        never, saved = (None, (0,)), self._saved
        return [
            name
            for name, live in checks
            if live.windows is not None
            and ((known := saved.get(name, never))[0] is not live.windows or known[1][-1] != live.runs.missed)
        ]

    def _next_portion(self) -> list[str]:
        """Return those whose turn it is, if there is anything new."""
        checks = list(islice(self._round, self._portion))
        if not checks:
            every = self._dispatch.state.checks
            self._round, self._portion = iter(tuple(every.items())), ceil(len(every) / self._ticks())
            self._saved = {name: known for name, known in self._saved.items() if name in every}
            checks = list(islice(self._round, self._portion))
        return [name for name, live in checks if live.windows is not None and self._has_news(name, live)]

    def _ticks(self) -> int:
        """Return how long a round is: half as long as results are kept, which tell what was not saved, at most."""
        history = self._dispatch.line.store.history
        runs = sum(1 / (live.config.policy.interval or CRON) for live in self._dispatch.state.checks.values())
        return max(1, round(min(ROUND, history.keep / 2, history.rows / max(runs, 1.0) / 2)))

    def _has_news(self, name: str, live: Live) -> bool:
        known, runs = self._saved.get(name, (None, ()))
        return known is not live.windows or runs != live.runs.values()

    def _read_offset(self) -> float:
        clock = self._dispatch.line.clock
        return clock.now() - clock.steady()


def is_stirred(status: Status) -> bool:
    """Say whether there are times in a status that decide anything: of what is open, and of what was not ok lately."""
    return any(incidents(status)) or any(sample.severity for sample in status.recent)

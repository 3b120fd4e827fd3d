"""What others report to checks: kept on disk and judged before it is answered; and what was not reported in time.

A check that is reported to has no slots. It runs when a report wants it to, and when its ``due`` says that something is
missing; it is asked that at the start, after each report and run, and once more when the time has come.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf, isnan

import structlog

from heartbeat.backing import Memory
from heartbeat.check import CheckBroken, Reply, Report, Reported
from heartbeat.clock import PAUSE
from heartbeat.config.model import CheckConfig
from heartbeat.dispatch import Dispatch
from heartbeat.scheduler import Scheduler
from heartbeat.state import Live
from heartbeat.timetable import expect

log = structlog.get_logger()

PARTS = 3
"""Parts of a route at most."""
WAITING = 16
"""Reports to one check that wait for one another; more are asked to come again."""
TURNS = 50
"""Runs of checks that are reported to, at once: thousands may be missing something at the same moment."""
LOOK_AGAIN = 0.05
"""Seconds between two looks whether there is room for a run."""
APART = 1.0
"""Seconds at least between two looks of our own at a check, whatever it says."""
AGAIN = 60.0
"""Seconds until one whose code broke is asked again when it is due."""
TOGETHER = 100
"""Memories that are written at once."""
NOT_NOW = Reply(503, "not now", runs=False, headers={"Retry-After": "1"})
TOO_MANY = Reply(429, "too many at once", runs=False, headers={"Retry-After": "1"})
BROKEN = Reply(500, "not taken", runs=False)


@dataclass(slots=True)
class _Turn:
    """Who deals with a check at the moment, and how many want to."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    wanted: int = 0


class Reports:
    """Takes reports, and looks for those that are missing. Belongs to the main thread."""

    def __init__(self, dispatch: Dispatch, memory: Callable[[str], Memory]) -> None:
        self._dispatch = dispatch
        self._memory = memory
        self._scheduler: Scheduler | None = None
        self._routes: dict[str, str] = {}
        self._known: dict[str, tuple[Reported, tuple[str, ...]]] = {}
        self._heard: dict[str, float] = {}
        self._turns: dict[int, _Turn] = {}
        self._room = asyncio.Semaphore(TURNS)
        self._unsaved: dict[str, Memory] = {}
        self._saving = False

    def plan_with(self, scheduler: Scheduler) -> None:
        """Have the scheduler call ``fire`` when a check is due."""
        self._scheduler = scheduler
        scheduler.due = self.due

    def adopt(self, checks: Mapping[str, CheckConfig]) -> None:
        """Take over the routes of a configuration."""
        known = {}
        for name, config in checks.items():
            if isinstance(check := config.check, Reported):
                before = self._known.get(name)
                known[name] = before if before and before[0] is check else (check, tuple(check.routes()))
        self._known = known
        self._heard = {name: at for name, at in self._heard.items() if name in known}
        self._routes = {route: name for name, (_, routes) in known.items() for route in routes}

    def find(self, path: str) -> tuple[str, str] | None:
        """Return whose route a path begins with, the longest one, and what follows it; None where there is none."""
        parts = path.strip("/").split("/", PARTS)
        for count in range(min(PARTS, len(parts)), 0, -1):
            name = self._routes.get("/" + "/".join(parts[:count]))
            if name is not None:
                return name, "/".join(parts[count:])
        return None

    async def accept(self, name: str, report: Report) -> Reply:
        """Take a report: it is safe on disk, and judged, when this returns. It goes on where nobody waits any more."""
        live = self._dispatch.state.checks.get(name)
        if live is None:  # the configuration is just being changed
            return NOT_NOW
        turn = self._turns.get(id(live))
        if turn is not None and turn.wanted > WAITING:
            return TOO_MANY
        return await asyncio.shield(self._dispatch.hold(self._take(live, report), name))

    def due(self, name: str) -> float | None:
        """Return when a check is due that is reported to; None for others."""
        live = self._dispatch.state.checks.get(name)
        if live is None or not isinstance(live.config.check, Reported):
            return None
        if self._scheduler is not None and name not in self._scheduler.appointed:
            self._heard[name] = self._dispatch.line.clock.now()  # what did not come while it was off is not missing
        return self._ask(live, live.config.check)

    def fire(self, name: str, slot: float) -> None:
        """Start what is due: the run of a slot, or a look whether something was not reported."""
        live = self._dispatch.state.checks.get(name)
        if live is None or not isinstance(live.config.check, Reported):
            self._dispatch.fire(name, slot)
        elif not self._dispatch.line.closing.is_set():
            self._dispatch.spawn(self._look(live), name)

    # --- one after another ---------------------------------------------------------------------------------------

    async def _take(self, live: Live, report: Report) -> Reply:
        async with self._turn(live):
            check, memory = live.config.check, self._memory(live.config.name)
            if not isinstance(check, Reported) or not self._is_there(live):
                return NOT_NOW
            try:
                reply = check.take(report, memory, self._dispatch.line.clock.now())
                if reply.runs:
                    await self._judge(live, memory)
                await memory.save()  # what ran has saved it already
            except CheckBroken as error:
                log.error("a report was not kept", check=live.config.name, error=error.sentence)
                return BROKEN
            except Exception:  # a plugin's code may raise anything; what it does in a run is the runner's to sort
                log.exception("a report was not taken", check=live.config.name)
                return BROKEN
            self._appoint(live, check)
        return reply

    async def _look(self, live: Live) -> None:
        """Let a check judge what is missing, if that is still so."""
        async with self._turn(live):
            check = live.config.check
            if not isinstance(check, Reported) or not self._is_there(live):
                return
            if self._ask(live, check) <= self._dispatch.line.clock.now():
                await self._judge(live, self._memory(live.config.name))
            self._appoint(live, check)

    async def _judge(self, live: Live, memory: Memory) -> None:
        """Run a check as soon as there is room. Where it must not run, what was reported is judged when it may.

        A run saves what it remembers before anything is told. Where it has to wait that is saved at once.
        """
        line = self._dispatch.line
        async with self._room:
            while self._may_run(live):
                has_room = len(line.running) < self._dispatch.concurrency
                if has_room and await self._dispatch.run_within(live) is not None:
                    return
                await memory.save()
                await asyncio.sleep(LOOK_AGAIN)

    def _may_run(self, live: Live) -> bool:
        is_off = self._scheduler is not None and self._scheduler.is_off(live.config.name)
        return not (is_off or live.retired or self._dispatch.line.closing.is_set())

    def _is_there(self, live: Live) -> bool:
        return self._dispatch.state.checks.get(live.config.name) is live

    @asynccontextmanager
    async def _turn(self, live: Live) -> AsyncIterator[None]:
        """Have a check to oneself: what is judged is what was reported last, and nothing after it."""
        turn = self._turns.setdefault(id(live), _Turn())
        turn.wanted += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.wanted -= 1
            if not turn.wanted:
                del self._turns[id(live)]

    # --- when it is due ------------------------------------------------------------------------------------------

    def _appoint(self, live: Live, check: Reported) -> None:
        if self._scheduler is not None and self._is_there(live):
            at = self._ask(live, check)
            self._scheduler.appoint(live.config.name, max(at, self._dispatch.line.clock.now() + APART))

    def _ask(self, live: Live, check: Reported) -> float:
        """Return when a check is due; what it notes is written soon."""
        clock, name = self._dispatch.line.clock, live.config.name
        now, memory = clock.now(), self._memory(name)
        # Nobody may have told us yet that we stood still.
        listening = now if clock.since_tick() > PAUSE else self._dispatch.listening
        if (heard := self._heard.get(name, 0.0)) <= now:  # else the clock was set back since
            listening = max(listening, heard)
        before = dict(memory)
        try:
            at = check.due(memory, expect(live.config.schedule, listening), now)
        except Exception:  # a plugin's code may raise anything, and others must be asked, too
            log.exception("a check does not say when it is due", check=name)
            return now + AGAIN
        if memory.data != before:
            self._save_soon(name, memory)
        return inf if isnan(at) else at

    def _save_soon(self, name: str, memory: Memory) -> None:
        self._unsaved[name] = memory
        if not self._saving and not self._dispatch.line.closing.is_set():
            self._saving = True
            self._dispatch.spawn(self._save(), "memories")

    async def _save(self) -> None:
        try:
            while self._unsaved:
                some = [self._unsaved.pop(name) for name in list(self._unsaved)[:TOGETHER]]
                await asyncio.gather(*(memory.save() for memory in some), return_exceptions=True)
        finally:
            self._saving = False

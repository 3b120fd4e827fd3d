"""Switching checks on and off while the daemon runs, as what is asked says: see ``rounds`` for the asking.

Where a source says nothing, what it said last holds, over restarts too; that it says nothing is logged once, shown, and
after a while a warning of ``heartbeat.config``. What a person switched off stays off whatever a switch says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TypeVar

import structlog

from heartbeat.config.model import CheckConfig, Config
from heartbeat.core.advance import Removal
from heartbeat.core.switches import (
    UNASKED,
    Found,
    Knowledge,
    Source,
    doubt,
    find_off,
    learn,
    source_of,
)
from heartbeat.dispatch import Dispatch
from heartbeat.line import take
from heartbeat.quiet.times import Quiet
from heartbeat.scheduler import Scheduler
from heartbeat.store import StoreFailed
from heartbeat.switching.memory import MEMORY, kept, key_of, read_kept
from heartbeat.switching.rounds import Rounds

log = structlog.get_logger()

PATIENCE = 3.0
"""Seconds that a start or a reload waits for what is asked for the first time; then the defaults hold until it is."""
TOGETHER = 100
"""Checks that are switched at once."""
SLICE = 500
"""Checks that are looked at before others may run."""
WORRY = 300.0
"""Seconds without an answer after which ``heartbeat.config`` warns."""
NAMED = 3
T = TypeVar("T")


class Switches:
    """What switches the checks of a configuration. Belongs to the main thread."""

    def __init__(self, dispatch: Dispatch, scheduler: Scheduler, quiet: Quiet) -> None:
        self._dispatch, self._scheduler, self._quiet = dispatch, scheduler, quiet
        self._rounds = Rounds(dispatch.line.workshop.pool, dispatch.line.clock.steady, self._learn)
        self._checks: dict[str, CheckConfig] = {}
        """Those that are not simply on."""
        self._users: dict[Source, list[CheckConfig]] = {}
        self._known: dict[Source, Knowledge] = {}
        self._silent: dict[Source, Knowledge] = {}
        self._recalled: dict[str, Knowledge] = {}
        self._turning: dict[str, None] = {}
        self._turned = asyncio.Event()
        """Set while no check is about to follow."""
        self._turned.set()
        self._ending: set[str] = set()
        """Checks that are off, and whose last run is still under way."""
        self._written = "{}"
        self._is_news = self._is_writing = False
        self._redact: Callable[[str], str] = str

    # --- which switches there are --------------------------------------------------------------------------------

    def recall(self, memories: Mapping[str, str]) -> None:
        """Take over what was said in an earlier life of the daemon."""
        self._written = memories.get(MEMORY, "{}")
        self._recalled = read_kept(self._written)

    async def prepare(self, config: Config) -> None:
        """Take over the switches of a configuration, before its checks are planned; ask what is new among them."""
        checks = {name: check for name, check in config.checks.items() if check.enabled.may_be_off}
        self._redact = config.redactor
        new = await self._arrange(config, checks) if checks or self._checks else []
        self._recalled = {}
        if asked := self._rounds.ask(new):
            await asyncio.wait(asked, timeout=PATIENCE)
        await self._turned.wait()

    async def enforce(self) -> None:
        """Let checks be on or off as it is, after those of the configuration were taken over."""
        self._turn([*self._checks, *(name for name, live in self._dispatch.state.checks.items() if live.retired)])
        await self._turned.wait()

    async def _arrange(self, config: Config, checks: dict[str, CheckConfig]) -> list[Source]:
        """Sort who is asked for what, and return whom we never asked before."""
        users: dict[Source, list[CheckConfig]] = {}
        fresh: dict[Source, Knowledge] = {}
        for number, (name, check) in enumerate(checks.items(), 1):
            if source := source_of(check.enabled, name):
                users.setdefault(source, []).append(check)
                if source not in self._known:
                    fresh[source] = self._find(source, source_of(check.enabled, check.was or name) or source)
            if number % SLICE == 0:
                await asyncio.sleep(0)
        old = self._known  # as it is now: there were answers meanwhile
        self._known = {source: old.get(source) or fresh.get(source, UNASKED) for source in users}
        self._silent = {source: known for source, known in self._known.items() if known.problem}
        self._checks, self._users, self._is_news = checks, users, True
        self._rounds.adopt(config, users)
        self._quiet.switched = {name: one for name, one in self._quiet.switched.items() if name in checks}
        self._quiet.doubts = {name: one for name, one in self._quiet.doubts.items() if name in checks}
        self._turn(checks)
        return list(fresh)

    def _find(self, source: Source, was: Source) -> Knowledge:
        """Return what is known of a new source: a flag may have been asked for the check under the name that it had."""
        found = self._known.get(was)
        if found or not self._recalled:
            return found or UNASKED
        return self._recalled.get(key_of(source)) or self._recalled.get(key_of(was)) or UNASKED

    # --- while the daemon runs -----------------------------------------------------------------------------------

    def tick(self) -> None:
        """Ask whoever is due; called once a second, and never waits."""
        for name in list(self._ending):
            self._forget(name)
        if self._users and not self._dispatch.line.closing.is_set():
            self._rounds.tick()
        self._keep()

    def stop(self) -> None:
        """Ask nobody any more."""
        self._rounds.stop()

    def warning(self, now: float) -> str:
        """Say which checks run or do not run by what was said a while ago, or nothing."""
        late = [source for source, known in self._silent.items() if now - (known.doubtful_since or now) > WORRY]
        names = [check.name for source in late for check in self._users[source]]
        if not names:
            return ""
        more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        return f"whether {names[0]}{more} is to run is not known: {self._doubt(names[0])}"

    def _doubt(self, name: str) -> str:
        enabled = self._checks[name].enabled
        source = source_of(enabled, name)
        return doubt(enabled, self._known[source]) if source else ""

    async def _learn(self, answers: Iterable[tuple[Source, Found]]) -> None:
        now, changed, silent = self._dispatch.line.clock.now(), list[Source](), list[Source]()
        for number, (source, found) in enumerate(answers, 1):
            if number % SLICE == 0:
                await asyncio.sleep(0)
            before = self._known.get(source)
            if before is None or (after := learn(before, found, now)) == before:  # the first: it is asked no more
                continue
            self._known[source] = after
            self._turn(check.name for check in self._users[source])
            if after.problem:
                self._silent[source] = after
                if not before.problem:
                    silent.append(source)
            else:
                self._silent.pop(source, None)
                if before.problem or before.on is not None or not after.on:
                    changed.append(source)
        self._is_news = self._is_news or bool(changed or silent)
        self._report(changed, silent)
        self._keep()

    # --- following what is said ----------------------------------------------------------------------------------

    def _turn(self, names: Iterable[str]) -> None:
        """Let checks follow their switches, beside everything else: some at a time, in the order they came."""
        self._turning |= dict.fromkeys(names)
        if self._turning and self._turned.is_set():
            self._turned.clear()
            self._dispatch.spawn(self._turn_all(), "switches")

    async def _turn_all(self) -> None:
        try:
            while self._turning:
                names = list(islice(self._turning, TOGETHER))
                for name in names:
                    del self._turning[name]
                await asyncio.gather(*map(self._follow, names))
                await asyncio.sleep(0)
        finally:
            self._turned.set()

    async def _follow(self, name: str) -> None:
        """Let one check be on or off, as it is at this moment."""
        self._show(name)
        live, off = self._dispatch.state.checks.get(name), self._quiet.switched.get(name)
        if live is None:
            return
        if off is not None:
            self._scheduler.drop(name)
            await take(self._dispatch.line, live, Removal(name, self._redact(off.say())))  # it is kept
            self._ending.add(name)
            self._forget(name)
        elif (live.retired or self._scheduler.next_run(name) is None) and not self._quiet.is_disabled(name):
            live.retired = False
            self._scheduler.plan(name, live.config.schedule, is_new=True)

    def _show(self, name: str) -> None:
        """Put what is known of a check's switch where all that is shown and decided looks for it."""
        off, doubtful, check = None, "", self._checks.get(name)
        if check is not None:
            source = source_of(check.enabled, name)
            known = self._known[source] if source else UNASKED
            off, doubtful = find_off(check.enabled, known), doubt(check.enabled, known)
        _put(self._quiet.switched, name, off)
        _put(self._quiet.doubts, name, "" if off else doubtful)

    def _forget(self, name: str) -> None:
        """Forget what a check found last: it says nothing of now. A run that is under way still brings something."""
        live, is_off = self._dispatch.state.checks.get(name), self._quiet.is_disabled(name)
        if live is not None and is_off:
            live.forget()
        if live is None or not is_off or name not in self._dispatch.line.running:
            self._ending.discard(name)

    # --- remembering, and saying so ------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Write down what a restart must know, where that is not written yet."""
        if self._is_news and not self._is_writing and not self._dispatch.line.store.failing:
            self._is_news, self._is_writing = False, True
            self._dispatch.spawn(self._write(), MEMORY)

    async def _write(self) -> None:
        try:
            text = await asyncio.to_thread(kept, list(self._known.items()), self._users)
            if text != self._written:
                await self._dispatch.line.store.remember(MEMORY, text)
                self._written = text
        except StoreFailed as error:
            self._is_news = True
            log.error("what switches said last is not on disk", error=str(error))
        finally:
            self._is_writing = False

    def _report(self, changed: list[Source], silent: list[Source]) -> None:
        changed, silent = ([one for one in some if one in self._known] for some in (changed, silent))
        for source in changed[:NAMED]:
            log.info("switched", source=str(source.asks), on=self._known[source].on, checks=self._names(source))
        for source in silent[:NAMED]:
            known = self._known[source]
            log.warning("a switch says nothing", source=str(source.asks), problem=known.problem, said_last=known.on,
                        checks=self._names(source))  # fmt: skip
        if len(changed) > NAMED:
            log.info("more was switched", sources=len(changed) - NAMED)
        if len(silent) > NAMED:
            log.warning("more switches say nothing", sources=len(silent) - NAMED)

    def _names(self, source: Source) -> str:
        names = [check.name for check in self._users[source]]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return f"{', '.join(names[:NAMED])}{more}"


def _put(held: dict[str, T], name: str, value: T | None) -> None:
    if value:
        held[name] = value
    else:
        held.pop(name, None)

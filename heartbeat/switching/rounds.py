"""Asking again and again what switches checks: each source when it is due, few at once, and never waiting for any."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import uniform
from typing import Any

import structlog

from heartbeat.config.model import CheckConfig, Config, FlagProvider
from heartbeat.core.switches import AtUrl, Found, InFile, InFlag, Source
from heartbeat.pool import Pool
from heartbeat.switching.files import Look, ask_files
from heartbeat.switching.flags import Flags, ask_flags, question_of
from heartbeat.switching.helper import Helper
from heartbeat.switching.pages import AT_ONCE, Page, fetch_page, page_of

log = structlog.get_logger()

FILES_AT_ONCE = 1000
"""Files that are looked at in a second, and more where there are more than five thousand: each in five seconds."""
ROUND = 5
FLAGS_AT_ONCE = 1000
"""Flags that are asked for in one call."""
JITTER = 0.1
"""By which part of it the time between two questions is longer or shorter."""
TIMEOUT = 10.0

Learn = Callable[[Iterable[tuple[Source, Found]]], Awaitable[None]]
Users = Mapping[Source, Sequence[CheckConfig]]
"""The checks that each source switches."""


@dataclass(slots=True)
class Rounds:
    """Asks, and tells ``learn`` what is said. Belongs to the main thread; ``steady`` is a clock that is never set."""

    pool: Pool
    steady: Callable[[], float]
    learn: Learn
    users: Users = field(default_factory=dict)
    location: str = ""
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    _files: list[InFile] = field(default_factory=list)
    _next: int = 0
    _seen: dict[InFile, Look] = field(default_factory=dict)
    _pages: dict[Page, list[AtUrl]] = field(default_factory=dict)
    _asking: set[Page] = field(default_factory=set)
    _due: dict[Page | Source, float] = field(default_factory=dict)
    _flags: Flags = field(default_factory=lambda: Flags(None))
    _eye: Helper = field(init=False)
    _ear: Helper = field(init=False)

    def __post_init__(self) -> None:
        self._eye, self._ear = Helper(self.pool), Helper(self.pool)

    def adopt(self, config: Config, users: Users) -> None:
        """Take over whom to ask; what was under way goes on."""
        self.users, self.location = users, config.location
        has_other_provider = self._provide(config.flags)
        self._files = [source.asks for source in users if isinstance(source.asks, InFile)]
        self._seen = {file: self._seen[file] for file in self._files if file in self._seen}
        self._pages = {}
        for source in users:
            if isinstance(source.asks, AtUrl):
                self._pages.setdefault(page_of(source.asks), []).append(source.asks)
        flagged = [source for source in users if isinstance(source.asks, InFlag)]
        asked: list[Page | Source] = [*self._pages, *flagged]
        now = self.steady()
        self._due = {one: min(self._due.get(one, 0.0), now + self._every(one)) for one in asked}
        if has_other_provider:
            self._due |= dict.fromkeys(flagged, 0.0)

    def tick(self) -> None:
        """Ask those that are due; called once a second."""
        if self._files and self._eye.is_free:
            _ = self._spawn(self._look(self._next_files()))
        if not self._due:
            return
        now = self.steady()
        due = sorted((one for one, at in self._due.items() if at <= now), key=self._due.__getitem__)
        flagged = list(islice((one for one in due if isinstance(one, Source)), FLAGS_AT_ONCE))
        if flagged and self._ear.is_free:
            _ = self._spawn(self._listen(flagged))
        pages = (one for one in due if isinstance(one, Page) and one not in self._asking)
        for page in list(islice(pages, max(0, AT_ONCE - len(self._asking)))):
            self._asking.add(page)
            _ = self._spawn(self._fetch(page))

    def ask(self, sources: Collection[Source]) -> list[asyncio.Task[Any]]:
        """Ask these now, all of them; return what is under way."""
        files = [one.asks for one in sources if isinstance(one.asks, InFile)]
        flagged = [one for one in sources if isinstance(one.asks, InFlag)]
        pages = {page_of(one.asks) for one in sources if isinstance(one.asks, AtUrl)} - self._asking
        self._asking |= pages
        queue = iter(pages)
        works = [self._fetch_all(queue) for _ in range(min(AT_ONCE, len(pages)))]
        works += [self._look(files)] if files and self._eye.is_free else []
        works += [self._listen(flagged)] if flagged and self._ear.is_free else []
        return [self._spawn(work) for work in works]

    def stop(self) -> None:
        """Ask nobody any more."""
        for task in self.tasks:
            task.cancel()
        self._flags.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work, name="switches")
        self.tasks.add(task)
        task.add_done_callback(self._end)
        return task

    def _end(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.critical("a switch broke inside the daemon; please report this", exc_info=error)

    def _provide(self, configured: FlagProvider | None) -> bool:
        """Take another provider where another one is configured; say so. The old one may hang in its thread."""
        if configured == self._flags.configured:
            return False
        self._flags.close()
        self._flags, self._ear = Flags(configured), Helper(self.pool)
        return True

    def _next_files(self) -> list[InFile]:
        count = max(FILES_AT_ONCE, len(self._files) // ROUND + 1)
        begin = self._next if self._next < len(self._files) else 0
        self._next = begin + count
        return self._files[begin : begin + count]

    async def _look(self, files: list[InFile]) -> None:
        found = await ask_files(self._eye, files, self._seen)
        await self.learn((Source(file), said) for file, said in found.items())

    async def _fetch_all(self, pages: Iterable[Page]) -> None:
        for page in pages:
            await self._fetch(page)

    async def _fetch(self, page: Page) -> None:
        asked, every = self._pages.get(page, []), self._every(page)
        try:
            found = await fetch_page(page, asked, min(every, TIMEOUT))
        finally:
            self._asking.discard(page)
            self._postpone(page)
        await self.learn((Source(one), said) for one, said in found.items())

    async def _listen(self, sources: list[Source]) -> None:
        questions = {
            source: question_of(source.asks, self.users[source][0], self.location)
            for source in sources
            if isinstance(source.asks, InFlag) and source in self.users
        }
        flags = self._flags
        found = await ask_flags(self._ear, flags, questions)
        if flags is not self._flags:  # the library says the default in place of one that has gone
            return
        for source in found:
            self._postpone(source)
        await self.learn(found.items())

    def _every(self, one: Page | Source) -> float:
        """Return how often it is asked: as the check wants that wants it most often."""
        sources = (one,) if isinstance(one, Source) else map(Source, self._pages.get(one, ()))
        return min((check.enabled.every for source in sources for check in self.users.get(source, ())), default=1.0)

    def _postpone(self, one: Page | Source) -> None:
        if one in self._due:
            self._due[one] = self.steady() + self._every(one) * uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - to spread, not to hide

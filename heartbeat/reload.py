"""Reloading: when asked, or when a file has changed; all or nothing, and an invalid file leaves the old one running."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic

import structlog

from heartbeat.collection import return_memory
from heartbeat.config import CheckConfig, Config, ConfigError, load_in_child
from heartbeat.control import Refused
from heartbeat.dispatch import Dispatch
from heartbeat.roster import Changes
from heartbeat.selfwatch.vitals import CONFIG
from heartbeat.watch import Watch

log = structlog.get_logger()

SLICE = 100
"""Checks that are let go of before others may run: to take one apart takes some 10 us."""

LOOK_EVERY = 2.0
"""Seconds between two looks at the files of the configuration."""
SETTLE = 0.05
"""Seconds between two looks where somebody waits for what is new."""
LOOKS = 10
"""How often it is looked then whether files have stopped changing, before they are left to the usual looks."""


class Reloader:
    """Loads the configuration anew and hands it to ``apply``; one reload at a time."""

    def __init__(
        self,
        paths: Sequence[Path],
        config: Config,
        dispatch: Dispatch,
        apply: Callable[[Config], Awaitable[Changes]],
    ) -> None:
        self.problem = ""
        """What was wrong with the configuration when it was last loaded anew."""
        self._paths = tuple(paths)
        self._environ = dict(os.environ)  # a plugin may change that of the process
        self._config = config
        self._dispatch = dispatch
        self._apply = apply
        self._watch = Watch(config.files)
        self._looked_at = monotonic()
        self._under_way = asyncio.Lock()
        """Held while files are looked at, too: the watch is for one at a time."""
        self._rereading: asyncio.Future[bool] | None = None

    async def reload(self) -> str:
        """Load the configuration and take it over as a whole. Raises ``Refused`` with all that is wrong."""
        async with self._under_way:
            self.refuse_at_the_end()
            config = await self._load()
            await asyncio.to_thread(self._watch.end, config.files)
            self.refuse_at_the_end()
            changes = await self._apply(config)
            self.problem = ""
            self._look_at_the_check()
            log.info("reloaded", checks=len(config.checks), changes=str(changes))
            dropped = find_dropped(self._config, config)
            self._config = config
            await asyncio.sleep(0)
            await let_go(dropped)
            await asyncio.to_thread(return_memory)
            return f"reloaded: {changes}"

    def reload_soon(self) -> None:
        """Reload beside everything else; what is wrong is logged and told."""
        self._dispatch.spawn(self._reload_quietly(), "reload")

    def look(self) -> None:
        """Reload when a file has changed, and has stopped changing."""
        if monotonic() - self._looked_at < LOOK_EVERY or self._under_way.locked():
            return
        self._looked_at = monotonic()
        self._dispatch.spawn(self._look(), "watch")

    async def reread(self) -> bool:
        """Look at the files now, and load them where they have changed; return when that is done.

        Returns True where the configuration is another than before. It goes on also when nobody waits any more.
        """
        if self._rereading is None:
            self._rereading = asyncio.get_running_loop().create_future()
            self._dispatch.spawn(self._reread(self._rereading), "reread")
        return await asyncio.shield(self._rereading)

    def refuse_at_the_end(self) -> None:
        """Raise ``Refused`` where the daemon is stopping: it takes nothing over any more."""
        if self._dispatch.line.closing.is_set():
            raise Refused("the daemon is stopping")

    async def _load(self) -> Config:
        await asyncio.to_thread(self._watch.begin)
        try:
            return await load_in_child(self._paths, self._config, environ=self._environ)
        except ConfigError as error:
            await asyncio.to_thread(self._watch.end, {*self._config.files, *error.files})
            raise self._refuse([str(problem) for problem in error.problems]) from None
        except OSError as error:  # no descriptors, no memory: as it is, the process can start no other
            raise self._refuse([f"it cannot be read now: {error}"]) from error

    def _refuse(self, problems: list[str]) -> Refused:
        for problem in problems:
            log.error("the configuration is invalid; the old one runs on", problem=problem)
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        self.problem = f"the changed configuration is invalid, and the old one runs on: {problems[0]}{more}"
        self._dispatch.instruments.reload_successful.set(0)
        self._look_at_the_check()
        return Refused("the configuration is invalid; the old one runs on", problems, status=422)

    def _look_at_the_check(self) -> None:
        """Let the self check tell at once, not on its next slot."""
        self._dispatch.spawn(self._dispatch.run_now(self._dispatch.state.checks[CONFIG]), CONFIG)

    async def _look(self) -> None:
        async with self._under_way:
            is_due = await asyncio.to_thread(self._watch.has_news)
        if is_due:
            await self._reload_quietly()

    async def _reread(self, done: asyncio.Future[bool]) -> None:
        before = self._config
        try:
            async with self._under_way:
                is_due = await self._have_settled()
            if is_due:
                await self._reload_quietly()
        finally:
            self._rereading = None
            done.set_result(self._config is not before)

    async def _have_settled(self) -> bool:
        """Say whether files have changed, and have stopped changing."""
        if await asyncio.to_thread(self._watch.differs):
            for _ in range(LOOKS):
                await asyncio.sleep(SETTLE)
                if await asyncio.to_thread(self._watch.has_news):
                    return True
        return False

    async def _reload_quietly(self) -> None:
        with suppress(Refused):
            await self.reload()


def find_dropped(old: Config, new: Config) -> list[CheckConfig]:
    """Return the checks of a configuration that another one does not go on with."""
    return [check for name, check in old.checks.items() if new.checks.get(name) is not check]


async def let_go(checks: list[CheckConfig]) -> None:
    """Let go of checks, some at a time: taking apart ten thousand at once would hold the loop."""
    while checks:
        del checks[-SLICE:]
        await asyncio.sleep(0)

"""Which checks there are: taken over at the start, compared by name at a reload, and changed all at once."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from heartbeat.check import Check, CheckBroken, Reported
from heartbeat.config.model import CheckConfig
from heartbeat.core.advance import Removal
from heartbeat.core.passing import rearm
from heartbeat.core.policy import Policy, Routes
from heartbeat.core.schedule import Interval
from heartbeat.core.status import FRESH, Status
from heartbeat.line import Line, take
from heartbeat.memories import Memories
from heartbeat.refill import adapt, recall, refill
from heartbeat.scheduler import Scheduler
from heartbeat.state import Live, State
from heartbeat.store import Recorded, Snapshot, StoreFailed

log = structlog.get_logger()

TOGETHER = 100
"""Checks that are withdrawn at once: each takes a moment of the loop."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The differences between two sets of checks. ``renamed`` maps new names to old ones."""

    added: tuple[CheckConfig, ...]
    changed: tuple[CheckConfig, ...]
    removed: tuple[str, ...]
    renamed: Mapping[str, str]

    def __str__(self) -> str:
        counts = (
            ("added", self.added),
            ("changed", self.changed),
            ("renamed", self.renamed),
            ("removed", self.removed),
        )
        return ", ".join(f"{len(checks)} {word}" for word, checks in counts if checks) or "no check changed"


def compare(old: Mapping[str, CheckConfig], new: Mapping[str, CheckConfig]) -> Changes:
    """Return what has to be done to get from the old checks to the new ones.

    A check that is the same object is not looked at: after a reload nearly all of ten thousand are.
    """
    fresh = [config for name, config in new.items() if name not in old]
    gone = [name for name in old if name not in new]
    heirs: dict[str, str] = {}
    for config in fresh:
        if config.was in old and config.was not in new:
            heirs.setdefault(config.was, config.name)
    renamed = {name: was for was, name in heirs.items()}
    kept = [(old[name], config) for name, config in new.items() if old.get(name, config) is not config]
    kept += [(old[was], new[name]) for name, was in renamed.items()]
    return Changes(
        added=tuple(config for config in fresh if config.name not in renamed),
        changed=tuple(
            config for before, config in kept if before.fingerprint != config.fingerprint or before != config
        ),
        removed=tuple(name for name in gone if name not in heirs),
        renamed=renamed,
    )


class Roster:
    """The checks of a daemon, each with its state and its place in the schedule."""

    def __init__(self, line: Line, state: State, scheduler: Scheduler, memories: Memories) -> None:
        self._line = line
        self._state = state
        self._scheduler = scheduler
        self.memories = memories

    async def take_over(self, checks: Collection[CheckConfig], past: Snapshot, notify: tuple[str, ...]) -> None:
        """Go on where the last life of the daemon ended.

        What was open of checks that are gone is withdrawn, told to the receivers in ``notify``: who was told of them
        stands in no configuration any more.
        """
        self.memories.recall(past.memories)
        for sentence in past.unreadable:
            log.error("not taken over", error=sentence)
        statuses, inherited, known = dict(past.statuses), {check.was for check in checks}, set[str]()
        for check in checks:
            last = past.last.get(check.name)
            if check.name not in statuses and check.was in statuses:
                statuses[check.name], last = statuses.pop(check.was), past.last.get(check.was)
                self.memories.rename(check.was, check.name)
                await self._recorded(self._line.store.rename(check.was, check.name))
            known |= statuses.keys() & {check.name}
            self._add(check, statuses.pop(check.name, None), last)
        for name, status in statuses.items():
            if name not in inherited:  # a rename that the store could not take: the check goes on under its new name
                await take(self._line, Live(_gone(name, notify), status), Removal(name))
            self.memories.forget(name)
            await self._recorded(self._line.store.forget(name))
        for name in self.memories.sort_out():
            await self._recorded(self._line.store.forget(name))
        await recall(self._line.store, self._state.checks, known, self._line.clock.now())

    def compare(self, checks: Mapping[str, CheckConfig]) -> Changes:
        """Return what these checks would change."""
        return compare({name: live.config for name, live in self._state.checks.items()}, checks)

    async def withdraw(self, changes: Changes) -> None:
        """Let go of what was removed; under the old configuration, which knows whom to tell."""
        for start in range(0, len(changes.removed), TOGETHER):
            await asyncio.gather(*map(self._withdraw, changes.removed[start : start + TOGETHER]))

    async def enlist(self, changes: Changes) -> None:
        """Take in what was renamed, changed and added: all of it in one step of the loop, and only then wait."""
        renamed = [self._rename(old, new) for new, old in changes.renamed.items()]
        for check in changes.changed:
            self.change(self._state.checks[check.name], check, replan=check.name in changes.renamed)
        for check in changes.added:
            self._add(check)
        for done in renamed:
            await self._recorded(done)
        lives = [self._state.checks[check.name] for check in changes.changed if check.name in self._state.checks]
        await refill(self._line.store, lives, self._line.clock)

    def change(self, live: Live, check: CheckConfig, *, replan: bool = False) -> None:
        """Let a check go on with its status and history under changed settings."""
        is_told = any(isinstance(one.check, Reported) for one in (live.config, check))  # has no slots, or had none
        replan = replan or is_told or live.config.schedule != check.schedule
        is_other = live.config.type != check.type
        live.config = check
        if is_other:
            self.memories.begin_anew(check.name)
        adapt(live)
        live.status = rearm(live.status, check.policy)
        if replan:
            self._scheduler.plan(check.name, check.schedule, is_new=False)

    async def _withdraw(self, name: str) -> None:
        self._scheduler.drop(name)
        await take(self._line, self._state.checks.pop(name), Removal(name))
        self.memories.forget(name)
        await self._recorded(self._line.store.forget(name))

    def _rename(self, old: str, new: str) -> asyncio.Future[None]:
        self._state.checks[new] = self._state.checks.pop(old)
        self._scheduler.drop(old)
        self.memories.rename(old, new)
        if old in self._line.running:
            self._line.running.remove(old)
            self._line.running.add(new)
        return self._line.store.rename(old, new)

    def _add(self, check: CheckConfig, status: Status | None = None, last: Recorded | None = None) -> None:
        status = rearm(status or FRESH, check.policy)
        live = self._state.checks[check.name] = Live(check, status)
        if last:
            live.restore(last.run, last.result, last.verdict)
        self._scheduler.plan(check.name, check.schedule, is_new=live.run is None)

    async def _recorded(self, done: asyncio.Future[None]) -> None:
        try:
            await done
        except StoreFailed as error:
            log.error("not recorded", error=str(error))


def _gone(name: str, notify: tuple[str, ...]) -> CheckConfig:
    """Return what stands for a check that vanished from the configuration while we were down."""
    return CheckConfig(name, "", _Gone(), "", Interval(60.0), 1.0, Policy(), notify=Routes(notify))


class _Gone(Check):
    def run(self, probe: Any) -> None:  # noqa: ARG002 - the contract of a check
        raise CheckBroken("this check is no longer configured", reason="config")

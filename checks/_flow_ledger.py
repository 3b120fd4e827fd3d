"""What flows have created and not yet cleaned up: noted on disk before it is created, so that a kill loses nothing."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from json import dumps
from time import time
from typing import Any

from heartbeat import Probe

from ._flow_course import Plan
from ._flow_references import Scope, Unknown
from ._flow_step import Step

ENTRIES = 200
BYTES = 40 * 1024
"""How much of the check's memory entries may take; the oldest are given up beyond it."""
VALUE_BYTES = 2048
"""A larger value is not kept for later runs; the sweep finds what it belongs to."""
LEFT = "left"
UNDER_WAY = "flows under way"
SWEEP = "flow sweep due"
SHOWN = 10

log = logging.getLogger(__name__)

Entry = dict[str, Any]
"""``tag``, ``run``, ``at``; ``begun``: names of steps since the first that creates; ``values`` by dotted reference."""


class Ledger:
    """The entries in a check's memory."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._memory = probe.state
        self._under_way: dict[str, float] = self._memory.passing.setdefault(UNDER_WAY, {})

    @property
    def entries(self) -> list[Entry]:
        """All that was created and not cleaned up, as far as is known; the oldest first."""
        found: list[Entry] = self._memory.setdefault(LEFT, [])
        return found

    def left(self) -> list[Entry]:
        """Return the entries of runs that are over."""
        now = time()
        return [entry for entry in self.entries if self._under_way.get(entry["tag"], 0.0) < now]

    @property
    def under_way(self) -> Collection[str]:
        """The tags of runs that are under way."""
        return self._under_way.keys()

    async def begin(self, scope: Scope, step: Step, ends: float) -> None:
        """Note that a step begins that may create something; returns when that is on disk."""
        tag = scope.run["tag"]
        if (entry := self.find(tag)) is None:
            self._under_way[tag] = ends
            entry = {"tag": tag, "run": scope.run["id"], "at": round(time(), 3), "begun": [], "values": {}}
            self.entries.append(entry)
        entry["begun"].append(step.name)
        self._bound(tag)
        await self._save()

    async def add(self, scope: Scope, plan: Plan) -> None:
        """Note what is known by now of what a run created; returns when that is on disk."""
        entry = self.find(scope.run["tag"])
        if entry is not None:
            values = dict(_known(plan, scope))
            if values != entry["values"]:
                entry["values"] = values
                self._bound(entry["tag"])
                await self._save()

    async def settle(self, tags: Collection[str]) -> None:
        """Forget what is cleaned up; returns when that is on disk."""
        self._memory[LEFT] = [entry for entry in self.entries if entry["tag"] not in tags]
        await self._save()

    def postpone(self, entry: Entry) -> None:
        """Put an entry behind the others, so that one that cannot be cleaned up holds none up."""
        self.entries.remove(entry)
        self.entries.append(entry)

    def end(self, tags: Iterable[str]) -> None:
        """Take a run as over: what it left is for the next one."""
        for tag in tags:
            self._under_way.pop(tag, None)

    @property
    def is_sweep_due(self) -> bool:
        """Whether there may be something that no entry leads to: after a start, and after what was left."""
        return bool(self._memory.passing.get(SWEEP, True))

    @is_sweep_due.setter
    def is_sweep_due(self, is_due: bool) -> None:
        self._memory.passing[SWEEP] = is_due

    def find(self, tag: str) -> Entry | None:
        """Return what is noted of the run with this tag."""
        return next((entry for entry in reversed(self.entries) if entry["tag"] == tag), None)

    async def _save(self) -> None:
        self._memory.owed = _say(self.entries)
        await self._memory.save()

    def _bound(self, own: str) -> None:
        given_up = 0
        while len(self.entries) > ENTRIES or len(dumps(self.entries)) > BYTES:
            oldest = next((entry for entry in self.entries if entry["tag"] != own), None)
            if oldest is None:
                break
            self.entries.remove(oldest)
            given_up += 1
        if given_up:
            sentence = f"{given_up} of the oldest things that could not be cleaned up are given up; remove them by hand"
            self._probe.warn(sentence, reason="content", observed=f"{len(self.entries)} are left")


def let_go(probe: Probe) -> None:
    """Forget what is left where no step creates anything any more, and say so: nobody else will look for it."""
    if left := probe.state.pop(LEFT, None):
        log.warning("no step of the flow %s creates anything any more: %s", probe.check, _say(left))
        probe.state.owed = ""


def _say(entries: Sequence[Entry]) -> str:
    """Say what nobody sees to if this is forgotten."""
    if not entries:
        return ""
    shown = ", ".join(entry["tag"] for entry in entries[-SHOWN:])
    return f"of {len(entries)} runs something may be left that is to be removed by hand: {shown}"


def _known(plan: Plan, scope: Scope) -> Iterator[tuple[str, Any]]:
    for reference in plan.wanted:
        try:
            value = scope(reference)
        except Unknown:
            continue
        if len(dumps(value)) <= VALUE_BYTES:
            yield ".".join(reference.path), value

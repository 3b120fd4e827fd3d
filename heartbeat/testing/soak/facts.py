"""What the daemon's store says in the end, read from the file without the daemon's code."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

Pair = tuple[str, str]
"""A way and the id of an event."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event, as the store has it."""

    id: str
    incident: str
    sequence: int
    kind: str
    check: str


@dataclass(frozen=True)
class Facts:
    """What was to be told to whom. A ``Pair``'s state is that of its delivery; its batch may be empty."""

    events: Mapping[str, Told]
    states: Mapping[Pair, str]
    batches: Mapping[Pair, str]

    @cached_property
    def suppressed(self) -> frozenset[str]:
        """The ids of the events that were to be told to nobody: there is one delivery of each, which says why."""
        return frozenset(event for (_, event), state in self.states.items() if state == "suppressed")

    @cached_property
    def incidents(self) -> dict[str, list[Told]]:
        """The events of each incident, in order."""
        found: dict[str, list[Told]] = {}
        for event in sorted(self.events.values(), key=lambda event: event.sequence):
            found.setdefault(event.incident, []).append(event)
        return found


@dataclass(frozen=True, slots=True)
class Sample:
    """A look at the store of a daemon that was just killed."""

    sound: bool
    leased: int
    waiting: int


def read_facts(path: Path) -> Facts:
    """Read a store that nobody writes any more."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as store:
        found = store.execute('SELECT id, incident, sequence, kind, "check" FROM event')
        events = {row[0]: Told(*row) for row in found}
        rows = list(store.execute("SELECT channel, recipient, event_id, state, batch FROM delivery"))
    states, batches = dict[Pair, str](), dict[Pair, str]()
    for channel, recipient, event, state, batch in rows:
        pair = f"{channel} {recipient}".strip(), event
        states[pair], batches[pair] = state, batch
    return Facts(events, states, batches)


def sample(path: Path) -> Sample | None:
    """Look at a copy of a store, so that the next life finds it as the last one left it; None where there is none."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.db"
        for suffix in ("", "-wal"):
            if (source := Path(f"{path}{suffix}")).exists():
                shutil.copy(source, f"{copy}{suffix}")
        if not copy.exists():
            return None
        with closing(sqlite3.connect(copy)) as store:
            sound = store.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok"
            if not store.execute("SELECT 1 FROM sqlite_master WHERE name = 'delivery'").fetchone():
                return Sample(sound, 0, 0)
            counts = dict(store.execute("SELECT state, count(*) FROM delivery GROUP BY state"))
    return Sample(sound, counts.get("leased", 0), counts.get("pending", 0) + counts.get("leased", 0))

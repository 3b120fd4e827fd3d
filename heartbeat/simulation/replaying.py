"""A replay of a store: which runs are judged again, from when on, and what that is compared with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sqlalchemy import Connection

from heartbeat.config.model import CheckConfig, Config
from heartbeat.core.comparison import Pair, Telling, figures_of, pair_up, telling_of
from heartbeat.core.model import Delivery
from heartbeat.core.quiet import matches
from heartbeat.core.switches import OFF, ON
from heartbeat.core.times import readable
from heartbeat.simulation.again import Again, deeds_of
from heartbeat.state import plan_of
from heartbeat.store import Recorded, deployments, history, quiet

WARM_UP = 3600.0
"""Seconds before the time that is asked about from which runs are judged at least: latches remember."""
ORDERS = 10_000
Read = Callable[[Callable[[Connection], Any]], Any]
"""Answers a query on the store, each on a connection of its own: a long reading would hold up the daemon's log."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came out: what was told between two times, and what would have been; and what to know about it."""

    since: float
    until: float
    checks: tuple[str, ...]
    runs: int
    was: tuple[Telling, ...]
    would: tuple[Telling, ...]
    notes: tuple[str, ...]

    @property
    def pairs(self) -> list[Pair]:
        """Both sides, put together."""
        return pair_up(self.was, self.would)

    @property
    def figures(self) -> tuple[Any, Any]:
        """What both sides come to."""
        seconds = self.until - self.since
        return figures_of(self.was, seconds), figures_of(self.would, seconds)


def select(config: Config, patterns: Collection[str]) -> tuple[str, ...]:
    """Return the names of the checks that are meant; without patterns all. Raises ``LookupError`` with one of none."""
    for pattern in patterns:
        if not any(matches(pattern, name) for name in config.checks):
            raise LookupError(pattern)
    wanted = (name for name in config.checks if any(matches(pattern, name) for pattern in patterns))
    return tuple(wanted) if patterns else tuple(config.checks)


def replay(  # noqa: PLR0913, PLR0917 - what a replay follows from
    read: Read, config: Config, names: tuple[str, ...], since: float, until: float, now: float
) -> Replayed:
    """Judge the recorded runs of these checks again, and hold what would be told against what was."""
    first = _first_whole(read, config, since, now)
    start = max(since, first)
    notes = (f"it begins at {readable(start)}: of the time before only failures are kept",) if first > since else ()
    is_part = len(names) < len(config.checks)
    judged = _narrow(config, names) if is_part else config
    begin = start - max(WARM_UP, *_windows(judged.checks.values()))
    ids = read(partial(history.ids_between, start=max(begin, first), until=until, checks=_wanted(judged, is_part)))
    again = Again(judged, begin, start)
    orders = [*read(quiet.load), *read(partial(quiet.past, limit=ORDERS))]
    marked = read(partial(deployments.load, limit=ORDERS))
    deeds = [deed for deed in deeds_of(orders, marked) if deed.at <= until]
    again.judge(_runs(read, ids), deeds, until)
    recorded = read(partial(history.deliveries_between, start=start, until=until))
    return Replayed(
        start,
        until,
        names,
        again.runs,
        _tellings(recorded, names, start, until),
        _tellings(again.told, names, start, until),
        (*notes, *_notes(again, judged.checks.values(), is_part=is_part)),
    )


def _first_whole(read: Read, config: Config, since: float, now: float) -> float:
    """Return from when on all runs are kept, good ones too; 0 where that is no question."""
    kept = config.history
    is_whole = since >= now - kept.keep and read(history.count) < kept.rows
    return 0.0 if is_whole else read(history.first_good) or 0.0


def _runs(read: Read, ids: list[int]) -> Iterator[Recorded]:
    for start in range(0, len(ids), history.CHUNK):
        chunk = ids[start : start + history.CHUNK]
        yield from read(partial(_read_runs, ids=chunk))


def _read_runs(connection: Connection, ids: list[int]) -> list[Recorded]:
    return list(history.runs(connection, ids))


def _narrow(config: Config, names: Collection[str]) -> Config:
    """Return a configuration of these checks, and of those on which they depend."""
    kept: dict[str, CheckConfig] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in config.checks and name not in kept:
            kept[name] = config.checks[name]
            waiting += kept[name].depends_on
    return replace(config, checks=kept, storm=None)


def _wanted(config: Config, is_part: bool) -> Collection[str]:
    return tuple(config.checks) if is_part else ()


def _windows(checks: Collection[CheckConfig]) -> list[float]:
    plans = [plan for plan in map(plan_of, checks) if plan]
    return [max(need.seconds for need in plan.needs) for plan in plans] or [0.0]


def _tellings(
    deliveries: Collection[Delivery], names: Collection[str], since: float, until: float
) -> tuple[Telling, ...]:
    wanted = frozenset(names)
    found = (telling_of(one) for one in deliveries if one.event.check in wanted and since <= one.event.at <= until)
    return tuple(one for one in found if one is not None)


def _notes(again: Again, checks: Iterable[CheckConfig], *, is_part: bool) -> Iterator[str]:
    if again.unasked:
        yield f"{again.unasked} second looks were made then that would not be made now; they were left out"
    if again.unmade:
        yield f"{again.unmade} second looks that would be made now were not made then; their results are not known"
    if is_part:
        yield "storms are left out: they are judged only where all checks are"
    if any(check.enabled not in (ON, OFF) for check in checks):
        yield "what switched checks off and on (enabled) is left out: what was open then stays open until a run ends it"
    yield "that a check did not run, drills and what a fallback was told are left out"


def counts_of(pairs: Collection[Pair]) -> Mapping[str, int]:
    """Count what is the same, what is gone and what is new."""
    same = sum(1 for pair in pairs if pair.was and pair.would)
    gone = sum(1 for pair in pairs if pair.would is None)
    return {"same": same, "gone": gone, "new": len(pairs) - same - gone}

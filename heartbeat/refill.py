"""The windows of checks, filled from the past: at a start, and where a reload asks for others than there were.

What was saved of them is taken as it is. The results that came later are taken in again, and so are earlier ones where
a window is new, or longer than it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import partial

import structlog
from sqlalchemy import Connection

from heartbeat.clock import Clock
from heartbeat.core.series import Outcomes, Series
from heartbeat.core.windows import Need, Part, Plan, Windows
from heartbeat.state import Live, plan_of
from heartbeat.store import Store, StoreFailed
from heartbeat.store.windows import Sample, find, names, samples_after, samples_between

log = structlog.get_logger()

TOGETHER = 50
"""Checks that are filled at once, by the thread that reads."""
TRIES = 3
"""How often a check is filled again whose next run came in between."""

Plans = Mapping[str, Plan]
"""By the name of the check."""
Parts = Mapping[str, Part]
"""Parts of windows, by the words that say which they are."""


def outline(need: Need) -> str:
    """Say which part of windows it is, so that it can be told whether it is the same under another plan."""
    return f"{need.name} {need.seconds:g} {','.join(need.outcomes)}".rstrip()


def parts_of(windows: Windows | None) -> dict[str, Part]:
    """Return the parts of windows."""
    return dict(zip(map(outline, windows.plan.needs), windows.parts, strict=True)) if windows else {}


def put_together(plan: Plan, *found: Parts) -> Windows:
    """Return windows with the parts that were found, those named first where there are two; the others are empty."""
    windows = Windows(plan)
    known = {name: part for parts in reversed(found) for name, part in parts.items()}
    windows.parts = tuple(known.get(name, part) for name, part in parts_of(windows).items())
    return windows


def adapt(live: Live) -> tuple[Need, ...]:
    """Adapt the windows of a check to its configuration, and return which parts it lacks for that.

    Where it lacks any it goes on with those that it has; what it has no longer use for is dropped at once.
    """
    plan, known = plan_of(live.config), parts_of(live.windows)
    if plan is None:
        live.windows = None
        return ()
    lacking = tuple(need for need in plan.needs if outline(need) not in known)
    if not lacking and live.windows is not None and live.windows.plan != plan:
        live.windows = put_together(plan, known)
    return lacking


async def recall(store: Store, checks: Mapping[str, Live], known: AbstractSet[str], now: float) -> None:
    """Fill the windows of all checks at a start, before anything runs.

    Args:
        store: where their past is.
        checks: all checks there are.
        known: names of those that have a past; a check that is new has none, though another had its name once.
        now: the time. What lies beyond it comes from a clock that was set back since, and is moved.
    """
    windowed = [(name, live.windows) for name, live in checks.items() if live.windows is not None]
    try:
        for start in range(0, len(windowed), TOGETHER):
            plans = {name: windows.plan for name, windows in windowed[start : start + TOGETHER]}
            for name, windows in (await store.ask(partial(_recall, plans=plans, known=known, now=now))).items():
                checks[name].windows = windows
        for name in set(await store.ask(names)).difference(checks):
            await store.forget(name)
    except StoreFailed as error:
        log.error("windows not filled", error=str(error))


async def refill(store: Store, lives: Iterable[Live], clock: Clock) -> None:
    """Fill what changed checks lack. A run that comes meanwhile is in what they have, but not in what they lack."""
    lacking = [(live, needs) for live in lives if (needs := adapt(live))]
    for attempt in range(TRIES):
        together = TOGETHER if attempt == 0 else 1
        late: Lacking = []
        for start in range(0, len(lacking), together):
            late += await _refill(store, lacking[start : start + together], clock, last=attempt == TRIES - 1)
        lacking = late


Lacking = list[tuple[Live, tuple[Need, ...]]]


async def _refill(store: Store, lacking: Lacking, clock: Clock, *, last: bool) -> Lacking:
    """Fill some checks, and return those that have run meanwhile."""
    before = [live.runs.values() for live, _ in lacking]
    wanted = [(live.config.name, needs, live.windows.dump() if live.windows else "") for live, needs in lacking]
    found: list[Parts] = [{} for _ in lacking]
    with suppress(StoreFailed):
        await store.flush()
    try:
        found = await store.ask(lambda connection: [_fill(connection, *one, clock.now()) for one in wanted])
    except StoreFailed as error:
        log.error("windows not filled", error=str(error))
    late = []
    for (live, needs), parts, runs in zip(lacking, found, before, strict=True):
        if live.runs.values() != runs and not last:
            late.append((live, needs))
        elif plan := plan_of(live.config):
            live.windows = put_together(plan, parts_of(live.windows), parts)
    return late


def _recall(
    connection: Connection, plans: Mapping[str, Plan], known: AbstractSet[str], now: float
) -> dict[str, Windows]:
    """Return the windows of checks as they were left, with what came after; none of checks that are new."""
    saved = find(connection, plans.keys())
    found = {name: Windows.load(plans[name], one.data) for name, one in saved.items()}
    newest = {name: one.at for name, one in saved.items()}
    for name, sample in samples_after(connection, plans.keys()):
        _take(found[name], sample)
        newest[name] = sample.at
    for name, at in newest.items():
        if at > now:
            found[name].shift(now - at)
    for name in known & plans.keys() | saved.keys():
        had, text = (saved[name].outline.split("; "), saved[name].data) if name in saved else ([], "")
        if lacking := tuple(need for need in plans[name].needs if outline(need) not in had):
            filled = _fill(connection, name, lacking, text, now)
            found[name] = put_together(plans[name], filled, parts_of(found.get(name)))
    return found


def _fill(connection: Connection, name: str, needs: tuple[Need, ...], text: str, now: float) -> Parts:
    """Return parts with what results tell. Exact ones may have been shorter before: what the text has, they keep."""
    exact = tuple(need for need in needs if need.kind in (Series, Outcomes))
    kept, made = Windows.load(_only(exact), text), Windows(_only(need for need in needs if need not in exact))
    since = now - max((need.seconds for need in needs), default=0.0)
    for sample in samples_between(connection, name, since, now) if needs else ():
        _take(made, sample)
        if sample.at >= now - kept.reach:
            kept.refill(sample.at, sample.outcome, sample.result, sample.attempt == 0)
    return parts_of(kept) | parts_of(made)


def _only(needs: Iterable[Need]) -> Plan:
    return Plan(None, None, tuple(needs), {})


def _take(windows: Windows, sample: Sample) -> None:
    windows.take(sample.at, sample.outcome, sample.result, sample.attempt == 0)

"""The windows of checks on disk: as text that only they can read, and the results from which they are filled again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from json import loads
from typing import Any

from sqlalchemy import Column, Connection, func, select
from sqlalchemy.dialects.sqlite import insert

from heartbeat.core.model import NOTHING, Outcome, Result
from heartbeat.store.rows import writable
from heartbeat.store.schema import result, window

_insert = insert(window)
_UPSERT = _insert.on_conflict_do_update(
    index_elements=["check"], set_={name: _insert.excluded[name] for name in ("outline", "data", "at", "seen")}
)
_SAMPLED: tuple[Column[Any], ...] = (
    result.c.at,
    result.c.attempt,
    result.c.found,
    result.c.outcome,
    result.c.duration,
    result.c.lag,
    result.c.measurements,
    result.c.phases,
)
_UNDISTORTED = result.c.distorted == 0
_ORDER = (result.c.at, result.c.id)


@dataclass(frozen=True, slots=True)
class Saved:
    """The windows of a check as they stood ``at`` a time (seconds since the epoch), after the result ``seen``.

    ``outline`` says in words which windows they are.
    """

    check: str
    outline: str
    data: str
    at: float
    seen: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """What a window takes in of one run: ``result`` has the measured values alone."""

    at: float
    attempt: int
    outcome: Outcome
    result: Result


def save(connection: Connection, saved: Sequence[Saved]) -> None:
    """Write windows in place of what was saved of the same checks before.

    All results that they hold were handed to the store before them, so they are there by now.
    """
    seen = connection.scalar(select(func.max(result.c.id))) or 0
    rows = [{**asdict(one), "check": writable(one.check), "seen": seen} for one in saved]
    connection.execute(_UPSERT, rows)


def find(connection: Connection, checks: Collection[str]) -> dict[str, Saved]:
    """Return what was saved last of some checks, by name."""
    rows = connection.execute(select(window).where(window.c.check.in_(checks)))
    return {row.check: Saved(*row) for row in rows}


def names(connection: Connection) -> list[str]:
    """Return the names of all checks of which windows are saved."""
    return list(connection.scalars(select(window.c.check)))


def samples_after(connection: Connection, checks: Collection[str]) -> Iterator[tuple[str, Sample]]:
    """Yield the runs of some checks that came after their windows were saved, of each the oldest first.

    What our own lag distorted is left out, here as below.
    """
    later = (result.c.check == window.c.check) & (result.c.at >= window.c.at) & (result.c.id > window.c.seen)
    rows = select(window.c.check, *_SAMPLED).join(result, later).where(window.c.check.in_(checks), _UNDISTORTED)
    for row in connection.execute(rows.order_by(window.c.check, *_ORDER)):
        yield row[0], _sample(row[1:])


def samples_between(connection: Connection, check: str, since: float, until: float) -> Iterator[Sample]:
    """Yield the runs of a check between two times, oldest first."""
    wanted = (result.c.check == check) & result.c.at.between(since, until) & _UNDISTORTED
    for row in connection.execute(select(*_SAMPLED).where(wanted).order_by(*_ORDER)):
        yield _sample(tuple(row))


def _sample(row: tuple[Any, ...]) -> Sample:
    at, attempt, found, outcome, duration, lag, measurements, phases = row
    values = Result(
        Outcome(found),
        duration,
        measurements=loads(measurements) if measurements else NOTHING,
        phases=loads(phases) if phases else NOTHING,
        lag=lag,
    )
    return Sample(at, attempt, Outcome(outcome), values)

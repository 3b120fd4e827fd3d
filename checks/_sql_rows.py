"""Rows as JSON can say them, and no more of them than fit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any

BYTES = 2**20
"""How much of an answer is kept, as JSON."""
DEPTH = 64


def _moment(value: datetime) -> str:
    if value.tzinfo is not None:
        with suppress(OverflowError):  # the end of the year 9999 west of Greenwich, which stands for ever
            value = value.astimezone(UTC)
    return value.isoformat()


SAID: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (datetime, _moment),
    ((date, time), lambda value: value.isoformat()),
    (timedelta, timedelta.total_seconds),
    ((bytes, bytearray, memoryview), lambda value: bytes(value).hex()),
)
"""How values are said that JSON knows nothing of; a datetime is a date, too."""


@dataclass(slots=True)
class Found:
    """What a query gave.

    Attributes:
        rows: by the names of their columns, as many as were kept.
        count: how many there are; of a statement that gives none, how many it changed.
        is_cut: there are more than are kept.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    count: int = 0
    is_cut: bool = False


def collect(found: Found, names: Sequence[str], rows: Iterable[Sequence[Any]], limit: int) -> None:
    """Keep rows, and count them up to one more than the limit. They are looked at as they come."""
    keys, size = unique(names), 0
    for row in rows:
        found.count += 1
        if not found.is_cut:
            said = dict(zip(keys, map(plain_value, row), strict=True))
            size += len(json.dumps(said))
            found.is_cut = size > BYTES or found.count > limit
            if not found.is_cut:
                found.rows.append(said)
        if found.count > limit:
            return


def unique(names: Sequence[str]) -> list[str]:
    """Return names without doubles: the second ``id`` of a join is ``id_2``."""
    seen: dict[str, None] = {}
    for name in names:
        number, one = 1, name
        while one in seen:
            number += 1
            one = f"{name}_{number}"
        seen[one] = None
    return list(seen)


def plain_value(value: Any, depth: int = DEPTH) -> Any:
    """Return a value of a database as JSON can say it.

    Decimals are numbers where no digit is lost and texts otherwise, times are ISO 8601 (with a zone: in UTC), intervals
    are seconds, bytes are hexadecimal digits; what nobody knows is its text.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (float, Decimal)):
        return _number(value)
    for kinds, said in SAID:
        if isinstance(value, kinds):
            return said(value)
    if depth > 0 and isinstance(value, Mapping):
        return {str(key): plain_value(one, depth - 1) for key, one in value.items()}
    if depth > 0 and isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        return [plain_value(one, depth - 1) for one in items]
    return str(value)


def _number(value: float | Decimal) -> float | str:
    if not isfinite(value):
        return str(value)
    if isinstance(value, float):
        return value
    if value == value.to_integral_value() and abs(value) < 2**63:
        return int(value)
    near = float(value)
    return near if isfinite(near) and Decimal(repr(near)) == value else str(value)

"""Maintenance in the configuration: windows by name, each once or again and again, and which checks each covers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from heartbeat.config.problem import quoted
from heartbeat.config.reading import Reader, Spot, Wrong, attempt, check_name, duration, fields, text
from heartbeat.config.timing import cron, timezone
from heartbeat.core.quiet import LABEL_NAME, PATTERN, Maintenance, Matcher, Recurring, Span
from heartbeat.core.schedule import Cron

_OTHER_WORDS = {
    **dict.fromkeys(("start", "starts", "begin", "begins"), "from"),
    **dict.fromkeys(("end", "ends", "to"), "until"),
    **dict.fromkeys(("length", "for", "lasts"), "duration"),
    **dict.fromkeys(("why", "comment", "description"), "reason"),
    **dict.fromkeys(("matchers", "match", "tags"), "labels"),
    "check": "checks", "type": "types", "schedule": "cron", "tz": "timezone",
}  # fmt: skip


def maintenance(spot: Spot) -> tuple[Maintenance, ...]:
    """Read all windows; those with mistakes are left out, and the mistakes noted."""
    found = []
    for name, child in spot.entries().items():
        attempt(child, partial(_check_own_name, name))
        entry = attempt(child, partial(_entry, name))
        if entry is not None:
            found.append(entry)
    return tuple(found)


def _check_own_name(name: str, _: Spot) -> None:
    check_name(name)


def _entry(name: str, spot: Spot) -> Maintenance | None:
    before = len(spot.problems)
    given = fields(spot, _READERS, _OTHER_WORDS)
    matcher = Matcher(given.get("checks", ()), given.get("types", ()), given.get("labels", ()))
    entries = spot.entries()
    if matcher.is_empty and not entries.keys() & {"checks", "types", "labels"}:
        spot.wrong('needs "checks", "types" or "labels" that say what it covers; checks: ["*"] is all')
    if "reason" not in entries:
        spot.wrong('needs "reason": who is not told wants to know why')
    when = _when(spot, entries, given)
    if when is None or len(spot.problems) > before:
        return None
    return Maintenance(name, matcher, when, given["reason"])


def _when(spot: Spot, entries: Mapping[str, Spot], given: Mapping[str, Any]) -> Span | Recurring | None:
    """Return when it is open; note what is missing, and what does not go together."""
    once, again = entries.keys() & {"from", "until"}, entries.keys() & {"cron", "duration"}
    if bool(once) == bool(again):
        spot.wrong("needs from and until (once), or cron and duration (again and again)")
        return None
    for key in ("from", "until") if once else ("cron", "duration"):
        if key not in entries:
            spot.wrong(f"needs {quoted(key)}, beside {quoted(min(once or again))}")
    if again:
        if not {"cron", "duration"} <= given.keys():
            return None
        return Recurring(Cron(given["cron"], given.get("timezone", "UTC")), given["duration"])
    read = partial(_moment, zone=given.get("timezone"))
    times = [attempt(entries[key], partial(_convert, read)) for key in ("from", "until") if key in entries]
    if len(times) < 2 or None in times:
        return None
    if times[0] >= times[1]:
        entries["until"].wrong("must be later than from")
    return Span(*times)


def _convert(read: Callable[[str], float], spot: Spot) -> float:
    return read(text(spot))


def _moment(value: str, zone: str | None) -> float:
    """Return a time, in seconds since the epoch, that has an offset or stands on the clocks of a zone."""
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise Wrong("must be a time such as 2026-12-05T22:00, with an offset or beside a timezone") from None
    if found.tzinfo is not None:
        if zone is not None:
            raise Wrong("has an offset; leave that out, or the timezone")
        return found.timestamp()
    if zone is None:
        raise Wrong(f"needs an offset, as in {value}+01:00, or a timezone beside it")
    return on_clocks(found, zone)


def on_clocks(found: datetime, zone: str) -> float:
    """Return when the clocks of a zone show this; ``Wrong`` where they never do, or do so twice."""
    first, second = (found.replace(tzinfo=ZoneInfo(zone), fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first.timestamp()
    is_there = first.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) == found
    how = "twice, as they are set back" if is_there else "never, as they are set forward"
    raise Wrong(f"the clocks of {zone} show this time {how}; write another, or one with an offset")


def patterns(spot: Spot) -> tuple[str, ...]:
    """Read a list of patterns of names."""
    found = tuple(attempt(item, _pattern) for item in spot.items())
    if not found:
        raise Wrong('must name at least one; ["*"] is all')
    return tuple(one for one in found if one)


def _pattern(spot: Spot) -> str:
    value = _shown(spot)
    if not PATTERN.fullmatch(value):
        raise Wrong(f"{quoted(value)} is no pattern: use letters, digits, _ . - and * for anything (at most 100)")
    return value


def _labels(spot: Spot) -> tuple[tuple[str, str], ...]:
    entries = spot.entries()
    if not entries:
        raise Wrong("must name at least one label")
    for name, child in entries.items():
        if not LABEL_NAME.fullmatch(name):
            child.wrong(f"{quoted(name)} is no name for a label: use letters, digits and _", child.key)
    return tuple((name, attempt(child, _shown, "")) for name, child in entries.items())


def _shown(spot: Spot) -> str:
    """Read text that will be shown in messages."""
    value = text(spot)
    if spot.node.secret:
        raise Wrong("must not be a secret: it is shown in messages")
    if not value.strip():
        raise Wrong("must not be empty")
    return value


_READERS: dict[str, Reader] = {
    "checks": patterns,
    "types": patterns,
    "labels": _labels,
    "reason": _shown,
    "from": text,
    "until": text,
    "cron": cron,
    "duration": duration(1.0),
    "timezone": timezone,
}

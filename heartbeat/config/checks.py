"""Checks in the configuration: what the daemon does with each, and the one key that names its type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from heartbeat.config.document import to_python
from heartbeat.config.labels import labels
from heartbeat.config.limits import limits
from heartbeat.config.options import validate
from heartbeat.config.plan import Draft
from heartbeat.config.policy import broken, make_policy, policy
from heartbeat.config.problem import nearest, quoted
from heartbeat.config.reading import Reader, Spot, Wrong, attempt, check_name, duration, name, refuse_key, text
from heartbeat.config.types import Types
from heartbeat.core.schedule import Cron, Interval, Schedule
from heartbeat.core.units import format_duration
from heartbeat.plugins.source import digest_of

EVERY = 60.0
TIMEOUT = 10.0
RESERVED = "heartbeat."
LATER = frozenset(
    [
        "description",
        "depends_on",
        "objective",
        "maintenance",
        "matrix",
        "tags",
        "enabled",
        "windows",
        "accounts",
        "steps",
    ]
)
_OTHER_WORDS = {"interval": "every", "period": "every", "frequency": "every", "schedule": "cron", "tz": "timezone",
                "alerts": "notify", "alert": "notify", "receivers": "notify", "contacts": "notify",
                "thresholds": "limits", "threshold": "limits", "retries": "policy"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Around:
    """What all checks share: the defaults, the types, and what reads the names of receivers."""

    defaults: Mapping[str, Any]
    types: Types
    notify: Reader


def read_checks(spot: Spot, around: Around) -> list[Draft]:
    """Read all checks; those with mistakes are left out, and the mistakes noted."""
    drafts = []
    readers = _READERS | {"notify": around.notify}
    entries = attempt(spot, Spot.entries, {})
    renamed: dict[str, str] = {}
    for key, child in entries.items():
        attempt(child, partial(_check_own_name, key))
        draft = attempt(child, partial(_check, key, readers, around))
        if draft is not None:
            attempt(child.entries().get("was", child), partial(_check_was, draft, entries, renamed))
            drafts.append(draft)
    return drafts


def _check_own_name(key: str, _: Spot) -> None:
    check_name(key)
    if key.startswith(RESERVED):
        raise Wrong(f"names that start with {RESERVED} are those of the daemon's checks of itself")


def _check_was(draft: Draft, entries: Mapping[str, Spot], renamed: dict[str, str], _: Spot) -> None:
    if draft.was and draft.was in entries:
        raise Wrong(f"the check {quoted(draft.was)} is still there; its history stays with it")
    if draft.was and renamed.setdefault(draft.was, draft.name) != draft.name:
        raise Wrong(f"the history of {quoted(draft.was)} already goes to {quoted(renamed[draft.was])}")


def _check(key: str, readers: Mapping[str, Reader], around: Around, spot: Spot) -> Draft | None:
    entries = spot.entries()
    before = len(spot.problems)
    own = {word: attempt(child, readers[word]) for word, child in entries.items() if word in readers}
    given = {word: value for word, value in own.items() if value is not None}
    schedule, timeout = _timing(spot, entries, given, around.defaults)
    kind = _type_of(spot, entries, around.types)
    found = around.types.get(kind, entries[kind]) if kind else None
    model = validate(found, entries[kind], f'the check type "{kind}"') if found and kind else None
    if kind is None or model is None or len(spot.problems) > before:
        return None
    options = to_python(entries[kind].node) or {}
    defaults = around.defaults
    return Draft(
        name=key,
        type=kind,
        options=options,
        fingerprint=fingerprint(kind, options, around.types.found.sources[kind].digest),
        schedule=schedule,
        timeout=timeout,
        policy=make_policy(_both("policy", defaults, given), _both("broken", defaults, given), schedule),
        limits=given.get("limits", ()),
        notify=given.get("notify", defaults.get("notify", ())),
        labels=_both("labels", defaults, given),
        runbook=given.get("runbook", ""),
        was=given.get("was", ""),
        model=model,
    )


def fingerprint(kind: str, options: Mapping[str, Any], digest: str) -> str:
    """Return what changes with a check's type, expanded options, or plugin."""
    return digest_of(kind, json.dumps(options, sort_keys=True), digest)


def _both(key: str, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    return {**defaults.get(key, {}), **given.get(key, {})}


def _timing(
    spot: Spot, entries: Mapping[str, Spot], given: Mapping[str, Any], defaults: Mapping[str, Any]
) -> tuple[Schedule, float]:
    """Return when a check runs and how long it may take."""
    if "cron" in entries:
        if "every" in entries:
            entries["cron"].wrong("every and cron exclude each other; keep one", entries["cron"].key)
        timeout = given.get("timeout", defaults.get("timeout", TIMEOUT))
        return Cron(given.get("cron", ""), given.get("timezone", "UTC")), timeout
    if "timezone" in entries:
        entries["timezone"].wrong("has no effect without cron", entries["timezone"].key)
    every = given.get("every", defaults.get("every", EVERY))
    timeout = given.get("timeout", defaults.get("timeout", min(TIMEOUT, every)))
    if timeout > every:
        culprit = entries.get("timeout") or entries.get("every") or spot
        culprit.wrong(f"the timeout ({format_duration(timeout)}) is longer than every ({format_duration(every)})")
    return Interval(every), timeout


def _type_of(spot: Spot, entries: Mapping[str, Spot], types: Types) -> str | None:
    """Return the one key that names a type; note what else is there, or that none is."""
    sources = types.found.sources
    strange = [key for key in entries if key not in _READERS]
    kinds = [key for key in strange if key in sources]
    if len(kinds) > 1:
        spot.wrong(f"has {len(kinds)} types, {' and '.join(kinds)}; write one check for each", entries[kinds[1]].key)
    for key in strange:
        if key in kinds:
            continue
        if kinds or key in LATER or nearest(key, _READERS, _OTHER_WORDS):
            refuse_key(entries[key], key, _READERS, _OTHER_WORDS, LATER)
        else:
            entries[key].wrong(f"unknown check type {quoted(key)}{nearest(key, sources)}", entries[key].key)
    if not strange:
        spot.wrong("needs a type: one key such as http: with its options")
    return kinds[0] if len(kinds) == 1 else None


def cron(spot: Spot) -> str:
    """Read a cron expression of five fields."""
    value = text(spot)
    try:
        if len(value.split()) != 5:
            raise Wrong("must have five fields: minute, hour, day of month, month, day of week")
        next(CronSim(value, datetime(2024, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        raise Wrong(f"is no cron expression: {error}") from None
    except StopIteration:
        raise Wrong("never comes") from None
    return value


def timezone(spot: Spot) -> str:
    """Read the name of a time zone."""
    value = text(spot)
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise Wrong(f"there is no time zone {spot.shown()}; write it like Europe/Stockholm") from None
    return value


_READERS: dict[str, Reader] = {
    "every": duration(1.0),
    "cron": cron,
    "timezone": timezone,
    "timeout": duration(0.01),
    "policy": policy,
    "broken": broken,
    "limits": limits,
    "notify": text,
    "labels": labels,
    "runbook": text,
    "was": name,
}

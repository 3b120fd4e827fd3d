"""Checks in the configuration: what the daemon does with each, and the one key that names its type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from heartbeat.config.dependencies import depends_on, resolve
from heartbeat.config.labels import labels
from heartbeat.config.limits import check_windows, limits
from heartbeat.config.matrix import Member, Members
from heartbeat.config.notify import Notify, make_routes
from heartbeat.config.objective import check_objective, objective
from heartbeat.config.plan import Draft
from heartbeat.config.policy import broken, make_policy, policy
from heartbeat.config.problem import nearest, quoted
from heartbeat.config.reading import (
    Reader,
    Spot,
    Wrong,
    attempt,
    check_name,
    duration,
    itself,
    merged,
    name,
    names,
    refuse_key,
    text,
)
from heartbeat.config.routes import check_routes
from heartbeat.config.timing import cron, timezone, timing
from heartbeat.config.typed import Known, read_typed
from heartbeat.config.types import Types
from heartbeat.core.policy import Policy, Routes
from heartbeat.core.schedule import Interval, Schedule
from heartbeat.core.switches import ON

RESERVED = "heartbeat."
LATER = frozenset(["description", "windows"])
_OTHER_WORDS = {"interval": "every", "period": "every", "frequency": "every", "schedule": "cron", "tz": "timezone",
                "alerts": "notify", "alert": "notify", "receivers": "notify", "contacts": "notify",
                "thresholds": "limits", "threshold": "limits", "retries": "policy", "escalation": "escalate",
                "dependencies": "depends_on", "depends": "depends_on", "parents": "depends_on", "parent": "depends_on",
                "slo": "objective", "objectives": "objective", "for_each": "matrix", "tag": "tags"}  # fmt: skip
_ELSEWHERE = {
    **dict.fromkeys(
        ("raise", "clear", "recheck", "remind", "hold", "missed", "flapping", "warn", "fail"), "belongs into policy:"
    ),
    **dict.fromkeys(
        ("maintenance", "storm", "accounts", "mark_traffic"),
        "is no key of a check, it stands at the top of the configuration",
    ),
}

_OF_JUDGING = ("policy", "broken", "escalate", "notify")


@dataclass(frozen=True, slots=True)
class Around:
    """What all checks share: the defaults, what their options may refer to, and what reads the names of receivers."""

    defaults: Mapping[str, Any]
    known: Known
    readers: Mapping[str, Reader]
    judging: dict[Schedule, tuple[Policy, Routes]] = field(default_factory=dict)
    """Made from the defaults alone, for checks that say nothing themselves: nearly all of many."""


def read_checks(members: Members, around: Around) -> list[Draft]:
    """Read all checks; those with mistakes are left out, and the mistakes noted."""
    drafts = []
    readers = {**_READERS, **around.readers}
    taken = {member.name for member in members.checks}
    renamed: dict[str, str] = {}
    for member in members.checks:
        attempt(member.spot, partial(_check_own_name, member.name))
        draft = attempt(member.spot, partial(_check, member, readers, around))
        if draft is not None:
            attempt(member.spot.entries().get("was", member.spot), partial(_check_was, draft, taken, renamed))
            drafts.append(draft)
    check_routes(drafts, members)
    above = _dependencies(members)
    return [replace(draft, depends_on=above[draft.name]) if draft.name in above else draft for draft in drafts]


def _dependencies(members: Members) -> dict[str, tuple[str, ...]]:
    """Return what each check depends on, of those that say so; also of those in which something else is wrong."""
    given = {}
    for member in members.checks:
        entries = member.spot.node.value
        if isinstance(entries, dict) and "depends_on" in entries:
            spot = member.spot.entries()["depends_on"]
            given[member.name] = (spot, attempt(spot, depends_on, ()))
    return resolve(given, members.families)


def _check_own_name(key: str, _: Spot) -> None:
    check_name(key)
    if key.startswith(RESERVED):
        raise Wrong(f"names that start with {RESERVED} are those of the daemon's checks of itself")


def _check_was(draft: Draft, taken: set[str], renamed: dict[str, str], _: Spot) -> None:
    if draft.was and draft.was in taken:
        raise Wrong(f"the check {quoted(draft.was)} is still there; its history stays with it")
    if draft.was and renamed.setdefault(draft.was, draft.name) != draft.name:
        raise Wrong(f"the history of {quoted(draft.was)} already goes to {quoted(renamed[draft.was])}")


def _check(member: Member, readers: Mapping[str, Reader], around: Around, spot: Spot) -> Draft | None:
    entries = spot.entries()
    before = len(spot.problems)
    own = {word: attempt(child, readers[word]) for word, child in entries.items() if word in readers}
    given = {word: value for word, value in own.items() if value is not None}
    schedule, timeout = timing(spot, entries, given, around.defaults)
    policy, routes = _judging(spot, entries, given, around, schedule)
    kind = _type_of(spot, entries, around.known.types)
    _check_against(schedule, entries, given)
    made = read_typed(kind, entries[kind], around.known) if kind else None
    labels = _labels(member, entries, around.defaults.get("labels", {}), given.get("labels", {}))
    if kind is None or made is None or len(spot.problems) > before:
        return None
    return Draft(
        name=member.name,
        type=kind,
        options=made.options,
        fingerprint=made.fingerprint,
        schedule=schedule,
        timeout=timeout,
        policy=policy,
        limits=given.get("limits", ()),
        notify=routes,
        labels=labels,
        runbook=given.get("runbook", ""),
        was=given.get("was", ""),
        tags=given.get("tags", around.defaults.get("tags", ())),
        objective=given.get("objective"),
        family=member.family,
        enabled=given.get("enabled", around.defaults.get("enabled", ON)),
        folder=made.folder,
        uses=made.uses,
        modules=made.modules,
        model=made.check,
    )


def _judging(
    spot: Spot, entries: Mapping[str, Spot], given: Mapping[str, Any], around: Around, schedule: Schedule
) -> tuple[Policy, Routes]:
    """Return when to raise and clear and so on, and who is told."""
    if given.keys().isdisjoint(_OF_JUDGING) and schedule in around.judging:
        return around.judging[schedule]
    usual = around.defaults
    target, track, escalation = (
        merged(usual.get(key, {}), given.get(key, {})) for key in ("policy", "broken", "escalate")
    )
    notify = given.get("notify", Notify()).over(usual.get("notify", Notify()))
    policy = attempt(entries.get("policy", spot), lambda _: make_policy(target, track, escalation, schedule), Policy())
    routes = attempt(entries.get("escalate", spot), lambda _: make_routes(notify, escalation), Routes())
    if given.keys().isdisjoint(_OF_JUDGING):
        around.judging[schedule] = policy, routes
    return policy, routes


def _check_against(schedule: Schedule, entries: Mapping[str, Spot], given: Mapping[str, Any]) -> None:
    """Note what can never come true when the check runs like this."""
    interval = schedule.seconds if isinstance(schedule, Interval) else None
    if "limits" in given:
        check_windows(entries["limits"], given["limits"], interval)
    if "objective" in given:
        check_objective(entries["objective"], given["objective"], interval)


def _labels(
    member: Member, entries: Mapping[str, Spot], usual: Mapping[str, str], own: Mapping[str, str]
) -> dict[str, str]:
    for label in own.keys() & member.values.keys():
        entries["labels"].wrong(f"{label} is a label already: the matrix gives each of its checks its own")
    return {**usual, **member.values, **own}


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
        if key in _ELSEWHERE:
            entries[key].wrong(_ELSEWHERE[key], entries[key].key)
        elif kinds or key in LATER or nearest(key, _READERS, _OTHER_WORDS):
            refuse_key(entries[key], key, _READERS, _OTHER_WORDS, LATER)
        else:
            entries[key].wrong(f"unknown check type {quoted(key)}{nearest(key, sources)}", entries[key].key)
    if not strange:
        spot.wrong("needs a type: one key such as http: with its options")
    return kinds[0] if len(kinds) == 1 else None


_READERS: dict[str, Reader] = {
    "every": duration(1.0),
    "cron": cron,
    "timezone": timezone,
    "timeout": duration(0.01),
    "policy": policy,
    "broken": broken,
    "depends_on": depends_on,
    "enabled": itself,
    "limits": limits,
    "objective": objective,
    "notify": itself,
    "escalate": itself,
    "labels": labels,
    "matrix": itself,
    "runbook": text,
    "tags": names,
    "was": name,
}

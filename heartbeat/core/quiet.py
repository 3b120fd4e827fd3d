"""Quiet times as data: which checks they cover, until when they last, and what is said of them.

Their times are wall-clock times of people: "until 15:00" stays 15:00 when the clock is set, so nothing here is ever
shifted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf

from heartbeat.core.schedule import Cron
from heartbeat.core.times import readable

OWN = "heartbeat."
"""How the names and types of the daemon's checks of itself begin; a pattern covers them only if it begins so, too."""
PATTERN = re.compile(r"[a-zA-Z0-9_.*-]{1,100}")
"""A pattern of the name of a check or a type, in which ``*`` stands for anything."""
LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,99}")
OVER = 0.0
"""Until when that is quiet which is not."""


class QuietKind(StrEnum):
    """What people can ask for; the word in the store, in metrics and in the API."""

    SILENCE = "silence"
    MAINTENANCE = "maintenance"
    DISABLED = "disabled"
    ACKNOWLEDGEMENT = "acknowledgement"
    DEPLOYMENT = "deployment"
    """While it lasts; see ``core.deployment``."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """Which checks are covered: those that meet everything that is given. In each pattern ``*`` stands for anything.

    Attributes:
        checks: patterns of names, of which one has to match.
        types: patterns of check types, of which one has to match.
        labels: names of labels and a pattern for the value of each; all have to match.
        tags: tags, of which a check has to have one.
    """

    checks: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Say whether nothing is given at all."""
        return not (self.checks or self.types or self.labels or self.tags)

    def __str__(self) -> str:
        told = (*self.checks, *(f"type {kind}" for kind in self.types), *(f"{key}={one}" for key, one in self.labels))
        return ", ".join((*told, *(f"tag {tag}" for tag in self.tags)))


NOTHING = Matcher()


def covers(matcher: Matcher, name: str, kind: str, labels: Mapping[str, str], tags: tuple[str, ...] = ()) -> bool:
    """Say whether a matcher covers a check of this name, type, labels and tags; one that gives nothing covers none."""
    if matcher.is_empty:
        return False
    checks, types = matcher.checks, matcher.types
    if (checks and not _any(checks, name)) or (types and not _any(types, kind)):
        return False
    if matcher.tags and not any(tag in tags for tag in matcher.tags):
        return False
    if not all(key in labels and matches(pattern, labels[key]) for key, pattern in matcher.labels):
        return False
    return not name.startswith(OWN) or _any(_own(checks), name) or _any(_own(types), kind)


def matches(pattern: str, text: str) -> bool:
    """Say whether a pattern matches a whole text: ``*`` stands for anything, all else for itself.

    Linear, as each part is taken where it is found first; a regular expression would look everywhere.
    """
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    *middle, last = rest
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def _any(patterns: Iterable[str], text: str) -> bool:
    return any(matches(pattern, text) for pattern in patterns)


def _own(patterns: Iterable[str]) -> Iterable[str]:
    return (pattern for pattern in patterns if pattern.startswith(OWN))


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time: its start belongs to it, its end does not."""

    start: float
    end: float


def open_at(spans: Iterable[Span], now: float) -> Span | None:
    """Return the span that is open at a time; of several the one that ends last."""
    return max((span for span in spans if span.start <= now < span.end), key=lambda span: span.end, default=None)


@dataclass(frozen=True, slots=True)
class Recurring:
    """Begins at the times of a cron expression on the clocks of its zone, and lasts so many seconds each time."""

    cron: Cron
    duration: float


@dataclass(frozen=True, slots=True)
class Maintenance:
    """A window of the configuration: once, or again and again."""

    name: str
    matcher: Matcher
    when: Span | Recurring
    reason: str

    def say(self, end: float) -> str:
        """Return why nobody is told while it is open until ``end``."""
        return f"maintenance {self.name} until {readable(end)}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody asked for while the daemon ran.

    Attributes:
        id: names it on the command line and in the store.
        kind: what it is.
        matcher: which checks it covers.
        owner: who asked.
        reason: why, as the owner says.
        start: when.
        end: until when (None: until somebody ends it, or what it covers has recovered).
        until_recovered: it ends as soon as nothing that it covers is wrong any more.
        name: that of a maintenance, or of the one check that it is about.
        incidents: the ids of those that were acknowledged.
        ended: when it came to its end.
        why_ended: why that was, and by whom.
    """

    id: str
    kind: QuietKind
    matcher: Matcher
    owner: str
    reason: str
    start: float
    end: float | None = None
    until_recovered: bool = False
    name: str = ""
    incidents: tuple[str, ...] = ()
    ended: float | None = None
    why_ended: str = ""

    def until(self, now: float) -> float:
        """Return until when it keeps messages back, ``inf`` where nobody knows, and ``OVER`` where it does not."""
        if self.ended is not None or self.kind is QuietKind.ACKNOWLEDGEMENT:
            return OVER
        end = inf if self.end is None else self.end
        return end if now < end else OVER

    def say(self) -> str:
        """Return why nobody is told while it is open."""
        if self.kind is QuietKind.DISABLED:
            return f"disabled by {self.owner}: {self.reason}"
        what = f"maintenance {self.name} of" if self.kind is QuietKind.MAINTENANCE else "silenced by"
        return f"{what} {self.owner} {self.lasts()}: {self.reason}"

    def lasts(self) -> str:
        """Return until when, in words."""
        at = "" if self.end is None else f"until {readable(self.end)}"
        if not self.until_recovered:
            return at or "until somebody ends it"
        return f"until all is well, but only {at}" if at else "until all is well"


def follow(order: Order, old: str, new: str) -> Order | None:
    """Return an order that names a check by its new name, None where it does not name it."""
    matcher = order.matcher
    if old not in matcher.checks:
        return None
    names = tuple(dict.fromkeys(new if name == old else name for name in matcher.checks))
    name = new if order.name == old and order.kind is not QuietKind.MAINTENANCE else order.name
    return replace(order, name=name, matcher=replace(matcher, checks=names))


def end(order: Order, now: float, why: str) -> Order:
    """Return an order that has come to its end."""
    return replace(order, ended=now, why_ended=why)

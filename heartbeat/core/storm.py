"""Storms: most unrelated checks fail at once. Then it is not they who fail, but the monitor that is cut off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from heartbeat.core.times import readable

MOST = 900.0
"""Seconds after which a storm stands against nothing any more, though it may go on."""
EARLY = 0.1
"""The share of all checks that is enough to see a storm early, where nearly nothing has been well since it began."""
WORD = "most checks fail at once"
"""How the reason begins: by it a restart knows what a storm has kept back."""


@dataclass(frozen=True, slots=True)
class StormRule:
    """From how many checks on, from which share of those that ran on, and within how many seconds it is a storm."""

    checks: int = 5
    share: float = 0.5
    within: float = 60.0


class Fact(NamedTuple):
    """What is known of a check that ran lately: its latest run ended at ``ran_at``.

    ``unit`` is the same for checks that are related, which count as one. ``bad_since`` is when it went from good to
    bad, None where it is well; a check that was bad long before says nothing and is no fact. Times in seconds.
    """

    unit: str
    ran_at: float
    bad_since: float | None = None


class Tally(NamedTuple):
    """How many unrelated checks ran, and how many of those went bad."""

    bad: int
    ran: int


@dataclass(frozen=True, slots=True)
class Storm:
    """A storm: when the first of its checks went bad, and when it was seen for one; in seconds since the epoch."""

    began: float
    seen: float
    tally: Tally


def find_storm(facts: Collection[Fact], now: float, rule: StormRule) -> Storm | None:
    """Return the storm that these facts are, if they are one.

    It takes ``checks`` unrelated ones that went bad ``within`` the time, and that they are the ``share`` of those that
    ran in it. Among many it is seen before half have failed: when a tenth of them has, twice ``checks`` at least, and
    nearly all that ran since the first of those.
    """
    whole = tally(facts, now - rule.within, rule.share)
    times = sorted((fact.bad_since, fact.unit) for fact in facts if (fact.bad_since or 0.0) >= now - rule.within)
    if whole.bad < rule.checks or not times:
        return None
    if whole.bad >= rule.share * whole.ran:
        return Storm(times[0][0] or now, now, whole)
    least = max(2 * rule.checks, ceil(EARLY * whole.ran))
    began = _begin_of_latest(times, least)
    if began is None:
        return None
    since = tally(facts, began, rule.share)
    is_early = since.bad >= least and since.bad >= (1 + rule.share) / 2 * since.ran
    return Storm(began, now, since) if is_early else None


def is_over(storm: Storm, facts: Collection[Fact], members: Collection[Fact], rule: StormRule) -> bool:
    """Say whether a storm is over: less than half of its checks still fail, or most of the others turn out well.

    ``members`` are the facts of all checks that went bad since it began, of those among them that are well again too.
    """
    still = tally(members, storm.began, 0.5)
    if 2 * still.bad < still.ran or not members:
        return True
    whole = tally(facts, storm.began, rule.share)
    return whole.bad < rule.share * whole.ran


def tally(facts: Collection[Fact], since: float, share: float) -> Tally:
    """Count what ran, and what went bad, since then; related checks are bad where that share of them is."""
    ran = Counter(fact.unit for fact in facts if fact.ran_at >= since)
    bad = Counter(fact.unit for fact in facts if fact.bad_since is not None and fact.ran_at >= since <= fact.bad_since)
    return Tally(sum(count >= share * ran[unit] for unit, count in bad.items()), len(ran))


def explain(storm: Storm) -> str:
    """Say why nobody is told of a check in a storm."""
    return f"{WORD}: the monitor itself seems cut off since {readable(storm.began)}; heartbeat.network tells of it"


def describe_storm(storm: Storm, now: Tally, names: Sequence[str]) -> str:
    """Say how many of how many are bad, since when, and which for example."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    found = f"{now.bad} of the {now.ran} unrelated checks that ran since {readable(storm.began)} went bad"
    return f"the monitor itself seems cut off: {found}: {', '.join(names[:3])}{more}"


def _begin_of_latest(times: Sequence[tuple[float | None, str]], least: int) -> float | None:
    """Return since when so many unrelated checks went bad, the latest of them."""
    units: set[str] = set()
    for at, unit in reversed(times):
        units.add(unit)
        if len(units) >= least:
            return at
    return None

"""What a verification is about: which checks, how often, for how long, against what."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from heartbeat.config import CheckConfig, Config
from heartbeat.config.problem import nearest, quoted
from heartbeat.core.gate import Required
from heartbeat.core.quiet import matches

PACE = 5.0
"""The most seconds between two runs of a check, where nobody says otherwise."""
CONCURRENCY = 32
"""Plugins at work at once, as many as there are threads for them."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a verification goes; times in seconds.

    Attributes:
        runs: how many runs of each check; not used where ``seconds`` are given.
        seconds: for how long each check runs again and again; 0 where runs are counted.
        every: from one run to the next; None: as configured, but at most ``PACE``.
        patience: how long to wait for each check to become healthy before its runs count; 0: not at all.
        concurrency: plugins at work at once.
        required: what is required of every check.
    """

    runs: int = 1
    seconds: float = 0.0
    every: float | None = None
    patience: float = 0.0
    concurrency: int = CONCURRENCY
    required: Required = field(default_factory=Required)

    def pace(self, check: CheckConfig) -> float:
        """Return the seconds from one run of a check to the next."""
        return self.every or min(PACE, check.policy.interval or PACE)


def choose(config: Config, names: Collection[str], tags: Collection[str]) -> list[CheckConfig]:
    """Return the checks of these names with one of these tags; without names or tags all are meant.

    Args:
        config: what there is.
        names: names, names of a matrix, and patterns with ``*``.
        tags: tags.

    Raises:
        ValueError: with a sentence, where anything of it chooses nothing.
    """
    known = {one: None for check in config.checks.values() for one in (check.name, check.family) if one}
    for name in names:
        if not any(matches(name, one) for one in known):
            raise ValueError(f"there is no check {quoted(name)}{nearest(name, known)}")
    tagged = {tag: None for check in config.checks.values() for tag in check.tags}
    for tag in tags:
        if tag not in tagged:
            raise ValueError(f"no check has the tag {quoted(tag)}{nearest(tag, tagged)}")
    chosen = [check for check in config.checks.values() if _is_meant(check, names, tags)]
    if not chosen:
        raise ValueError("no check of these names has any of these tags" if names and tags else "there are no checks")
    return chosen


def _is_meant(check: CheckConfig, names: Collection[str], tags: Collection[str]) -> bool:
    named = not names or any(matches(name, one) for name in names for one in (check.name, check.family) if one)
    return named and (not tags or not set(tags).isdisjoint(check.tags))


def untouched(config: Config, given: Iterable[str], checks: Iterable[CheckConfig]) -> tuple[str, ...]:
    """Return the names of the checks that are run where they are configured although targets were replaced.

    Args:
        config: the configuration, with the targets replaced.
        given: the names of the targets that were.
        checks: the checks that were chosen.

    Raises:
        ValueError: with a sentence, where a target is none of the configuration, or no chosen check refers to it: what
            was meant to be verified would not be.
    """
    given = set(given)
    uses = {check.name: config.targeted.get(check.family or check.name, frozenset()) for check in checks}
    for name in sorted(given):
        if name not in config.targets:
            hint = nearest(name, config.targets) or "; name it under targets: in the configuration"
            raise ValueError(f"there is no target {quoted(name)}{hint}")
        if not any(used & {name, ""} for used in uses.values()):
            raise ValueError(
                f"no chosen check refers to ${{target.{name}}}: what you replace it by would not be verified"
            )
    return tuple(name for name, used in uses.items() if given and not used & {*given, ""})

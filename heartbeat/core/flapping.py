"""Flapping: a check whose state keeps changing. The algorithm is Nagios' (``base/flapping.c``)."""

from __future__ import annotations

from itertools import pairwise

from heartbeat.core.model import Severity
from heartbeat.core.policy import Flapping

HISTORY = 21
"""States that are looked at; between them lie 20 possible changes."""
_CHANGES = HISTORY - 1
_WEIGHTS = tuple(57 + 2 * place for place in range(_CHANGES))
"""What a change counts, in 76ths: from 0.75 for the oldest to 1.25 for the newest; whole numbers, so that a rate that
is exactly at a threshold is found to be."""
_WHOLE = 76 * _CHANGES

States = tuple[Severity, ...]


def note(states: States, severity: Severity) -> States:
    """Return the states with the latest at the end; none at all where every one of them is ok."""
    kept = (*states, severity)[-HISTORY:]
    return kept if any(kept) else ()


def change_rate(states: States) -> float:
    """Return the weighted share of changes, from 0 to 1. What was before the first state counts as ok."""
    whole = (Severity.OK,) * (HISTORY - len(states)) + states
    return sum(weight for weight, (a, b) in zip(_WEIGHTS, pairwise(whole), strict=True) if a is not b) / _WHOLE


def count_changes(states: States) -> int:
    """Return how often the state changed. What was before the first state counts as ok; a full history has none."""
    seen = states if len(states) == HISTORY else (Severity.OK, *states)
    return sum(a is not b for a, b in pairwise(seen))


def is_flapping(states: States, rule: Flapping | None, *, was: bool) -> bool:
    """Say whether a check flaps: from ``start`` on; one that did goes on until it is down at ``stop``."""
    if rule is None or not states:
        return False
    rate = change_rate(states)
    return rate > rule.stop if was else rate >= rule.start

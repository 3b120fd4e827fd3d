"""Limits that are legal but can never fire, or fire whatever happens."""

from __future__ import annotations

from collections.abc import Iterator

from heartbeat.config.model import CheckConfig
from heartbeat.core.limits import Limit, is_time
from heartbeat.core.model import Severity
from heartbeat.core.units import format_duration

FEW = 5
"""Runs in a window, below which one of them decides nearly everything."""
CHANGES = ("rate", "delta")
"""What is made of the differences of values, and so has no bound that a value has."""

Found = tuple[str, str, tuple[str, ...]]


def can_warn(check: CheckConfig) -> bool:
    """Say whether a run of the check can come to a warning."""
    return any(bound.severity is Severity.WARN for limit in check.limits for bound in limit.bounds)


def about_limits(check: CheckConfig) -> Iterator[Found]:
    """Yield rule, sentence and keys of each limit that hardly does what was hoped."""
    every = check.policy.interval
    for limit in check.limits:
        keys = ("limits", limit.name)
        if limit.aggregate not in CHANGES:
            for sentence in (*_against_timeout(limit, check.timeout), *_against_ratio(limit)):
                yield "limit-never-holds", sentence, keys
        if limit.window and every is not None and limit.window < FEW * every:
            runs = f"{limit.window / every:.2g} runs"
            sentence = f"the limit {limit.name} looks at {runs} only, as it runs every {format_duration(every)}"
            yield "window-too-short", sentence, keys


def _against_timeout(limit: Limit, timeout: float) -> Iterator[str]:
    """Yield what the deadline of a run makes impossible, or certain: no time that is measured is longer."""
    if not is_time(limit.measure):
        return
    for bound in limit.bounds:
        if bound.above is not None and bound.above >= timeout:
            above = format_duration(bound.above)
            yield f"the limit {limit.name} above {above} is never reached: the timeout comes first"
        if bound.below is not None and bound.below > timeout:
            yield f"the limit {limit.name} below {format_duration(bound.below)} never holds: no run lasts so long"


def _against_ratio(limit: Limit) -> Iterator[str]:
    """Yield what a share of something cannot be."""
    if not limit.measure.endswith("_ratio"):
        return
    for bound in limit.bounds:
        if bound.above is not None and bound.above >= 1:
            yield f"the limit {limit.name} above {bound.above:.4g} is hardly ever reached: 1 is all of it"
        if bound.below is not None and bound.below > 1:
            yield f"the limit {limit.name} below {bound.below:.4g} hardly ever holds: 1 is all of it"

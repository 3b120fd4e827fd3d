"""What a gate requires, as it stands on the command line: ``99%``, ``p95 duration: 500ms``, ``duration: 2s``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from heartbeat.config.document import Node, parse
from heartbeat.config.limits import limits
from heartbeat.config.problem import Place, Problem, quoted
from heartbeat.config.reading import Spot, attempt
from heartbeat.core.gate import Required
from heartbeat.core.limits import AVAILABILITY, COUNT, Limit
from heartbeat.core.units import parse_duration, parse_ratio

OPTION = Path("--require")
WINDOW = "1h"
"""Stands in the key while it is read; the window of a gate reaches over all of its runs."""
_SHARE = re.compile(r"[0-9.]+ ?%?")


def read_required(texts: Iterable[str]) -> Required:
    """Return what is required. Raises ``ValueError`` with a sentence for what cannot be.

    Args:
        texts: each a share of good runs, or a limit as in ``limits:`` of a check, without its window. A bare value
            fails above it (an availability below it); ``{warn: ..., fail: ...}`` and ``{below: ...}`` are as there.
    """
    shares: list[float] = []
    found: dict[str, Limit] = {}
    for text in texts:
        if _SHARE.fullmatch(text.strip()):
            shares.append(_share(text.strip()))
            continue
        for key, limit in _limits(text).items():
            if key in found:
                raise ValueError(f"--require says {quoted(key)} twice")
            found[key] = limit
    if len(shares) > 1:
        raise ValueError("--require says the share of good runs twice")
    each = tuple(limit for limit in found.values() if not limit.window)
    whole = tuple(limit for limit in found.values() if limit.window)
    return Required(shares[0] if shares else 1.0, each, whole)


def _share(text: str) -> float:
    try:
        share = parse_ratio(text)
    except ValueError as error:
        raise ValueError(f"--require {quoted(text)} {error}") from None
    if not 0 < share <= 1:
        raise ValueError(f"--require {quoted(text)} must be more than 0% and at most 100%")
    return share


def _limits(text: str) -> dict[str, Limit]:
    """Return the limits in a text, by their keys."""
    problems: list[Problem] = []
    tree = parse(text, OPTION, lambda value, _plain, _file: (value, False), problems)
    if tree is not None and (not isinstance(tree.value, dict) or not tree.value):
        example = 'a share of good runs such as 99%, or a limit such as "p95 duration: 500ms"'
        raise ValueError(f"--require {quoted(text)} must be {example}")
    found: dict[str, Limit] = {}
    for key, node in tree.value.items() if tree is not None else ():
        _refuse_window(key)
        written = f"{key} {WINDOW}" if " " in key or key == AVAILABILITY else key
        spot = Spot(Node({written: _levels(key, node)}, node.place, {written: node.place}), "", problems)
        for limit in attempt(spot, limits, ()):
            found[key] = _named(limit, key)
    if problems:
        said = dict.fromkeys(_sentence(problem) for problem in problems)
        raise ValueError(f"--require {quoted(text)}: {'; '.join(said)}")
    return found


def _sentence(problem: Problem) -> str:
    path = problem.path.replace(f" {WINDOW}", "")
    return f"{path}: {problem.message}" if path else problem.message


def _named(limit: Limit, key: str) -> Limit:
    """Return a limit under a name that no limit of a check has."""
    if limit.aggregate == COUNT and any(bound.below is not None for bound in limit.bounds):
        raise ValueError(f"--require {quoted(key)}: a count cannot be required to be reached; require a share of runs")
    return replace(limit, key=key if limit.window else f"{key} (required)")


def _refuse_window(key: str) -> None:
    *_, last = key.split() or [""]
    try:
        parse_duration(last)
    except ValueError:
        return
    raise ValueError(f"--require {quoted(key)}: leave out the window: all runs are looked at")


def _levels(key: str, node: Node) -> Node:
    """Return the levels of a limit, where only the value is given that it fails at."""
    if isinstance(node.value, dict) and not node.value.keys() <= {"above", "below", "clear"}:
        return node
    if key == AVAILABILITY and not isinstance(node.value, dict):
        node = _wrapped("below", node)
    return _wrapped("fail", node)


def _wrapped(key: str, node: Node) -> Node:
    place: Place = node.place
    return Node({key: node}, place, {key: place})

"""A configuration looked at as a whole: what is wrong with it, and what is hardly meant, each with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from heartbeat.config.advice import Advice, Keys, advise
from heartbeat.config.document import Node
from heartbeat.config.inline import find_inline
from heartbeat.config.model import Config
from heartbeat.config.problem import ConfigError, Place, Problem, problem_at
from heartbeat.config.reader import read_as_written

MISTAKE = "mistake"
"""The rule of what keeps a configuration from being used."""


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing there is to say: the rule behind it, whether the configuration can be used all the same, and where."""

    rule: str
    is_warning: bool
    problem: Problem


def remarks_on(config: Config, paths: Sequence[Path], now: float | None = None) -> tuple[Remark, ...]:
    """Return what is hardly meant in a configuration that loads, in the order of its files.

    Args:
        config: the configuration.
        paths: what it was loaded from; read again, for the places of its keys.
        now: seconds since the epoch; the clock's if left out.
    """
    root = read_as_written(paths)
    found = [Remark(one.rule, is_warning=True, problem=_place(one, root)) for one in _all(config, root, now)]
    order = {file: number for number, file in enumerate(dict.fromkeys(remark.problem.file for remark in found))}
    return tuple(sorted(found, key=lambda one: (order[one.problem.file], one.problem.line, one.problem.column)))


def remarks_of(error: ConfigError) -> tuple[Remark, ...]:
    """Return all mistakes."""
    return tuple(Remark(MISTAKE, is_warning=False, problem=problem) for problem in error.problems)


def _all(config: Config, root: Node, now: float | None) -> Iterator[Advice]:
    yield from advise(config, now)
    yield from find_inline(root)


def _place(advice: Advice, root: Node) -> Problem:
    return problem_at(find_place(root, advice.spots), advice.subject, advice.sentence)


def find_place(root: Node, spots: Sequence[Keys]) -> Place:
    """Return where the first of the spots stands that is there; where none is, what is nearest to the last of them."""
    nearest = root.place
    for keys in spots:
        nearest, whole = _follow(root, keys)
        if whole:
            break
    return nearest


def _follow(node: Node, keys: Keys) -> tuple[Place, bool]:
    """Return the place of the last key that is there, and whether that is all of them."""
    place = node.place
    for key in keys:
        value = node.value
        if isinstance(value, Mapping) and key in value:
            place, node = node.keys[key], value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            node = value[int(key)]
            place = node.place
        else:
            return place, False
    return place, True

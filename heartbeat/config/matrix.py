"""Matrices in the configuration: one check that stands for many, one for each combination of values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from math import prod

from heartbeat.config.document import Node
from heartbeat.config.expansion import Deferred
from heartbeat.config.labels import objection
from heartbeat.config.problem import nearest, quoted
from heartbeat.config.reading import NAME, NAME_CHARACTERS, Spot, Wrong, attempt, check_name
from heartbeat.core.model import NOTHING

MEMBERS = 500
"""The most checks that one matrix makes."""
EXCLUDE = "exclude"

Values = Mapping[str, str]
Fill = Callable[[Node, Values], Node]
"""Takes a node with a text that is ``Deferred``, and the values of a member. Raises ``ValueError`` with a sentence."""


@dataclass(frozen=True, slots=True)
class Member:
    """One check as it is to be read: of its own, or one of those that a matrix makes.

    A member's name is that of the check as written and its values, with dots between them: ``login.a-d.eu``. The values
    are labels of it. Its spot has the path of what is written, so that a mistake there is told once.
    """

    name: str
    spot: Spot
    values: Values = field(default_factory=lambda: NOTHING)
    family: str = ""
    """The name as written, where there is a matrix."""


@dataclass(frozen=True, slots=True)
class Members:
    """All checks; ``families`` has, for each name as written, the names of the checks that it stands for."""

    checks: tuple[Member, ...] = ()
    families: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: NOTHING)


def expand_all(spot: Spot, fill: Fill) -> Members:
    """Return the checks below a spot, those with a matrix expanded; what is wrong with a matrix is noted."""
    found: list[Member] = []
    families: dict[str, tuple[str, ...]] = {}
    entries = attempt(spot, Spot.entries, {})
    for key, child in entries.items():
        made = _members(key, child, fill) if _has_matrix(child) else [Member(key, child)]
        families[key] = tuple(member.name for member in made)
        found += made
    _refuse_twins(found, entries)
    return Members(tuple(found), families)


def refuse_deferred(root: Spot) -> None:
    """Note every ``${matrix.NAME}`` that stands where there is no matrix."""
    for key, child in root.entries().items():
        for one in attempt(child, Spot.entries, {}).values() if key == "checks" else [child]:
            if key != "checks" or not _has_matrix(one):
                _refuse(one)


def _refuse(spot: Spot) -> None:
    if isinstance(spot.node.value, Deferred):
        spot.wrong(f"{quoted(spot.node.value.text)} finds no matrix here: that is a key of a check, beside its type")
    for step, child in _children(spot.node):
        _refuse(replace(spot, node=child, path=f"{spot.path}.{step}"))


def _has_matrix(spot: Spot) -> bool:
    return isinstance(spot.node.value, dict) and "matrix" in spot.node.value


def _members(key: str, spot: Spot, fill: Fill) -> list[Member]:
    at = spot.entries()["matrix"]
    every = attempt(spot, partial(_named_combinations, key, at), ())
    names = [".".join((key, *values.values())) for values in every]
    if too_long := [name for name in names if len(name) > NAME_CHARACTERS]:
        at.wrong(f"makes the name {quoted(too_long[0])}, which is longer than {NAME_CHARACTERS} characters")
        return []
    return [Member(name, _filled(spot, fill, values), values, key) for name, values in zip(names, every, strict=True)]


def _named_combinations(key: str, at: Spot, _: Spot) -> Sequence[Values]:
    check_name(key)
    found: Sequence[Values] = attempt(at, _combinations, ())
    return found


def _combinations(spot: Spot) -> Sequence[Values]:
    entries = spot.entries()
    axes = {name: attempt(child, partial(_axis, name), ()) for name, child in entries.items() if name != EXCLUDE}
    if not axes:
        raise Wrong("needs a name and its values, such as region: [eu, us]")
    if not all(axes.values()):  # told already
        return []
    if prod(map(len, axes.values())) > MEMBERS:
        raise Wrong(f"makes {prod(map(len, axes.values())):,} checks; {MEMBERS} is the most")
    excluded = attempt(entries[EXCLUDE], partial(_exclusions, axes), []) if EXCLUDE in entries else []
    every = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    left = [values for values in every if not any(one.items() <= values.items() for one in excluded)]
    if not left:
        raise Wrong("excludes every combination")
    return left


def _axis(name: str, spot: Spot) -> tuple[str, ...]:
    if problem := objection(name):
        spot.wrong(problem, spot.key)
        return ()
    found = tuple(attempt(item, _value, "") for item in spot.items())
    if not found:
        raise Wrong("needs at least one value")
    for one in found:
        if one and found.count(one) > 1:
            raise Wrong(f"names {quoted(one)} twice")
    return found if all(found) else ()


def _value(spot: Spot) -> str:
    value = spot.node.value
    if isinstance(value, Deferred):
        raise Wrong("must not refer to the matrix itself")
    if spot.node.secret:
        raise Wrong("must not be a secret: it is part of a name, and a label")
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not NAME.fullmatch(text):
        raise Wrong(f"must be text of letters, digits, _ . - (a letter or digit first), not {spot.shown()}")
    return text


def _exclusions(axes: Mapping[str, tuple[str, ...]], spot: Spot) -> Sequence[Values]:
    """Read combinations to leave out; each names some of the axes, and one value of each."""
    found = []
    for item in spot.items():
        entries = attempt(item, Spot.entries, {})
        values = {name: attempt(child, partial(_known, axes, name), "") for name, child in entries.items()}
        if values and all(values.values()):
            found.append(values)
        elif not entries:
            item.wrong("needs at least one name and its value, such as region: us")
    return found


def _known(axes: Mapping[str, tuple[str, ...]], name: str, spot: Spot) -> str:
    if name not in axes:
        spot.wrong(f"the matrix has no {quoted(name)}{nearest(name, axes)}", spot.key)
        return ""
    value = _value(spot)
    if value not in axes[name]:
        raise Wrong(f"{quoted(value)} is no value of {name}{nearest(value, axes[name])}")
    return value


def _filled(spot: Spot, fill: Fill, values: Values) -> Spot:
    """Return the spot of a check with the values of a member in all but its matrix."""
    entries = spot.node.value
    rest = spot.node._replace(value={key: child for key, child in entries.items() if key != "matrix"})
    node = _with_values(replace(spot, node=rest), fill, values)
    return replace(spot, node=node._replace(value={**node.value, "matrix": entries["matrix"]}))


def _with_values(spot: Spot, fill: Fill, values: Values) -> Node:
    """Return a tree with the values of a member in it; a part that has none of them stays the same node."""
    node = spot.node
    if isinstance(node.value, Deferred):
        try:
            return fill(node, values)
        except ValueError as error:
            spot.wrong(str(error))
            return node._replace(value=None)
    made = {
        step: new
        for step, child in _children(node)
        if (new := _with_values(replace(spot, node=child, path=f"{spot.path}.{step}"), fill, values)) is not child
    }
    if not made:
        return node
    if isinstance(node.value, dict):
        return node._replace(value={**node.value, **made})
    return node._replace(value=[made.get(step, child) for step, child in _children(node)])


def _children(node: Node) -> list[tuple[str, Node]]:
    if isinstance(node.value, dict):
        return list(node.value.items())
    return [(str(index), child) for index, child in enumerate(node.value)] if isinstance(node.value, list) else []


def _refuse_twins(members: list[Member], entries: Mapping[str, Spot]) -> None:
    """Note where a matrix makes a name that is there already."""
    taken = {name: child.key for name, child in entries.items()}
    for member in members:
        if member.values:
            at = member.spot.entries()["matrix"]
            if member.name in taken:
                at.wrong(f"makes the check {quoted(member.name)}, which is already there, at {taken[member.name]}")
            taken.setdefault(member.name, at.key)

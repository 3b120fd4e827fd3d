"""Options of plugins and channels: what pydantic objects to becomes one sentence at the key that is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from heartbeat.config.document import Node, to_python
from heartbeat.config.problem import Place, nearest, problem_at, quoted
from heartbeat.config.reading import Spot
from heartbeat.config.scalars import kind_of
from heartbeat.config.shapes import TypeOf, below, is_made, keys_of, shape_of
from heartbeat.references import Late
from heartbeat.steps import NO_PART

PART = 8
"""How many characters in a row of a secret are too many to be shown."""
SECRET_MOST = 65536

Model = TypeVar("Model", bound=BaseModel)


class _Fault(NamedTuple):
    """One objection, at the node where its path through the tree ended.

    ``branch`` holds what is left of pydantic's path: the members of a union that it tried, which are no keys.
    ``union`` is how many keys came before them. ``known`` are the keys that would have been right.
    """

    keys: tuple[str | int, ...]
    place: Place
    node: Node
    branch: tuple[str, ...]
    union: int
    error: ErrorDetails
    known: frozenset[str] = frozenset()


NOT_HERE = "nothing is filled in here: ${...} like this stands in the options of a check within"


def no_types(name: str) -> type[BaseModel]:
    """Return no type: in the options of a channel stands no check."""
    raise LookupError(name)


def validate(
    model: type[Model], spot: Spot, what: str, type_of: TypeOf = no_types, given: dict[str, Any] | None = None
) -> Model | None:
    """Return the model of the options at a spot, or None after noting all that is wrong with them.

    Args:
        model: the class of the check or channel.
        spot: its options; nothing at all stands for no options.
        what: how a message calls it, such as ``the check type "http"``.
        type_of: finds the types of checks within.
        given: the options with something in the place of what is filled in later, where that is so. Where all that is
            wrong is in such a place, None is returned, and nothing noted.
    """
    value: Any = given or ({} if spot.node.value is None else to_python(spot.node))
    if not isinstance(value, dict):
        spot.wrong(f"must be a mapping of options, not {spot.shown()}")
        return None
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults = [_locate(model, spot, one, type_of) for one in error.errors(include_url=False, include_context=True)]
        _note(spot, [one for one in faults if given is None or not isinstance(one.node.value, Late)])
    except Exception as error:  # noqa: BLE001 - a plugin's validator may raise anything, and must not hide the other mistakes
        spot.wrong(f"{what} failed while it read its options: {type(error).__name__}: {error}", spot.key)
    return None


def _note(spot: Spot, faults: Sequence[_Fault]) -> None:
    for fault in _one_per_union(faults):
        path = ".".join((spot.path, *map(str, fault.keys)))
        spot.problems.append(problem_at(fault.place, path, _sentence(fault)))


def _locate(model: type[BaseModel], spot: Spot, error: ErrorDetails, type_of: TypeOf) -> _Fault:
    """Follow pydantic's path as far as the tree has it.

    What is no key there is a key that the model put in itself, where its schema knows one of this name. Else it names
    a member of a union.
    """
    node, place, keys, branch = spot.node, spot.key or spot.node.place, [], []
    union, shapes, known = -1, [shape_of(model)], frozenset[str]()
    for step in error["loc"][:-1] if error["type"] == "missing" else error["loc"]:
        known = frozenset(keys_of(shapes))
        child = _child(node, step)
        if child is not None:
            place = child.place
            keys.append(step)
            node = child
        elif not is_made(shapes, step):
            union = len(keys) if union < 0 else union
            branch.append(str(step))
            continue
        shapes = below(shapes, step, type_of)
    if error["type"] in ("extra_forbidden", NO_PART) and keys:
        place = _key_place(spot, keys)
        keys.pop()
    return _Fault(tuple(keys), place, node, tuple(branch), union, error, known)


def _child(node: Node, step: str | int) -> Node | None:
    value = node.value
    if isinstance(value, dict):
        found = value.get(str(step))
        return found if isinstance(found, Node) else None
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return value[step] if isinstance(value[step], Node) else None
    return None


def _key_place(spot: Spot, keys: Sequence[str | int]) -> Place:
    node = spot.node
    for step in keys[:-1]:
        node = _child(node, step) or node
    return node.keys.get(str(keys[-1]), node.place)


def _one_per_union(faults: Iterable[_Fault]) -> Iterator[_Fault]:
    """Keep one member of each union: the one that came furthest, and of those the one with the fewest objections."""

    def key(fault: _Fault) -> tuple[Any, ...]:
        return fault.keys[: fault.union] if fault.branch and fault.union >= 0 else (fault.keys, id(fault))

    ordered: dict[tuple[Any, ...], list[_Fault]] = {}
    for fault in faults:
        ordered.setdefault(key(fault), []).append(fault)
    for together in ordered.values():
        yield from _best_branch(together) if together[0].branch else together


def _best_branch(faults: list[_Fault]) -> list[_Fault]:
    branches = [list(found) for _, found in groupby(faults, key=lambda fault: fault.branch[:1])]
    deep = [branch for branch in branches if not all(_is_wrong_kind(fault) for fault in branch)]
    if deep:
        return min(deep, key=lambda branch: (-max(len(fault.keys) for fault in branch), len(branch)))
    wanted = dict.fromkeys(_said(branch[0].error).removeprefix("must be ") for branch in branches)
    error = {**branches[0][0].error, "type": "union", "msg": "must be " + " or ".join(wanted)}
    return [branches[0][0]._replace(error=error)]  # type: ignore[arg-type] # the same keys with other text


def _is_wrong_kind(fault: _Fault) -> bool:
    return len(fault.keys) == fault.union and fault.error["type"].endswith(("_type", "_parsing"))


def _sentence(fault: _Fault) -> str:
    error = fault.error
    if error["type"] == "missing":
        return f"needs {quoted(error['loc'][-1])}"
    if error["type"] == "extra_forbidden":
        return f"unknown key {quoted(error['loc'][-1])}{nearest(str(error['loc'][-1]), fault.known)}"
    if isinstance(fault.node.value, Late) and error["type"] != "value_error":  # a type says that of what it knows
        return NOT_HERE
    said = _without_parts(_said(error), _secrets_in(fault.node))
    if error["type"] == "string_type" and isinstance(fault.node.value, (bool, int, float)):
        return f"{said}, not {kind_of(fault.node.value)}; put it in quotes"
    if error["type"] in ("literal_error", "enum") and isinstance(fault.node.value, str) and not fault.node.secret:
        return said + nearest(fault.node.value, re.findall(r"'([^']*)'", str(error["msg"])))
    return said


_SAID = {
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "none_required": "must be nothing",
    **dict.fromkeys(("list_type", "tuple_type", "set_type", "frozen_set_type"), "must be a list"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type", "dataclass_type", "mapping_type"),
                    "must be a mapping (key: value)"),
}  # fmt: skip


def _said(error: ErrorDetails) -> str:
    """Return what pydantic says, in our words and without what it calls its input."""
    if error["type"] in _SAID:
        return _SAID[error["type"]]
    said = str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    said = re.sub(r"^(Input|String|Value|URL|Data) should (be|have|match) ?", lambda found: _VERBS[found[2]], said)
    return said or "is refused"


def _secrets_in(node: Node) -> list[str]:
    """Return the secret texts at and below a node."""
    if isinstance(node.value, str):
        return [node.value] if node.secret else []
    below = node.value.values() if isinstance(node.value, dict) else node.value if isinstance(node.value, list) else ()
    return [text for child in below for text in _secrets_in(child)]


def _without_parts(said: str, secrets: Sequence[str]) -> str:
    """Take out what a validator quotes of a secret: a part of one is no longer known to redaction, all of it is."""
    parts = {text[at : at + PART] for text in secrets for at in range(min(len(text), SECRET_MOST) - PART + 1)}
    parts = {part for part in parts if "://" not in part and " " not in part}  # those could be our own words
    if not parts:
        return said
    wholes = "|".join(re.escape(text) for text in sorted(secrets, key=len, reverse=True) if text)
    return "".join(
        piece if piece in secrets else _without(parts, piece) for piece in re.split(f"({wholes})", said) if piece
    )


def _without(parts: set[str], said: str) -> str:
    found = {at + n for at in range(len(said)) if said[at : at + PART] in parts for n in range(PART)}
    return re.sub("\0+", "…", "".join("\0" if at in found else char for at, char in enumerate(said)))


_VERBS = {"be": "must be ", "have": "must have ", "match": "must match "}

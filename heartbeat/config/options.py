"""Options of plugins and channels: what pydantic objects to becomes one sentence at the key that is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from heartbeat.config.document import Node, to_python
from heartbeat.config.problem import Place, nearest, problem_at, quoted
from heartbeat.config.reading import Spot
from heartbeat.config.scalars import kind_of

PART = 8
"""How many characters in a row of a secret are too many to be shown."""
SECRET_MOST = 65536

Model = TypeVar("Model", bound=BaseModel)


class _Fault(NamedTuple):
    """One objection, at the node where its path through the tree ended.

    ``branch`` holds what is left of pydantic's path: the members of a union that it tried, which are no keys.
    ``union`` is how many keys came before them.
    """

    keys: tuple[str | int, ...]
    place: Place
    node: Node
    branch: tuple[str, ...]
    union: int
    error: ErrorDetails


def validate(model: type[Model], spot: Spot, what: str) -> Model | None:
    """Return the model of the options at a spot, or None after noting all that is wrong with them.

    Args:
        model: the class of the check or channel.
        spot: its options; nothing at all stands for no options.
        what: how a message calls it, such as ``the check type "http"``.
    """
    value = {} if spot.node.value is None else to_python(spot.node)
    if not isinstance(value, dict):
        spot.wrong(f"must be a mapping of options, not {spot.shown()}")
        return None
    try:
        return model.model_validate(value)
    except ValidationError as error:
        _note(model, spot, error.errors(include_url=False, include_context=True))
    except Exception as error:  # noqa: BLE001 - a plugin's validator may raise anything, and must not hide the other mistakes
        spot.wrong(f"{what} failed while it read its options: {type(error).__name__}: {error}", spot.key)
    return None


def _note(model: type[BaseModel], spot: Spot, errors: Sequence[ErrorDetails]) -> None:
    faults = [_locate(spot, error) for error in errors]
    for fault in _one_per_union(faults):
        path = ".".join((spot.path, *map(str, fault.keys)))
        spot.problems.append(problem_at(fault.place, path, _sentence(model, fault)))


def _locate(spot: Spot, error: ErrorDetails) -> _Fault:
    """Follow pydantic's path as far as the tree has it; what is no key there names a member of a union."""
    node, place, keys, branch = spot.node, spot.key or spot.node.place, [], []
    union = -1
    for step in error["loc"]:
        child = _child(node, step)
        if child is not None:
            place = child.place
            keys.append(step)
            node = child
        else:
            union = len(keys) if union < 0 else union
            branch.append(str(step))
    if error["type"] == "missing" and branch:
        branch.pop()
    if error["type"] == "extra_forbidden" and keys:
        place = _key_place(spot, keys)
        keys.pop()
    return _Fault(tuple(keys), place, node, tuple(branch), union, error)


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


def _sentence(model: type[BaseModel], fault: _Fault) -> str:
    error = fault.error
    if error["type"] == "missing":
        return f"needs {quoted(error['loc'][-1])}"
    if error["type"] == "extra_forbidden":
        known = _known_keys(model, fault.keys)
        return f"unknown key {quoted(error['loc'][-1])}{nearest(str(error['loc'][-1]), known)}"
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


def _known_keys(model: type[BaseModel], keys: Sequence[str | int]) -> set[str]:
    """Return the keys that a model takes at a path, from its JSON Schema."""
    schema = _schema_of(model)
    here = [schema]
    for step in keys:
        here = [child for one in here for child in _step(schema, one, step)]
    return {key for one in here for each in _members(schema, one) for key in each.get("properties", {})}


def _step(schema: dict[str, Any], here: dict[str, Any], step: str | int) -> list[dict[str, Any]]:
    children = []
    for one in _members(schema, here):
        found = (
            one.get("items")
            if isinstance(step, int)
            else one.get("properties", {}).get(step, one.get("additionalProperties"))
        )
        children += [found] if isinstance(found, dict) else []
    return children


def _members(schema: dict[str, Any], here: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the schemas that one stands for: itself, what it refers to, the members of a union."""
    if reference := here.get("$ref", ""):
        yield from _members(schema, schema.get("$defs", {}).get(reference.rpartition("/")[2], {}))
    for one in (*here.get("anyOf", ()), *here.get("oneOf", ()), *here.get("allOf", ())):
        yield from _members(schema, one)
    yield here


@lru_cache(maxsize=32)
def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    try:
        return model.model_json_schema()
    except Exception:  # noqa: BLE001 - only a hint is lost where a plugin's type has no schema
        return {}

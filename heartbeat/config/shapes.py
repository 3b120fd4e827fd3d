"""What the options of a model look like at a path, from its JSON Schema and those of the types that stand in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic import BaseModel

from heartbeat.steps import INLINE, MARK

TypeOf = Callable[[str], type[BaseModel]]
"""Returns the model of a check type. Raises ``LookupError`` where there is none."""


class Shape(NamedTuple):
    """A schema, and the one of the whole model, in which its references are looked up."""

    whole: dict[str, Any]
    here: dict[str, Any]


def shape_of(model: type[BaseModel]) -> Shape:
    """Return the shape of a model's options."""
    whole = _schema_of(model)
    return Shape(whole, whole)


def below(shapes: Iterable[Shape], step: str | int, type_of: TypeOf) -> list[Shape]:
    """Return the shapes that a step leads to: a key, a number in a list, the name of a type where a check stands."""
    return [found for shape in shapes for one in _members(shape) for found in _step(one, step, type_of)]


def keys_of(shapes: Iterable[Shape]) -> set[str]:
    """Return the keys that can be written there."""
    return {key for shape in shapes for key, one in _properties(shape) if not one.get(INLINE)}


def is_made(shapes: Iterable[Shape], step: str | int) -> bool:
    """Say whether a step is a key that a model puts in itself, in the place of what was written."""
    return any(key == step for shape in shapes for key, _ in _properties(shape))


def _properties(shape: Shape) -> Iterator[tuple[str, dict[str, Any]]]:
    for one in _members(shape):
        yield from one.here.get("properties", {}).items()


def _step(shape: Shape, step: str | int, type_of: TypeOf) -> Iterator[Shape]:
    here = shape.here
    properties = here.get("properties", {})
    stands_here = here.get(MARK) or (step not in properties and any(one.get(INLINE) for one in properties.values()))
    if stands_here and isinstance(step, str):
        with suppress(LookupError):
            yield shape_of(type_of(step))
    key = "items" if isinstance(step, int) else "additionalProperties"
    found = properties.get(step, here.get(key))
    if isinstance(found, dict):
        yield Shape(shape.whole, found)


def _members(shape: Shape) -> Iterator[Shape]:
    """Yield the shapes that one stands for: itself, what it refers to, the members of a union."""
    whole, here = shape
    if reference := here.get("$ref", ""):
        yield from _members(Shape(whole, whole.get("$defs", {}).get(reference.rpartition("/")[2], {})))
    for one in (*here.get("anyOf", ()), *here.get("oneOf", ()), *here.get("allOf", ())):
        yield from _members(Shape(whole, one))
    yield shape


@lru_cache(maxsize=32)
def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    try:
        return model.model_json_schema()
    except Exception:  # noqa: BLE001 - only a hint is lost where a plugin's type has no schema
        return {}

"""Checks as options of other checks, in the schema: where one stands, editors offer every type with its options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heartbeat.config.schema.parts import Schema, mapping, ref
from heartbeat.steps import INLINE, MARK

ANY = "any_check"


def with_checks(found: Mapping[str, Schema], kinds: Mapping[str, str]) -> dict[str, Schema]:
    """Return definitions in which the options of every type stand where a check of any type does.

    Args:
        found: the definitions.
        kinds: a line of description of each type.
    """
    types = {kind: ref(f"type.{kind}", said) for kind, said in kinds.items()}
    done = {name: _filled(one, types) for name, one in found.items()}
    if not any(_refers(one) for one in done.values()):
        return done
    return {**done, ANY: mapping("A check of any type", types, minProperties=1, maxProperties=1)}


def _refers(schema: Any) -> bool:
    """Say whether a schema refers to the one of any check."""
    below = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    return schema == f"#/$defs/{ANY}" or any(map(_refers, below))


def _filled(schema: Any, types: Mapping[str, Schema]) -> Any:
    if isinstance(schema, list):
        return [_filled(one, types) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get(MARK) is True:
        return ref(ANY, schema.get("description", "A check: its type, with its options"))
    properties = schema.get("properties", {})
    inline = [key for key, one in properties.items() if isinstance(one, dict) and one.get(INLINE) is True]
    if inline:
        return _filled(_with_types_beside(schema, inline[0], types), types)
    return {key: _filled(one, types) for key, one in schema.items()}


def _with_types_beside(schema: Schema, inline: str, types: Mapping[str, Schema]) -> Schema:
    """Return a schema in which the key of one type stands in the place of a key; of none, where that is not needed."""
    one = [{"required": [kind]} for kind in types]
    needed = schema.get("required", ())
    return {
        **schema,
        "properties": {**{key: one for key, one in schema["properties"].items() if key != inline}, **types},
        "required": [key for key in needed if key != inline],
        "oneOf": one if inline in needed else [*one, {"not": {"anyOf": one}}],
    }

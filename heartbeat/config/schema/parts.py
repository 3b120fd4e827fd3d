"""The parts of a JSON Schema, in the words of the configuration: durations, names, choices, mappings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heartbeat.config.reading import NAME
from heartbeat.core.units import DURATION_PATTERN

Schema = dict[str, Any]

RATIO_PATTERN = r"^[0-9]+(\.[0-9]+)? ?%?$"
NAME_PATTERN = f"^{NAME.pattern}$"


def ref(name: str, description: str = "", **more: Any) -> Schema:
    """Refer to a definition; what is said beside it is for people alone."""
    return {"$ref": f"#/$defs/{name}", **_said(description), **more}


def _said(description: str) -> Schema:
    return {"description": description} if description else {}


def text(description: str, **more: Any) -> Schema:
    """Text on one line."""
    return {"type": "string", "description": description, **more}


def duration(description: str, default: str = "", *, never: bool = False) -> Schema:
    """A duration with its unit; ``never``, or nothing, where that makes sense."""
    one: Schema = {"type": "string", "pattern": DURATION_PATTERN, "examples": ["300ms", "30s", "5m", "4h", "7d"]}
    usual = {"default": default} if default else {}
    if never:
        return {"anyOf": [one, {"enum": ["never", None]}], "description": description, **usual}
    return {**one, **_said(description), **usual}


def whole(description: str, minimum: int, maximum: int, **more: Any) -> Schema:
    """A whole number within bounds."""
    return {"type": "integer", "minimum": minimum, "maximum": maximum, "description": description, **more}


def share(description: str, **more: Any) -> Schema:
    """A ratio, ``99.5%`` or ``0.995``."""
    ratios: list[Schema] = [
        {"type": "string", "pattern": RATIO_PATTERN},
        {"type": "number", "minimum": 0, "maximum": 1},
    ]
    return {"anyOf": ratios, "description": description, **more}


def choice(description: str, *words: str, **more: Any) -> Schema:
    """One word out of a list."""
    return {"enum": list(words), "description": description, **more}


def items(description: str, item: Schema, **more: Any) -> Schema:
    """A list."""
    return {"type": "array", "items": item, **_said(description), **more}


def mapping(description: str, properties: Mapping[str, Schema], **more: Any) -> Schema:
    """A mapping of known keys."""
    return {
        "type": "object",
        **_said(description),
        "properties": dict(properties),
        "additionalProperties": False,
        **more,
    }


def named(description: str, value: Schema, pattern: str = NAME_PATTERN, **more: Any) -> Schema:
    """A mapping whose keys are names."""
    return {
        "type": "object",
        **_said(description),
        "propertyNames": {"pattern": pattern},
        "additionalProperties": value,
        **more,
    }


VARIABLE = ref("reference")
REFERENCE: Schema = {
    "type": "string",
    "pattern": r"\$\{",
    "description": (
        "${NAME} and ${NAME:-default} are environment variables, ${secret:NAME} one that is never shown (or the file "
        "named by NAME_FILE, or /run/secrets/NAME), ${file:PATH} a secret in a file, ${matrix.NAME} a value of the "
        "check's matrix, ${target.NAME} one of the targets; while a check runs, ${accounts.NAME.FIELD} is a value of a "
        "test account, ${run.id} and ${run.tag} are names of the run, ${steps.NAME.VALUE} what a step took"
    ),
}
_PLAIN = frozenset({"type", "description", "default", "examples", "title", "$comment"})
_SCALARS = frozenset({"string", "number", "integer", "boolean", "null"})
_NOTES = ("title", "description", "default", "examples", "$comment")
_MANY = ("properties", "patternProperties", "$defs")
_ONE = ("additionalProperties", "items")
_ALTERNATIVES = ("anyOf", "oneOf")


def admit_references(schema: Schema) -> Schema:
    """Let ``${...}`` stand for every scalar that is more than any text."""
    done = _below(schema)
    if any(map(_is_picky, done.get("anyOf", ()))):
        is_open = any(map(_takes_any_text, done["anyOf"]))
        return done if is_open else {**done, "anyOf": [*done["anyOf"], VARIABLE]}
    if not _is_picky(done):
        return done
    notes = {key: value for key, value in done.items() if key in _NOTES}
    rule = {key: value for key, value in done.items() if key not in notes}
    return {**notes, "anyOf": [rule, VARIABLE]}


def _below(schema: Schema) -> Schema:
    """Return a schema in which all that is inside was done."""
    done = dict(schema)
    for key in _MANY:
        if key in done:
            done[key] = {name: admit_references(one) for name, one in done[key].items()}
    for key in _ONE:
        if isinstance(done.get(key), dict):
            done[key] = admit_references(done[key])
    for key in _ALTERNATIVES:
        if key in done:
            done[key] = [_below(one) for one in done[key]]
    return done


def _is_picky(schema: Schema) -> bool:
    """Say whether this is a scalar that not any text can stand for."""
    if "enum" in schema or "const" in schema:
        return True
    kinds = schema.get("type")
    kinds = {kinds} if isinstance(kinds, str) else set(kinds or ())
    if not kinds or not kinds <= _SCALARS or kinds == {"null"}:
        return False
    return "string" not in kinds or bool(schema.keys() - _PLAIN)


def _takes_any_text(schema: Schema) -> bool:
    kinds = schema.get("type", ())
    return "string" in ([kinds] if isinstance(kinds, str) else kinds) and not schema.keys() - _PLAIN

"""The schemas of check types and channels, made from their models, with the words of their documentation."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from textwrap import dedent
from typing import Any, get_args

from pydantic import BaseModel

from heartbeat.config.schema.parts import Schema
from heartbeat.core.units import DURATION_PATTERN, format_duration

_NOISE = ("title", "writeOnly")


def schema_of(model: type[BaseModel], name: str) -> dict[str, Schema]:
    """Return the definitions that a model needs; its own has this name, and the others names below it."""
    try:
        whole = model.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
    except Exception:  # noqa: BLE001 - a plugin's type may have no schema; its other checks have one all the same
        return {name: {"type": "object", "description": f"{inspect.cleandoc(model.__doc__ or name)}"}}
    inner = whole.pop("$defs", {})
    found = {name: whole, **{f"{name}.{key}": one for key, one in inner.items()}}
    describe(whole, documentation_of(model))
    for part in models_of(model)[1:]:
        if part.__name__ in inner:
            describe(inner[part.__name__], documentation_of(part))
    return {key: _tidy(one) for key, one in found.items()}


def summary(model: type[BaseModel]) -> str:
    """Return the first line of a model's documentation."""
    return inspect.cleandoc(model.__doc__ or "(no documentation)").partition("\n")[0]


def describe(schema: Schema, said: dict[str, str]) -> None:
    """Add what is said of options to those that have no description of their own."""
    for key, one in schema.get("properties", {}).items():
        if key in said:
            one.setdefault("description", said[key])


def _tidy(schema: Any) -> Any:
    """Leave out what only repeats the key, and write defaults as people do."""
    if isinstance(schema, list):
        return [_tidy(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    done: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs", "patternProperties"):
            done[key] = {name: _tidy(one) for name, one in value.items()}
        elif key == "description":
            done[key] = value.replace("``", "`")
        elif not (key in _NOISE or (key == "format" and value == "password") or (key == "default" and value is None)):
            done[key] = value if key in ("default", "examples", "enum", "const") else _tidy(value)
    if done.get("pattern") == DURATION_PATTERN and isinstance(done.get("default"), (int, float)):
        done["default"] = format_duration(done["default"])
    return done


def documentation_of(model: type[BaseModel]) -> dict[str, str]:
    """Return what is said of each option, by the name that it has in a configuration."""
    strings: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if issubclass(one, BaseModel) and one is not BaseModel:
            strings |= _strings_of(one)
    found = {}
    for name, field in model.model_fields.items():
        if said := field.description or strings.get(name):
            found[field.alias or name] = " ".join(said.split())
    return found


@cache
def _strings_of(model: type) -> dict[str, str]:
    """Return the strings below the fields of a class, as they stand in its source."""
    try:
        (body,) = ast.parse(dedent(inspect.getsource(model))).body
    except (OSError, TypeError, SyntaxError, ValueError):  # made at run time
        return {}
    return dict(_pairs(body.body)) if isinstance(body, ast.ClassDef) else {}


def _pairs(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, after in pairwise(body):
        is_field = isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if is_field and is_text and isinstance(after.value.value, str):  # type: ignore[attr-defined]  # checked above
            yield field.target.id, inspect.cleandoc(after.value.value)  # type: ignore[attr-defined]  # checked above


def models_of(model: type[BaseModel]) -> list[type[BaseModel]]:
    """Return a model and all models that its options are made of, each once."""
    found = [model]
    for one in found:  # grows as it goes
        inside = [inner for field in one.model_fields.values() for inner in _models_in(field.annotation)]
        found += [inner for inner in dict.fromkeys(inside) if inner not in found]
    return found


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for one in get_args(annotation) for model in _models_in(one)]

"""Options of check types and channels in the words of someone who writes YAML."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import cleandoc
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, SecretStr, WithJsonSchema
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from heartbeat.config.schema.models import documentation_of
from heartbeat.core.units import DURATION_PATTERN, format_duration
from heartbeat.steps import INLINE, Part

REQUIRED = "(required)"
INLINE_SAID = "any check type, such as http, with its options"


class Option(NamedTuple):
    """One option; all in words."""

    name: str
    type: str
    default: str
    description: str

    def as_data(self) -> Mapping[str, Any]:
        """Return it for a program."""
        return {**self._asdict(), "required": self.default == REQUIRED}


def documentation(model: type[BaseModel]) -> str:
    """Return what a model says of itself."""
    return cleandoc(model.__doc__ or "(no documentation)").replace("``", "`")


def options_of(model: type[BaseModel]) -> Iterator[Option]:
    """Yield every option of a model."""
    said = documentation_of(model)
    for name, field in model.model_fields.items():
        written = field.alias or name
        description = said.get(written, "").replace("``", "`")
        if _is_type(field):
            yield Option("TYPE", "options of the type", _default(field), description or INLINE_SAID)
        else:
            yield Option(written, _kind(field), _default(field), description)


def _is_type(field: FieldInfo) -> bool:
    """Say whether a check stands here by the key of its type, beside the other options."""
    schemas = [one.json_schema for one in field.metadata if isinstance(one, WithJsonSchema)]
    return any(isinstance(one, Mapping) and one.get(INLINE) is True for one in (*schemas, field.json_schema_extra))


def _kind(field: FieldInfo) -> str:
    if _is_duration(field):
        return f"duration{_range(field, format_duration)}"
    schemas = [one.json_schema for one in field.metadata if isinstance(one, WithJsonSchema) and one.json_schema]
    name = _name_of_schema(schemas[0]) if schemas else type_name(_as_written(field))
    return name + _range(field, lambda number: f"{number:,.12g}")


def _name_of_schema(schema: Mapping[str, Any]) -> str:
    """Return the type that a JSON Schema says, in the same words."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(_name_of_schema, schema["anyOf"])))
    kinds = schema.get("type", "any")
    if kinds == "array":
        return f"list of {_name_of_schema(schema.get('items', {}))}"
    return " or ".join(_JSON_WORDS.get(kind, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds))


_JSON_WORDS = {"string": "text", "integer": "whole number", "boolean": "true or false", "object": "mapping"}


def _is_duration(field: FieldInfo) -> bool:
    return any(map(_says_duration, field.metadata))


def _says_duration(metadata: Any) -> bool:
    return isinstance(metadata, WithJsonSchema) and (metadata.json_schema or {}).get("pattern") == DURATION_PATTERN


def _as_written(field: FieldInfo) -> Any:
    """Return the type that an option takes in a configuration, where that is not the one that it is kept as."""
    for one in field.metadata:
        if isinstance(one, BeforeValidator) and one.json_schema_input_type not in (PydanticUndefined, Any):
            return one.json_schema_input_type
    return field.annotation


def _range(field: FieldInfo, show: Callable[[Any], str]) -> str:
    """Return the bounds of a number in words, or nothing."""
    found = {word: show(bound) for word in ("ge", "le", "gt", "lt") for bound in _bounds(field, word)}
    least, most = found.get("ge"), found.get("le")
    both = (
        f"{least} to {most}" if least and most else f"at least {least}" if least else f"at most {most}" if most else ""
    )
    above = f"above {found['gt']}" if "gt" in found else ""
    below = f"below {found['lt']}" if "lt" in found else ""
    return "".join(f", {one}" for one in (both, above, below) if one)


def _bounds(field: FieldInfo, word: str) -> Iterator[Any]:
    """Yield a bound of that kind where there is one; zero as the lower end of what is above it goes without saying."""
    for one in field.metadata:
        bound = getattr(one, word, None)
        if bound is not None and not (word == "gt" and bound == 0):
            yield bound


_WORDS = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    SecretStr: "text",
    Any: "any",
    Part: "a check",
}


def type_name(annotation: Any) -> str:
    """Return an option's type in the words of someone who writes YAML."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return "duration" if any(map(_says_duration, inner[1:])) else type_name(inner[0])
    if origin is Literal:
        return ", ".join(str(one) or '""' for one in inner)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(type_name(one) for one in inner if one is not NoneType))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"mapping to {type_name(inner[1])}"
    if isinstance(origin, type) and issubclass(origin, Iterable):
        return f"list of {type_name(inner[0])}"
    return _WORDS.get(annotation) or str(getattr(annotation, "__name__", annotation))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return REQUIRED
    default = field.default
    if default is PydanticUndefined or isinstance(default, (BaseModel, NoneType)):
        return ""
    if isinstance(default, float) and _is_duration(field):
        return format_duration(default)
    if isinstance(default, (tuple, list, set, frozenset)):
        plain = all(isinstance(one, (str, int, float)) for one in default)
        return f"[{', '.join(map(str, default))}]" if plain else ""
    if isinstance(default, bool):
        return str(default).lower()
    text = default.get_secret_value() if isinstance(default, SecretStr) else str(default)
    return text or '""'

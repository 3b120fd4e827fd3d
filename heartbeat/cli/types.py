"""The command about check types: ``types``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from inspect import cleandoc
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from heartbeat.check import Check
from heartbeat.cli.common import OptionalConfig, load_or_complain
from heartbeat.cli.exits import EX_CONFIG, EX_USAGE
from heartbeat.config.problem import nearest
from heartbeat.plugins import PluginError, Source, discover, load_type


def types(
    name: Annotated[str, typer.Argument(help="A check type to describe; without it all are listed.")] = "",
    config: OptionalConfig = None,
) -> int:
    """List the check types, or describe one and its options."""
    loaded = load_or_complain(config) if config else None
    if config and loaded is None:
        return EX_CONFIG
    found = discover(loaded.plugins if loaded else ())
    for fault in found.faults:
        print(f"{fault.file or ''}: {fault.sentence}", file=sys.stderr)  # noqa: T201 - a command's output
    if not name:
        _list_types(found.sources)
        return 0
    if name not in found.sources:
        print(f'there is no check type "{name}"{nearest(name, found.sources)}', file=sys.stderr)  # noqa: T201 - a command's output
        return EX_USAGE
    return _describe(found.sources[name])


def _list_types(sources: dict[str, Source]) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, source in sorted(sources.items()):
        try:
            said = _summary(load_type(source))
        except PluginError as error:
            said = f"({error.sentence})"
        table.add_row(name, escape(said))
    _console().print(table, highlight=False)


def _describe(source: Source) -> int:
    try:
        kind = load_type(source)
    except PluginError as error:
        print(error.sentence, file=sys.stderr)  # noqa: T201 - a command's output
        return EX_CONFIG
    console = _console()
    console.print(f"{source.name} ({source.origin})\n\n{_documentation(kind)}", markup=False, highlight=False)
    for model in _models_of(kind):
        heading = "Options" if model is kind else model.__name__
        table = Table(heading, "type", "default", "description", box=None, padding=(0, 2, 0, 0))
        for row in options_of(model):
            table.add_row(*map(escape, row))
        console.print()
        console.print(table, highlight=False)
    return 0


def _console() -> Console:
    """Return a console that cuts nothing where its output is piped."""
    return Console(width=None if sys.stdout.isatty() else 200)


def _documentation(kind: type[Check]) -> str:
    return cleandoc(kind.__doc__ or "(no documentation)")


def _summary(kind: type[Check]) -> str:
    return _documentation(kind).partition("\n")[0]


def options_of(model: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, type, default and description of every option of a model."""
    for name, field in model.model_fields.items():
        described = " ".join((field.description or "").split())
        yield field.alias or name, type_name(field.annotation), _default(field), described


def _models_of(model: type[BaseModel]) -> list[type[BaseModel]]:
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


_WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", SecretStr: "text", Any: "any"}


def type_name(annotation: Any) -> str:
    """Return an option's type in the words of someone who writes YAML."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_name(inner[0])
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
        return "(required)"
    if field.default is PydanticUndefined:
        return ""
    default = field.default
    if isinstance(default, (BaseModel, NoneType)):
        return ""
    if isinstance(default, SecretStr):
        return '""'
    if isinstance(default, bool):
        return str(default).lower()
    return '""' if default == "" else str(default)

"""The command about check types and channels: ``types``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from heartbeat.channels.registry import KINDS, load_kind
from heartbeat.cli.common import OptionalConfig, load_or_complain
from heartbeat.cli.exits import EX_CONFIG, EX_USAGE
from heartbeat.cli.wording import Option, documentation, options_of
from heartbeat.config.problem import nearest
from heartbeat.config.schema.models import models_of, summary
from heartbeat.plugins import Found, PluginError, discover, load_type

HEADINGS = {"check": "Check types", "channel": "Channels"}

NameArgument = Annotated[
    str, typer.Argument(help="A check type or a kind of channel to describe; else all are listed.")
]
MarkdownOption = Annotated[bool, typer.Option("--markdown", help="As Markdown; without a name all of them in full.")]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON; without a name all of them in full.")]


class _Entry(NamedTuple):
    """A check type or a kind of channel; ``problem`` says why there is no model."""

    name: str
    what: str
    origin: str
    model: type[BaseModel] | None
    problem: str = ""


def types(
    name: NameArgument = "",
    config: OptionalConfig = None,
    *,
    markdown: MarkdownOption = False,
    as_json: JsonOption = False,
) -> int:
    """List the check types and the channels, or describe one and its options; with -c your own among them."""
    loaded = load_or_complain(config) if config else None
    if config and loaded is None:
        return EX_CONFIG
    found = discover(loaded.plugins if loaded else ())
    for fault in found.faults:
        print(f"{fault.file or ''}: {fault.sentence}", file=sys.stderr)  # noqa: T201 - a command's output
    if name and name not in found.sources and name not in KINDS:
        hint = nearest(name, [*found.sources, *KINDS])
        print(f'there is no check type and no channel "{name}"{hint}', file=sys.stderr)  # noqa: T201 - a command's output
        return EX_USAGE
    entries = list(_entries(found, name))
    if as_json:
        print(json.dumps([_data(entry) for entry in entries], indent=2, ensure_ascii=False))  # noqa: T201 - a command's output
    elif markdown:
        print("\n".join(_markdown(entries, alone=bool(name))))  # noqa: T201 - a command's output
    elif name:
        _describe(entries)
    else:
        _list(entries)
    return EX_CONFIG if name and any(entry.problem for entry in entries) else 0


def _entries(found: Found, name: str) -> Iterator[_Entry]:
    """Yield what goes by a name, or all."""
    for one, source in sorted(found.sources.items()):
        if name in ("", one):
            try:
                yield _Entry(one, "check", source.origin, load_type(source))
            except PluginError as error:
                yield _Entry(one, "check", source.origin, None, error.sentence)
    for kind in KINDS:
        if name in ("", kind):
            yield _Entry(kind, "channel", f"the channel {kind}", load_kind(kind))


def _list(entries: list[_Entry]) -> None:
    console = _console()
    width = max(len(entry.name) for entry in entries)
    for what, heading in HEADINGS.items():
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
        table.add_column(min_width=width, no_wrap=True)
        table.add_column()
        for entry in entries:
            if entry.what == what:
                said = summary(entry.model) if entry.model else f"({entry.problem})"
                table.add_row(entry.name, escape(said.replace("``", "`")))
        console.print(heading, highlight=False)
        console.print(table, highlight=False)


def _describe(entries: list[_Entry]) -> None:
    console = _console()
    for entry in entries:
        if entry.model is None:
            print(entry.problem, file=sys.stderr)  # noqa: T201 - a command's output
            continue
        said = documentation(entry.model)
        console.print(f"{entry.name} ({entry.origin})\n\n{said}", markup=False, highlight=False)
        for heading, options in _tables(entry.model):
            table = Table(heading, "type", "default", "description", box=None, padding=(0, 2, 0, 0))
            for option in options:
                table.add_row(*map(escape, option))
            console.print()
            console.print(table, highlight=False)


def _tables(model: type[BaseModel]) -> Iterator[tuple[str, list[Option]]]:
    """Yield a heading and the options of a model, and of all that its options are made of."""
    for one in models_of(model):
        if options := list(options_of(one)):
            yield "Options" if one is model else one.__name__, options


def _console() -> Console:
    """Return a console that cuts nothing where its output is piped."""
    return Console(width=None if sys.stdout.isatty() else 200)


def _markdown(entries: list[_Entry], *, alone: bool) -> Iterator[str]:
    before = ""
    for entry in entries:
        if not alone and entry.what != before:
            yield f"# {HEADINGS[entry.what]}\n"
            before = entry.what
        yield f"## `{entry.name}`\n"
        if entry.model is None:
            yield f"{entry.problem}\n"
            continue
        yield f"{documentation(entry.model)}\n"
        for heading, options in _tables(entry.model):
            first = "option" if heading == "Options" else f"of `{heading}`"
            yield f"| {first} | type | default | description |\n| --- | --- | --- | --- |"
            yield from map(_row, options)
            yield ""


def _row(option: Option) -> str:
    name, kind, default, said = (_cell(one) for one in option)
    shown = f"`{default}`" if default and default != "(required)" else default
    return f"| `{name}` | {kind} | {shown} | {said} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _data(entry: _Entry) -> Mapping[str, Any]:
    told = {"name": entry.name, "what": entry.what, "origin": entry.origin}
    if entry.model is None:
        return {**told, "problem": entry.problem}
    tables = {
        heading if heading != "Options" else "options": [option.as_data() for option in options]
        for heading, options in _tables(entry.model)
    }
    parts = {name: rows for name, rows in tables.items() if name != "options"}
    return {**told, "description": documentation(entry.model), "options": tables.get("options", []), "parts": parts}

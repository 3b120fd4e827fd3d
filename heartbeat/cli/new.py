"""``heartbeat new check``: a plugin that works, and a test beside it that passes."""

from __future__ import annotations

import os
import sys
from keyword import iskeyword
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from heartbeat.cli.exits import EX_DATAERR, EX_USAGE
from heartbeat.cli.new_check import PLUGIN, TEST
from heartbeat.plugins import PluginError, discover
from heartbeat.plugins.source import refuse_name

new = typer.Typer(
    help="Write what you then make your own.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)

TAKEN = frozenset({"Check", "CheckBroken", "CheckFailed", "Field", "Probe"})
"""Names that the plugin imports."""

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The check type: lower-case letters, digits and _.")]
InOption = Annotated[Path, typer.Option("--in", metavar="DIR", help="The folder of your check types.")]


@new.callback()
def choose() -> None:
    """Write what you then make your own."""


@new.command("check")
def new_check(name: NameArgument, folder: InOption = Path("checks.d")) -> int:
    """Write a check type and a test of it, which passes as it stands. Nothing is overwritten."""
    plugin, test = folder / f"{name}.py", folder / f"test_{name}.py"
    if problem := _objection(name, folder):
        print(problem, file=sys.stderr)  # noqa: T201 - a command's output
        return EX_USAGE
    there = [path for path in (plugin, test) if path.exists() or path.is_symlink()]
    if there:
        print(f"{there[0]} is already there; nothing was written", file=sys.stderr)  # noqa: T201 - a command's output
        return EX_DATAERR
    words = {"name": name, "title": class_name(name)}
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        for path, text in ((plugin, PLUGIN), (test, TEST)):
            _write(path, Template(text).substitute(words))
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)  # noqa: T201 - a command's output
        return EX_DATAERR
    print(_next_steps(name, folder, plugin, test))  # noqa: T201 - a command's output
    return 0


def _objection(name: str, folder: Path) -> str:
    """Say why there cannot be a check type of this name, or nothing."""
    try:
        refuse_name(name)
    except PluginError as error:
        return error.sentence
    if name == "conftest" or name.startswith("test_"):
        return f'a check type cannot be called "{name}": files of that name are tests'
    found = discover([folder] if folder.is_dir() else []).sources
    if name in found and found[name].path != folder.resolve() / f"{name}.py":
        return f'there is already a check type "{name}": {found[name].origin}'
    return ""


def class_name(name: str) -> str:
    """Return the name of the class for a type: ``mail_queue`` becomes ``MailQueue``."""
    words = "".join(word.capitalize() for word in name.split("_"))
    return f"{words}Check" if words in TAKEN or iskeyword(words) else words


def _write(path: Path, text: str) -> None:
    """Write a new file that only its owner may change: the daemon loads no others."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _next_steps(name: str, folder: Path, plugin: Path, test: Path) -> str:
    shown = folder if folder.is_absolute() else f"./{folder}"
    return (
        f"Wrote {plugin} and {test}. Next:\n\n"
        f"1. Run the test, and make the plugin your own:\n\n"
        f"       pytest {test}\n\n"
        f"2. Put it into config.yaml:\n\n"
        f"       plugins: [{shown}]\n"
        f"       checks:\n"
        f"         my-{name.replace('_', '-')}:\n"
        f"           {name}: {{host: example.com, port: 7}}\n\n"
        f"3. Run it once against the real target, which tells nobody, and then let the daemon know:\n\n"
        f"       heartbeat once my-{name.replace('_', '-')} -c config.yaml\n"
        f"       heartbeat reload -c config.yaml"
    )

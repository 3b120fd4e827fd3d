"""What several commands need: options, and a configuration or complaints about it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from heartbeat.config import Config, ConfigError, load

_CONFIG = typer.Option("--config", "-c", help="A file, or a folder of *.yaml files; may be given several times.")
ConfigOption = Annotated[list[Path], _CONFIG]
OptionalConfig = Annotated[list[Path] | None, _CONFIG]
SocketOption = Annotated[
    Path | None, typer.Option("--socket", help="The daemon's control socket; by default from the configuration.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]
NoColorOption = Annotated[bool, typer.Option("--no-color", help="Without colours; so is NO_COLOR in the environment.")]


def load_or_complain(paths: list[Path]) -> Config | None:
    """Load a configuration; where it is wrong, print every mistake on its line."""
    try:
        return load(paths, os.environ)
    except ConfigError as error:
        complain(error)
        return None


def complain(error: ConfigError) -> None:
    """Print all that is wrong with a configuration, each mistake on its line."""
    for problem in error.problems:
        print(problem, file=sys.stderr)  # noqa: T201 - a command's output

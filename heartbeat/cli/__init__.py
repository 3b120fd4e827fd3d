"""The command line: one file per group of commands."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from heartbeat import __version__
from heartbeat.cli.config import EX_USAGE, types, validate
from heartbeat.cli.daemon import reload, run, run_now, status
from heartbeat.cli.deliveries import deliveries
from heartbeat.cli.demo import demo
from heartbeat.cli.once import once

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""What a wrong command line raises; typer carries click inside and exports only this leaf of the tree."""

app = typer.Typer(
    help="Keeps performing real round trips next to production, and tells people when one breaks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (run, validate, once, demo, types, status, deliveries, reload):
    app.command()(command)
app.command("run-now")(run_now)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"heartbeat {__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Keeps performing real round trips next to production, and tells people when one breaks."""


def main() -> int:
    """Run the command that the arguments name, and return its exit status (64 for a wrong command line)."""
    try:
        return app(standalone_mode=False) or 0
    except UsageError as error:
        error.show()  # type: ignore[attr-defined]  # the class is click's, found through typer
        return EX_USAGE
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("interrupted", err=True)
        return 130


if __name__ == "__main__":
    sys.exit(main())

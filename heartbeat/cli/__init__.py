"""The command line: one file per group of commands, imported when one of them is asked for."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from heartbeat import __version__
from heartbeat.cli.exits import EX_USAGE
from heartbeat.lean import hidden

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""What a wrong command line raises; typer carries click inside and exports only this leaf of the tree."""

COMMANDS = {
    "run": "heartbeat.cli.run:run",
    "validate": "heartbeat.cli.config:validate",
    "once": "heartbeat.cli.once:once",
    "verify": "heartbeat.cli.verify:verify",
    "dry-run": "heartbeat.cli.dry_run:rehearse",
    "test-alert": "heartbeat.cli.test_alert:send_test",
    "simulate": "heartbeat.cli.simulate:simulate",
    "demo": "heartbeat.cli.demo:demo",
    "types": "heartbeat.cli.types:types",
    "schema": "heartbeat.cli.config:schema",
    "new": "heartbeat.cli.new:new",
    "status": "heartbeat.cli.daemon:status",
    "deliveries": "heartbeat.cli.deliveries:deliveries",
    "reload": "heartbeat.cli.daemon:reload",
    "run-now": "heartbeat.cli.daemon:run_now",
    "ping": "heartbeat.cli.ping:ping",
    "silence": "heartbeat.cli.quiet:silence",
    "maintenance": "heartbeat.cli.quiet:maintenance",
    "ack": "heartbeat.cli.quiet:ack",
    "disable": "heartbeat.cli.quiet:disable",
    "enable": "heartbeat.cli.quiet:enable",
    "deployment": "heartbeat.cli.deployment:deployment",
    "explain": "heartbeat.cli.explain:explain",
    "replay": "heartbeat.cli.replay:replay",
}
"""Where each command is, in the order of the help."""
COLOURFUL = frozenset({"demo", "types", "verify"})
"""Those that print with rich."""


class Commands(TyperGroup):
    """Imports a command when it is named: most of them need little of what the daemon needs."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's contract
        """Return the names."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - click's contract
        """Return the command of a name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module, _, function = COMMANDS[cmd_name].partition(":")
        with nullcontext() if cmd_name in COLOURFUL else hidden("rich"):  # which structlog would take for tracebacks
            found = getattr(import_module(module), function)
        if isinstance(found, typer.Typer):
            group = typer.main.get_command(found)
            group.name = cmd_name
            return group
        one = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        one.command(cmd_name)(found)
        return typer.main.get_command(one)


app = typer.Typer(
    cls=Commands,
    help="Keeps performing real round trips next to production, and tells people when one breaks.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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

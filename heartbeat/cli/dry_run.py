"""``heartbeat dry-run``: the checks run once on the daemon's own path, and what would be sent is shown instead."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, TextIO

import typer

from heartbeat.cli.common import ConfigOption, JsonOption, NoColorOption, load_or_complain
from heartbeat.cli.exits import EX_CONFIG, EX_USAGE
from heartbeat.cli.once import EXIT_ERROR
from heartbeat.cli.performing import paint_for, perform
from heartbeat.cli.rehearsed import data_of, exit_of, lines_of
from heartbeat.cli.switched import ask, say_all
from heartbeat.rehearsal import Assumption, dry_run
from heartbeat.rehearsal.play import find_unwarnable
from heartbeat.rehearsal.reach import receivers_of
from heartbeat.verification.terms import choose

NamesArgument = Annotated[
    list[str] | None, typer.Argument(help="The checks to run; without names and tags all.", metavar="NAME...")
]
TagOption = Annotated[
    list[str] | None,
    typer.Option("--tag", help="Only checks with this tag; may be given several times."),
]
AssumeOption = Annotated[
    Assumption | None,
    typer.Option("--assume", help="Put this in the place of what is found, as often as the policy needs to tell it."),
]
ReceiversOption = Annotated[bool, typer.Option("--receivers", help="Try to reach all receivers, not only those used.")]


def rehearse(  # noqa: PLR0913 - each is an option of the command
    config: ConfigOption,
    names: NamesArgument = None,
    *,
    tag: TagOption = None,
    assume: AssumeOption = None,
    receivers: ReceiversOption = False,
    as_json: JsonOption = False,
    no_color: NoColorOption = False,
) -> int:
    """Run checks once, and show who would get which message and why; nothing is kept and nobody is told.

    A check that is switched off does not run, and is named. Exit codes: 0 ok, 1 warn, 2 fail, 3 error (the check is
    bad, or all are switched off), the worst of all; and at least 2 where a receiver cannot be reached, or a message
    cannot be made. With --assume what the checks find does not count.
    """
    loaded = load_or_complain(config)
    if loaded is None:
        return EX_CONFIG
    try:
        chosen = [check.name for check in choose(loaded, names or (), tag or ())]
    except ValueError as error:
        typer.echo(str(error), err=True)
        return EX_USAGE
    if assume is Assumption.WARN and (problem := find_unwarnable(loaded, chosen)):
        typer.echo(problem, err=True)
        return EX_USAGE
    reached = tuple(loaded.receivers) if receivers else receivers_of(loaded, chosen)

    async def work(shown: TextIO) -> tuple[int, bool]:
        if shown.isatty():
            typer.echo(f"checks to run: {len(chosen)}; receivers to reach for: {len(reached)} ...", err=True)
        off = await ask(loaded, loaded.checks.values())
        told = {name: why for name, why in say_all(loaded, off).items() if name in chosen}
        running = [name for name in chosen if name not in told]
        rehearsed = await dry_run(loaded, running, reached, assume, off)
        code = exit_of(rehearsed) if running else max(exit_of(rehearsed), EXIT_ERROR)
        data = {**data_of(rehearsed), "exit": code, "switched_off": told} if as_json else None
        lines = (*lines_off(told, len(running)), *lines_of(rehearsed, paint_for(shown, no_color=no_color)))
        for line in lines if data is None else (json.dumps(data, indent=2, ensure_ascii=False),):
            typer.echo(line, file=shown)
        return code, rehearsed.stuck

    return perform(loaded, work, level="error")


def lines_off(off: Mapping[str, str], running: int) -> Iterator[str]:
    """Yield what is said of the checks that did not run."""
    for name, why in off.items():
        yield f"{name}: it did not run: {why}"
    if off:
        yield "" if running else "Nothing ran: all checks that were chosen are switched off."

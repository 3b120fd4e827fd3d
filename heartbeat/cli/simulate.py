"""``heartbeat simulate``: what would be told to whom, when and why, if the runs of a check went like this."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

import typer

from heartbeat.cli.common import OptionalConfig, complain
from heartbeat.cli.exits import EX_CONFIG, EX_USAGE
from heartbeat.config import Config, ConfigError, load
from heartbeat.config.fragment import complete
from heartbeat.config.problem import nearest
from heartbeat.core.script import parse_script
from heartbeat.core.switches import find_off
from heartbeat.core.transcript import data_of, text_of
from heartbeat.core.units import parse_duration
from heartbeat.simulation import START, Simulation

ScriptArgument = Annotated[str, typer.Argument(help='What happens, such as "ok fail*3 wait 2h ok".', metavar="SCRIPT")]
CheckArgument = Annotated[str, typer.Argument(help="The check that it happens to.", metavar="CHECK")]
EveryOption = Annotated[str, typer.Option(help="How often the checks run, instead of as configured.", metavar="TIME")]
AtOption = Annotated[str, typer.Option(help="When the first run is, in UTC: 2026-01-05T12:00.", metavar="TIME")]
PolicyOption = Annotated[str, typer.Option(help='A policy without a file, such as "raise: 2 of 3, clear: 2".')]
LimitsOption = Annotated[str, typer.Option(help='Limits without a file, such as "duration: {warn: 800ms}".')]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON, a list of what happened.")]


def simulate(  # noqa: PLR0913 - each is an option of the command
    check: CheckArgument,
    script: ScriptArgument,
    config: OptionalConfig = None,
    *,
    every: EveryOption = "",
    at: AtOption = "",
    policy: PolicyOption = "",
    limits: LimitsOption = "",
    as_json: JsonOption = False,
) -> int:
    """Show which message would go to whom, when and why, if a check went like this. Nothing runs, nobody is told."""
    if config and (policy or limits):
        typer.echo("--policy and --limits stand in for a file: leave out one or the other", err=True)
        return EX_USAGE
    try:
        made_up = f"checks: {{{json.dumps(check)}: {{policy: {{{policy}}}, limits: {{{limits}}}}}}}"
        loaded = load(config, os.environ) if config else complete(made_up, "--policy or --limits")
        if (one := loaded.checks.get(check)) and (off := find_off(one.enabled)):
            typer.echo(f"note: {check} is {off.say()}; this is what would happen if it ran", err=True)
        for line in show(loaded, check, script, every=every, at=at, as_json=as_json):
            typer.echo(line)
    except ConfigError as error:
        complain(error)
        return EX_CONFIG
    except ValueError as error:
        typer.echo(str(error), err=True)
        return EX_USAGE
    return 0


def show(  # noqa: PLR0913 - what the command was asked for
    config: Config, check: str, script: str, *, every: str = "", at: str = "", as_json: bool = False
) -> Iterator[str]:
    """Yield the lines of a story. Raises ``ValueError`` with a sentence for one that cannot be."""
    if check not in config.checks:
        raise ValueError(f'there is no check "{check}"{nearest(check, config.checks)}')
    pace, start = parse_duration(every) if every else None, _moment(at) if at else START
    if pace is not None and pace < 1:
        raise ValueError("--every must be at least 1s")
    simulation = Simulation(config, check, every=pace, start=start)
    notes = simulation.play(parse_script(script))
    if as_json:
        yield json.dumps([data_of(note) for note in notes], indent=2, ensure_ascii=False)
    else:
        yield from text_of(notes)


def _moment(text: str) -> float:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"--at {text}: must be a time such as 2026-01-05T12:00") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()

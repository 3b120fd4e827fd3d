"""``heartbeat once``: one real run of a check, on the daemon's own path, with all that it found."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from time import time
from typing import Annotated, TextIO

import typer

from heartbeat import http
from heartbeat.cli.alone import alone
from heartbeat.cli.common import ConfigOption, JsonOption, NoColorOption, load_or_complain
from heartbeat.cli.exits import EX_CONFIG, EX_USAGE
from heartbeat.cli.findings import data_of, describe
from heartbeat.cli.performing import paint_for, perform
from heartbeat.cli.switched import ask, say_all
from heartbeat.config import CheckConfig, Config
from heartbeat.config.problem import nearest
from heartbeat.core.judge import judge
from heartbeat.core.model import Outcome, Result, Run, Verdict
from heartbeat.lag import LagMeter
from heartbeat.runner import Workshop, new_run_id, run_check

EXIT_ERROR = 3


def once(
    names: Annotated[list[str], typer.Argument(help="The checks to run.", metavar="NAME...")],
    config: ConfigOption,
    *,
    as_json: JsonOption = False,
    no_color: NoColorOption = False,
) -> int:
    """Run checks once and show what they found, with their full log; nothing is stored and nobody is told.

    A check that is switched off runs all the same: it was asked for.

    Exit codes: 0 ok, 1 warn, 2 fail, 3 error (the check is bad); the worst of all.
    """
    loaded = load_or_complain(config)
    if loaded is None:
        return EX_CONFIG
    if not are_known(names, loaded):
        return EX_USAGE
    return perform(loaded, partial(_run_all, loaded, names, as_json, no_color), level="debug")


def are_known(names: Iterable[str], config: Config) -> bool:
    """Say whether there are checks of all these names, and of which there is none."""
    unknown = [name for name in names if name not in config.checks]
    for name in unknown:
        typer.echo(f'there is no check "{name}"{nearest(name, config.checks)}', err=True)
    return not unknown


def status_of(verdict: Verdict) -> int:
    """Return the exit status for a run: the larger, the worse."""
    return EXIT_ERROR if verdict.outcome is Outcome.ERROR else verdict.severity.value


async def _run_all(config: Config, names: list[str], as_json: bool, no_color: bool, shown: TextIO) -> tuple[int, bool]:
    lag = LagMeter()
    lag.start()
    workshop = alone(config, lag)
    worst, stuck, paint, found = 0, False, paint_for(shown, no_color=no_color), []
    off = say_all(config, await ask(config, (config.checks[name] for name in names)))
    for name in names:
        verdict, result, leftover = await _run_one(config.checks[name], workshop)
        stuck = stuck or leftover is not None
        worst = max(worst, status_of(verdict))
        limits = config.checks[name].limits
        found.append({**data_of(verdict, result, limits), "switched_off": off.get(name)})
        for line in () if as_json else describe(verdict, result, limits, paint):
            typer.echo(line, file=shown)
        if name in off and not as_json:
            typer.echo(f"  note      the daemon does not run it: {off[name]}", file=shown)
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False), file=shown)
    lag.stop()
    http.close()
    return worst, stuck


async def _run_one(check: CheckConfig, workshop: Workshop) -> tuple[Verdict, Result, object]:
    now = time()
    run = Run(new_run_id(), check.name, now, 0, now, check.timeout)
    finished = await run_check(check.check, run, workshop)
    return judge(run, finished.result, check.limits, time()), finished.result, finished.leftover

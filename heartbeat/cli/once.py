"""``heartbeat once``: one real run of a check, on the daemon's own path, with all that it found."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import replace
from os import urandom
from time import time
from typing import Annotated, TextIO

import typer
import uvloop

from heartbeat import http
from heartbeat.cli.common import ConfigOption, load_or_complain
from heartbeat.cli.exits import EX_CONFIG, EX_USAGE
from heartbeat.config import CheckConfig, Config
from heartbeat.config.problem import nearest
from heartbeat.core.limits import judge, show
from heartbeat.core.model import Outcome, Result, Run, Verdict
from heartbeat.lag import LagMeter
from heartbeat.log import PrintCapture, catch_strays, configure
from heartbeat.pool import Pool
from heartbeat.runner import Workshop, run_check
from heartbeat.watchdog import really_exit

EXIT_ERROR = 3


def once(
    names: Annotated[list[str], typer.Argument(help="The checks to run.", metavar="NAME...")], config: ConfigOption
) -> int:
    """Run checks once and show what they found; nothing is stored and nobody is told.

    Exit codes: 0 ok, 1 warn, 2 fail, 3 error (the check is bad); the worst of all.
    """
    loaded = load_or_complain(config)
    if loaded is None:
        return EX_CONFIG
    unknown = [name for name in names if name not in loaded.checks]
    for name in unknown:
        typer.echo(f'there is no check "{name}"{nearest(name, loaded.checks)}', err=True)
    if unknown:
        return EX_USAGE
    configure(replace(loaded.log, level="debug"), loaded.redactor)
    catch_strays()
    shown, sys.stdout = sys.stdout, PrintCapture()  # what plugins print may be secret: it becomes lines of the log
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_run_all(loaded, names, shown))
    finally:
        sys.stdout = shown


async def _run_all(config: Config, names: list[str], shown: TextIO) -> int:
    lag = LagMeter()
    lag.start()
    workshop = Workshop(Pool(), lag, config.redactor)
    worst, stuck = 0, False
    for name in names:
        verdict, result, leftover = await _run_one(config.checks[name], workshop)
        stuck = stuck or leftover is not None
        worst = max(worst, EXIT_ERROR if verdict.outcome is Outcome.ERROR else verdict.severity.value)
        for line in describe(verdict, result):
            typer.echo(line, file=shown)
    lag.stop()
    http.close()
    if stuck:  # closing the loop would wait for plugins that do not end, for ever
        shown.flush()
        sys.stderr.flush()
        really_exit(worst)
    return worst


async def _run_one(check: CheckConfig, workshop: Workshop) -> tuple[Verdict, Result, object]:
    now = time()
    run = Run(f"run_{urandom(8).hex()}", check.name, now, 0, now, check.timeout)
    finished = await run_check(check.check, run, workshop)
    return judge(run, finished.result, check.limits, time()), finished.result, finished.leftover


def describe(verdict: Verdict, result: Result) -> Iterator[str]:
    """Yield lines that tell a run: the verdict first, then all that led to it."""
    word = "error" if verdict.outcome is Outcome.ERROR else verdict.severity.word
    yield f"{verdict.run.check}: {word} in {show(result.duration, 's')} {verdict.sentence}".rstrip()
    if verdict.reason:
        yield f"  reason    {verdict.reason}"
    if result.expected is not None:
        yield f"  expected  {result.expected}"
    if result.observed is not None:
        yield f"  observed  {result.observed}"
    for finding in verdict.findings:
        yield f"  limit     {finding.limit} is {finding.observed}, {finding.expected} ({finding.severity.word})"
    for name, seconds in result.phases.items():
        yield f"  phase     {name} {show(seconds, 's')}"
    for name, value in result.measurements.items():
        yield f"  measured  {name} {value:.12g}"
    for name, text in result.evidence.items():
        yield f"  evidence  {name}"
        yield from (f"    {line}" for line in text.splitlines())
    if verdict.distorted:
        yield f"  distorted by {show(result.lag, 's')} of our own lag"

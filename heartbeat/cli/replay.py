"""``heartbeat replay``: which messages other limits and policies would have sent, beside those that were sent."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from heartbeat.cli.common import ConfigOption, JsonOption, complain
from heartbeat.cli.deliveries import read
from heartbeat.cli.exits import EX_CONFIG, EX_DATAERR, EX_UNAVAILABLE, EX_USAGE
from heartbeat.cli.moment import read_past
from heartbeat.cli.quiet import ZoneOption
from heartbeat.config import Config, ConfigError, load
from heartbeat.config.problem import nearest
from heartbeat.core.comparison import Pair, Telling, data_of, lines_of, table_of
from heartbeat.core.times import readable
from heartbeat.simulation.replaying import Replayed, counts_of, select
from heartbeat.simulation.replaying import replay as replay_store
from heartbeat.store import StoreFailed

ChecksArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[CHECK]...", help="The checks, or patterns such as shop-*; else all.")
]
SinceOption = Annotated[str, typer.Option(help="From when on: 7d for so long ago, or a time such as 2026-12-05T15:00.")]
UntilOption = Annotated[str, typer.Option(help="Until when, as --since; by default now.")]
WithOption = Annotated[
    list[Path] | None,
    typer.Option("--with", help="A piece of configuration (checks:, defaults:) that is laid over the one in use."),
]
ChangesOption = Annotated[bool, typer.Option("--changes", help="Only the messages that differ.")]


def replay(  # noqa: PLR0913 - each is an option of the command
    config: ConfigOption,
    checks: ChecksArgument = None,
    *,
    since: SinceOption = "7d",
    until: UntilOption = "",
    over: WithOption = None,
    changes: ChangesOption = False,
    timezone: ZoneOption = "",
    as_json: JsonOption = False,
) -> int:
    """Judge what was recorded again, and show which messages would have been sent. Nothing runs, nobody is told."""
    now = time.time()
    begin, end = _time("--since", since, timezone, now), _time("--until", until, timezone, now) if until else now
    if begin >= end:
        raise typer.BadParameter("must be before --until", param_hint="--since")
    try:
        judged = load(config, os.environ, over=over or ())
        store = load(config, os.environ).store if over else judged.store
        names = select(judged, checks or ())
        found = _replay(store, judged, names, (begin, end, now))
    except ConfigError as error:
        complain(error)
        return EX_CONFIG
    except LookupError as error:
        typer.echo(f'there is no check "{error.args[0]}"{nearest(error.args[0], judged.checks)}', err=True)
        return EX_USAGE
    except StoreFailed as error:
        typer.echo(str(error), err=True)
        return EX_UNAVAILABLE
    if not found.runs:
        typer.echo(f"no runs are in the store from {readable(begin)} to {readable(end)}", err=True)
        return EX_DATAERR
    for line in show(found, judged, changes=changes, as_json=as_json):
        typer.echo(line)
    return 0


def _time(option: str, written: str, timezone: str, now: float) -> float:
    try:
        return read_past(written, timezone, datetime.fromtimestamp(now, UTC))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _replay(store: Path, config: Config, names: tuple[str, ...], times: tuple[float, float, float]) -> Replayed:
    if sys.stderr.isatty():
        typer.echo("judging what is recorded ...", err=True)
    return replay_store(partial(read, store), config, names, *times)


def show(found: Replayed, config: Config, *, changes: bool, as_json: bool) -> Iterator[str]:
    """Yield the lines that tell of a replay."""
    was, would = found.figures
    pairs = [pair for pair in found.pairs if not (changes and pair.was and pair.would)]
    if as_json:
        told = {"was": data_of(was), "would": data_of(would), "messages": [_pair(one, config) for one in pairs]}
        yield json.dumps({**_head(found), **told, "notes": list(found.notes)}, indent=2, ensure_ascii=False)
        return
    checks = "1 check" if len(found.checks) == 1 else f"{len(found.checks)} checks"
    yield f"{found.runs:,} runs of {checks}, {readable(found.since)} to {readable(found.until)}"
    yield ""
    rows = [("", "as it was", "as it would be"), *table_of(was, would)]
    width = max(len(row[0]) for row in rows)
    yield from (config.redactor(f"{row[0]:<{width}}  {row[1]:>12}  {row[2]:>14}") for row in rows)
    counts = counts_of(found.pairs)
    yield ""
    yield f"{counts['same']} messages as before (=), {counts['gone']} not sent any more (-), {counts['new']} new (+)"
    yield from (config.redactor(line) for line in lines_of(pairs))
    yield ""
    yield from (f"note: {note}" for note in found.notes)


def _head(found: Replayed) -> dict[str, Any]:
    return {"since": found.since, "until": found.until, "checks": list(found.checks), "runs": found.runs}


def _pair(pair: Pair, config: Config) -> dict[str, Any]:
    return {"was": _telling(pair.was, config), "would": _telling(pair.would, config)}


def _telling(one: Telling | None, config: Config) -> dict[str, Any] | None:
    if one is None:
        return None
    return {
        "at": one.at,
        "check": one.check,
        "kind": one.kind,
        "severity": one.severity.word,
        "since": one.since,
        "to": config.redactor(one.who),
        "sentence": config.redactor(one.sentence),
    }

"""``heartbeat explain``: why a check stands as it stands, and why each message was sent, or was not."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from heartbeat.cli.common import JsonOption, OptionalConfig, load_or_complain
from heartbeat.cli.deliveries import read
from heartbeat.cli.exits import EX_CONFIG, EX_UNAVAILABLE, EX_USAGE
from heartbeat.cli.moment import read_past
from heartbeat.cli.quiet import ZoneOption
from heartbeat.config.problem import nearest
from heartbeat.explaining import data_of, gather, text_of
from heartbeat.store import StoreFailed, history

CheckArgument = Annotated[str, typer.Argument(metavar="CHECK", help="The check.")]
AtOption = Annotated[str, typer.Option(help="How it was then: 03:10, 2026-12-05T03:10, or 20m for so long ago.")]
StoreOption = Annotated[Path | None, typer.Option(help="A store file, where there is no configuration to name it.")]


def explain(  # noqa: PLR0913 - each is an option of the command
    check: CheckArgument,
    config: OptionalConfig = None,
    *,
    store: StoreOption = None,
    at: AtOption = "",
    timezone: ZoneOption = "",
    as_json: JsonOption = False,
) -> int:
    """Say why a check stands as it does, and why each message was sent or not. Works without the daemon, too."""
    loaded = load_or_complain(config) if config else None
    if config and loaded is None:
        return EX_CONFIG
    path = store or (loaded.store if loaded else None)
    if path is None:
        typer.echo("name a configuration with -c, or a store with --store", err=True)
        return EX_USAGE
    try:
        now = time.time()
        when = read_past(at, timezone, datetime.fromtimestamp(now, UTC)) if at else now
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--at") from None
    try:
        found = read(path, partial(gather, check=check, at=when, config=loaded, is_past=bool(at)))
    except LookupError:
        known = {*read(path, history.names), *(loaded.checks if loaded else ())}
        typer.echo(f'nothing is known of a check "{check}"{nearest(check, sorted(known))}', err=True)
        return EX_USAGE
    except StoreFailed as error:
        typer.echo(str(error), err=True)
        return EX_UNAVAILABLE
    redact = loaded.redactor if loaded else str
    if as_json:
        typer.echo(json.dumps(data_of(found, redact), indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join(text_of(found, redact)))
    return 0

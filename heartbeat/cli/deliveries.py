"""``heartbeat deliveries``: who was told what, when, with what answer; and to send one of them again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import typer
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from heartbeat.cli.common import ConfigOption, JsonOption, SocketOption, load_or_complain
from heartbeat.cli.daemon import ask
from heartbeat.cli.exits import EX_CONFIG, EX_UNAVAILABLE, EX_USAGE
from heartbeat.config import Config
from heartbeat.core.model import Delivery, DeliveryState
from heartbeat.store import StoreFailed, ledger
from heartbeat.store.errors import explain
from heartbeat.store.files import connect_reader
from heartbeat.web.deliveries import LIMIT, describe

T = TypeVar("T")
MOST = 100_000

IncidentOption = Annotated[str, typer.Option(help="Only those of this incident: its id, or how that begins.")]
CheckOption = Annotated[str, typer.Option(help="Only those about this check.")]
DeadOption = Annotated[bool, typer.Option("--dead", help="Only those that were given up.")]
LimitOption = Annotated[int, typer.Option(min=1, max=MOST, help="How many at most, the latest.")]
ReplayOption = Annotated[str, typer.Option(metavar="ID", help="Let the running daemon send this delivery again.")]


def deliveries(  # noqa: PLR0913 - each is an option of the command
    config: ConfigOption,
    *,
    incident: IncidentOption = "",
    check: CheckOption = "",
    dead: DeadOption = False,
    limit: LimitOption = LIMIT,
    as_json: JsonOption = False,
    replay: ReplayOption = "",
    socket: SocketOption = None,
) -> int:
    """Show who was told what, when, with what answer; the oldest first. Works without the daemon, too."""
    if replay:
        if incident or check or dead or as_json:
            typer.echo("--replay stands alone: it names one delivery", err=True)
            return EX_USAGE
        return _replay(config, socket, replay)
    loaded = load_or_complain(config)
    if loaded is None:
        return EX_CONFIG
    state = DeliveryState.DEAD if dead else None
    query = partial(ledger.deliveries, incident=incident, check=check, state=state, limit=limit)
    try:
        found = read(loaded.store, query)
    except StoreFailed as error:
        typer.echo(str(error), err=True)
        return EX_UNAVAILABLE
    for line in show(loaded, found[::-1], as_json=as_json):
        typer.echo(line)
    return 0


def read(path: Path, query: Callable[[Connection], T]) -> T:
    """Ask the store, which a daemon may be using. Raises ``StoreFailed``."""
    if not path.exists():
        raise StoreFailed(f"There is no store {path}; has the daemon run with this configuration?")
    engine = connect_reader(path)
    try:
        with engine.connect() as connection:
            return query(connection)
    except SQLAlchemyError as error:
        raise StoreFailed(_explain(error, path)) from error
    finally:
        engine.dispose()


def _explain(error: SQLAlchemyError, path: Path) -> str:
    cause = getattr(error, "orig", None)
    if isinstance(cause, sqlite3.OperationalError) and str(cause).startswith("no such"):
        return f"The store {path} was written by another version of heartbeat ({cause}); start this version's daemon."
    return explain(error, path)


def show(config: Config, found: list[Delivery], *, as_json: bool) -> Iterator[str]:
    """Yield the lines that tell of deliveries."""
    described = [describe(one, config.redactor) for one in found]
    if as_json:
        yield json.dumps({"deliveries": described}, indent=2, ensure_ascii=False)
        return
    for one in described:
        yield from _lines(one)
    if not described:
        yield "no deliveries"


def _lines(one: dict[str, Any]) -> Iterator[str]:
    to = " ".join(filter(None, (one["channel"] or "nobody", one["recipient"])))
    tried = {0: "", 1: " by the first attempt"}.get(one["attempts"], f" after {one['attempts']} attempts")
    yield f"{_time(one['at'])}  {one['check']} {one['kind']}: {one['sentence']}".rstrip(": ")
    answer = f": {one['answer']}" if one["answer"] else ""
    when = f" at {_time(one['done_at'])}" if one["done_at"] else ""
    yield f"    {to}: {one['state']}{when}{tried}{answer}"
    if one["why"]:
        yield f"    because {one['why']}"
    if one["next_at"]:
        yield f"    next attempt {_time(one['next_at'])}"
    yield f"    delivery {one['id']}  incident {one['incident']}"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _replay(config: list[Path], socket: Path | None, identity: str) -> int:
    answer = ask(config, socket, "POST", f"/deliveries/{quote(identity, safe='')}/replay")
    if isinstance(answer, int):
        return answer
    typer.echo(answer["message"])
    return 0

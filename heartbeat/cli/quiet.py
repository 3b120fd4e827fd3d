"""The commands that make it quiet: ``silence``, ``maintenance``, ``ack``, ``disable``, ``enable``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from heartbeat.cli.common import ConfigOption, JsonOption, SocketOption
from heartbeat.cli.daemon import ask
from heartbeat.cli.moment import read_lasting, read_until
from heartbeat.core.times import readable

ChecksOption = Annotated[
    list[str] | None, typer.Option("--checks", "--check", help="A check, or a pattern such as shop-*; may be repeated.")
]
LabelOption = Annotated[list[str] | None, typer.Option("--label", help="A label, such as team=shop; may be repeated.")]
TypeOption = Annotated[
    list[str] | None, typer.Option("--type", help="A type of checks, such as http; may be repeated.")
]
ForOption = Annotated[str, typer.Option("--for", help="How long, such as 2h or 1h30m.")]
UntilOption = Annotated[str, typer.Option("--until", help="Until when: 15:00, 2026-12-05T15:00, or with an offset.")]
ZoneOption = Annotated[str, typer.Option("--timezone", help="On whose clocks --until is; by default this machine's.")]
RecoveredOption = Annotated[
    bool, typer.Option("--until-recovered", help="Until nothing of it is wrong any more; with --for at most so long.")
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; whoever is not told will want to know.")]
ByOption = Annotated[str, typer.Option("--by", help="Who you are; by default the user of this command line.")]
AllOption = Annotated[bool, typer.Option("--all", help="Also what has ended.")]
CheckArgument = Annotated[str, typer.Argument(metavar="CHECK", help="The check.")]

silence = typer.Typer(
    help="Keep messages back: checks go on, and what still fails at the end is told then.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
maintenance = typer.Typer(
    help="Begin and end a maintenance by hand, and see those that are configured.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@silence.command("add")
def add_silence(  # noqa: PLR0913 - each is an option of the command
    config: ConfigOption,
    *,
    checks: ChecksOption = None,
    label: LabelOption = None,
    kind: TypeOption = None,
    lasts: ForOption = "",
    until: UntilOption = "",
    timezone: ZoneOption = "",
    until_recovered: RecoveredOption = False,
    reason: ReasonOption = "",
    by: ByOption = "",
    as_json: JsonOption = False,
    socket: SocketOption = None,
) -> int:
    """Keep the messages about some checks back for a time."""
    body = cover(checks, label, kind) | _end(lasts, until, timezone) | _who(by, reason)
    body["until_recovered"] = until_recovered
    return _order(config, socket, "/silences", body, as_json=as_json)


@silence.command("end")
def end_silence(  # noqa: PLR0913 - each is an option of the command
    name: Annotated[str, typer.Argument(metavar="ID", help="The silence, or how its id begins.")],
    config: ConfigOption,
    *,
    reason: ReasonOption = "",
    by: ByOption = "",
    as_json: JsonOption = False,
    socket: SocketOption = None,
) -> int:
    """End a silence before its time; what still fails is told at once."""
    return _order(config, socket, f"/silences/{quoted(name)}/end", _who(by, reason), as_json=as_json)


@silence.command("list")
def list_silences(
    config: ConfigOption, *, every: AllOption = False, as_json: JsonOption = False, socket: SocketOption = None
) -> int:
    """Show what keeps messages back: silences, and the checks that are off or acknowledged."""
    return _list(config, socket, ("silences", "disabled", "acknowledgements"), every=every, as_json=as_json)


@maintenance.command("start")
def start_maintenance(  # noqa: PLR0913 - each is an option of the command
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.")],
    config: ConfigOption,
    *,
    checks: ChecksOption = None,
    label: LabelOption = None,
    kind: TypeOption = None,
    lasts: ForOption = "",
    until: UntilOption = "",
    timezone: ZoneOption = "",
    reason: ReasonOption = "",
    by: ByOption = "",
    as_json: JsonOption = False,
    socket: SocketOption = None,
) -> int:
    """Begin a maintenance now; it ends by itself."""
    body = cover(checks, label, kind) | _end(lasts, until, timezone) | _who(by, reason) | {"name": name}
    return _order(config, socket, "/maintenance", body, as_json=as_json)


@maintenance.command("end")
def end_maintenance(  # noqa: PLR0913 - each is an option of the command
    name: Annotated[str, typer.Argument(metavar="NAME", help="The maintenance.")],
    config: ConfigOption,
    *,
    reason: ReasonOption = "",
    by: ByOption = "",
    as_json: JsonOption = False,
    socket: SocketOption = None,
) -> int:
    """End a maintenance that was begun by hand; what still fails is told at once."""
    return _order(config, socket, f"/maintenance/{quoted(name)}/end", _who(by, reason), as_json=as_json)


@maintenance.command("list")
def list_maintenance(
    config: ConfigOption, *, every: AllOption = False, as_json: JsonOption = False, socket: SocketOption = None
) -> int:
    """Show the maintenance under way, and when each of the configured ones is next."""
    return _list(config, socket, ("maintenance",), every=every, as_json=as_json)


def ack(  # noqa: PLR0913 - each is an option of the command
    name: Annotated[str, typer.Argument(metavar="CHECK|INCIDENT", help="The check, or the id of an open incident.")],
    config: ConfigOption,
    *,
    reason: ReasonOption = "",
    by: ByOption = "",
    as_json: JsonOption = False,
    socket: SocketOption = None,
) -> int:
    """Say that you take care of what is open of a check: nobody is reminded, nor called in, until it ends."""
    return _order(config, socket, f"/acknowledgements/{quoted(name)}", _who(by, reason), as_json=as_json)


def disable(  # noqa: PLR0913 - each is an option of the command
    name: CheckArgument,
    config: ConfigOption,
    *,
    reason: ReasonOption = "",
    by: ByOption = "",
    as_json: JsonOption = False,
    socket: SocketOption = None,
) -> int:
    """Switch a check off, also over restarts: it does not run, and what is open of it is withdrawn."""
    return _order(config, socket, f"/checks/{quoted(name)}/disable", _who(by, reason), as_json=as_json)


def enable(  # noqa: PLR0913 - each is an option of the command
    name: CheckArgument,
    config: ConfigOption,
    *,
    reason: ReasonOption = "",
    by: ByOption = "",
    as_json: JsonOption = False,
    socket: SocketOption = None,
) -> int:
    """Switch a check on again, and run it at once."""
    return _order(config, socket, f"/checks/{quoted(name)}/enable", _who(by, reason), as_json=as_json)


def _order(config: list[Path], socket: Path | None, route: str, body: dict[str, Any], *, as_json: bool) -> int:
    answer = ask(config, socket, "POST", route, body)
    if isinstance(answer, int):
        return answer
    if answer["warning"]:
        typer.echo(answer["warning"], err=True)
    order = answer["order"]
    shown = f"{answer['message']}\n{order['id']}" if order["ended"] is None else answer["message"]
    typer.echo(json.dumps(answer, indent=2, ensure_ascii=False) if as_json else shown)
    return 0


def _list(config: list[Path], socket: Path | None, kinds: tuple[str, ...], *, every: bool, as_json: bool) -> int:
    answer = ask(config, socket, "GET", "/quiet?all=1" if every else "/quiet")
    if isinstance(answer, int):
        return answer
    found = {kind: answer[kind] for kind in kinds}
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    lines = [line for kind in kinds for one in found[kind] for line in show(one)]
    typer.echo("\n".join(lines) or f"no {kinds[0]}")
    return 0


def show(one: dict[str, Any]) -> Iterator[str]:
    """Yield the lines that tell of a quiet time."""
    what = {"silence": "silence", "maintenance": "maintenance", "disabled": "off", "acknowledgement": "acknowledged"}
    by = f" by {one['owner']}" if one["owner"] else ""
    named = f" {one['name']}" if one["kind"] == "maintenance" else ""
    yield f"{what[one['kind']]}{named}{by}: {one['reason']}".rstrip(": ")
    labels = [f"{name}={value}" for name, value in one["labels"].items()]
    yield f"    {', '.join((*one['checks'], *(f'type {kind}' for kind in one['types']), *labels))}"
    yield from (f"    {line}" for line in (_window(one) if one["configured"] else _times(one)))


def _times(one: dict[str, Any]) -> Iterator[str]:
    until = f" until {readable(one['end'])}" if one["end"] else ""
    well = ", or until all is well" if one["until_recovered"] else ""
    yield f"since {readable(one['start'])}{until}{well}"
    if one["ended"]:
        yield f"over {readable(one['ended'])}: {one['why_ended']}"
    yield one["id"]


def _window(one: dict[str, Any]) -> Iterator[str]:
    if one["open"] and one["end"]:
        yield f"under way until {readable(one['end'])}"
    if one["next_start"]:
        yield f"next {readable(one['next_start'])} until {readable(one['next_end'])}"
    elif not one["open"]:
        yield "over"
    if one["cron"]:
        yield f"cron {one['cron']} on the clocks of {one['timezone']}"


def cover(checks: list[str] | None, labels: list[str] | None, types: list[str] | None) -> dict[str, Any]:
    """Return which checks are meant. Raises ``typer.BadParameter``."""
    pairs = [label.partition("=") for label in labels or ()]
    if wrong := [name for name, sign, value in pairs if not (name and sign and value)]:
        raise _usage("--label", f"write it like team=shop, not {wrong[0]}")
    patterns = [one.strip() for given in checks or () for one in given.split(",") if one.strip()]
    return {"checks": patterns, "types": types or [], "labels": {name: value for name, _, value in pairs}}


def _end(lasts: str, until: str, timezone: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    try:
        option = "--for"
        if lasts:
            found["lasts"] = read_lasting(lasts)
        option = "--until"
        if until:
            found["until"] = read_until(until, timezone, datetime.now(UTC))
    except ValueError as error:
        raise _usage(option, str(error)) from None
    if timezone and not until:
        raise _usage("--timezone", "has no effect without --until")
    return found


def _who(by: str, reason: str) -> dict[str, Any]:
    return {"by": by or user(), "reason": reason}


def user() -> str:
    """Return who sits at the command line, behind sudo, too; a container's user may have a number only."""
    try:
        return os.environ.get("SUDO_USER") or getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _usage(option: str, sentence: str) -> typer.BadParameter:
    return typer.BadParameter(sentence, param_hint=option)


def quoted(name: str) -> str:
    """Return a name as a part of a path."""
    return quote(name, safe="")

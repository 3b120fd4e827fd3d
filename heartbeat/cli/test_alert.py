"""``heartbeat test-alert``: a real message, marked TEST, to one receiver; it waits for what each channel answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TextIO
from urllib.parse import quote

import typer

from heartbeat.cli.common import ConfigOption, JsonOption, NoColorOption, SocketOption, load_or_complain
from heartbeat.cli.exits import EX_CONFIG, EX_DATAERR, EX_UNAVAILABLE, EX_USAGE
from heartbeat.cli.performing import Paint, paint_for, perform
from heartbeat.config import Config
from heartbeat.control import NoDaemon, Unreachable, call
from heartbeat.core.units import parse_duration
from heartbeat.orders.asking import LONGEST_TEST
from heartbeat.rehearsal import staged
from heartbeat.tryout import data_of, try_out

EXIT_UNANSWERED = 2
SLACK = 30.0
"""Seconds that the daemon may take beyond the wait."""
WORDS = {"acknowledged": "acknowledged", "dead": "refused for good", "suppressed": "nobody was told"}

ReceiverArgument = Annotated[str, typer.Argument(help="Who gets it: all channels and recipients of this receiver.")]
CheckOption = Annotated[str, typer.Option("--check", help="Let it look like an alert of this check.", metavar="NAME")]
WaitOption = Annotated[str, typer.Option("--wait", help="How long to wait for the answers.", metavar="DURATION")]


def send_test(  # noqa: PLR0913 - each is an option of the command
    receiver: ReceiverArgument,
    config: ConfigOption,
    *,
    check: CheckOption = "",
    wait: WaitOption = "60s",
    socket: SocketOption = None,
    as_json: JsonOption = False,
    no_color: NoColorOption = False,
) -> int:
    """Send a receiver a real message that is marked TEST, and show what every channel answered.

    It goes through the outbox of the running daemon; where none runs, through one in this process.

    Exit codes: 0 everything was acknowledged, 2 not everything, 64 or 65 there is no such receiver or check.
    """
    within = _seconds(wait)
    if within is None:
        return EX_USAGE
    loaded = load_or_complain(config)
    if loaded is None:
        return EX_CONFIG
    say = partial(_say, as_json=as_json, no_color=no_color)
    try:
        code, answer = _ask_daemon(socket or loaded.control, receiver, check, within)
    except NoDaemon:
        work = partial(_try_here, loaded, receiver, check, within, say)
        return perform(loaded, work, level="error")
    except Unreachable as error:
        typer.echo(str(error), err=True)
        return EX_UNAVAILABLE
    if code >= 400:
        typer.echo(answer.get("error", f"the daemon answered {code}"), err=True)
        return EX_DATAERR
    return say({**answer, "by": "the running daemon"}, sys.stdout)


def _ask_daemon(socket: Path, receiver: str, check: str, within: float) -> tuple[int, dict[str, Any]]:
    body = {"check": check, "wait": within}
    return call(socket, "POST", f"/receivers/{quote(receiver, safe='')}/test", body, timeout=within + SLACK)


async def _try_here(  # noqa: PLR0913, PLR0917 - what the command was asked for
    config: Config, receiver: str, check: str, within: float, say: Callable[..., int], shown: TextIO
) -> tuple[int, bool]:
    async with staged(config) as stage:
        try:
            answers = await try_out(stage.parts.line, config, receiver, check, within)
        except LookupError as error:
            typer.echo(error.args[0], err=True)
            return EX_USAGE, False
    return say({**data_of(answers), "by": "this process, as no daemon runs"}, shown), False


def _seconds(wait: str) -> float | None:
    """Return how long to wait, or None after saying why that cannot be."""
    try:
        within = parse_duration(wait)
    except ValueError as error:
        typer.echo(f"--wait {wait}: {error}", err=True)
        return None
    if 0 < within <= LONGEST_TEST:
        return within
    typer.echo(f"--wait {wait}: must be more than 0 and at most 1h", err=True)
    return None


def _say(answer: dict[str, Any], stream: TextIO, *, as_json: bool, no_color: bool) -> int:
    """Print what was answered, and return the exit status for it."""
    if as_json:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False), file=stream)
    else:
        typer.echo("\n".join(lines_of(answer, paint_for(stream, no_color=no_color))), file=stream)
    return 0 if answer["acknowledged"] else EXIT_UNANSWERED


def lines_of(answer: dict[str, Any], paint: Paint) -> list[str]:
    """Return what people read."""
    lines = [f"TEST to {answer['receiver']}, sent by {answer['by']} ({answer['event']})"]
    lines += [_line(one, answer["receiver"], paint) for one in answer["answers"]]
    if answer["remark"]:
        lines.append(f"note: {answer['remark']}")
    return lines


def _line(one: dict[str, Any], receiver: str, paint: Paint) -> str:
    word = WORDS.get(one["state"], f"not acknowledged yet, tried {one['attempts']} times")
    painted = paint("ok" if one["state"] == "acknowledged" else "fail")
    took = f" after {one['seconds']:g} s" if one["seconds"] is not None else ""
    said = f": {one['answer']}" if one["answer"] else ""
    other = "" if one["receiver"] == receiver else " (told in its place)"
    who = " ".join(filter(None, (one["channel"], one["recipient"])))
    return f"  {painted:<4} {who}{other}: {word}{took}{said}"

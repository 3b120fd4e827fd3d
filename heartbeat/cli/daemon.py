"""The commands that speak to the daemon: ``status``, ``reload``, ``run-now``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from heartbeat.cli.common import ConfigOption, JsonOption, SocketOption, load_or_complain
from heartbeat.cli.exits import EX_CONFIG, EX_DATAERR, EX_UNAVAILABLE
from heartbeat.control import Unreachable, call


def reload(config: ConfigOption, socket: SocketOption = None) -> int:
    """Let the running daemon load its configuration anew, and say what is wrong with it."""
    answer = ask(config, socket, "POST", "/reload")
    if isinstance(answer, int):
        return answer
    typer.echo(answer["message"])
    return 0


def run_now(
    name: Annotated[str, typer.Argument(help="The check to run.")],
    config: ConfigOption,
    socket: SocketOption = None,
    *,
    as_json: JsonOption = False,
) -> int:
    """Let the running daemon run a check at once; its result counts like any other."""
    answer = ask(config, socket, "POST", f"/checks/{name}/run")
    if isinstance(answer, int):
        return answer
    typer.echo(json.dumps(answer) if as_json else _row(answer))
    return 0


def status(config: ConfigOption, socket: SocketOption = None, *, as_json: JsonOption = False) -> int:
    """Show how the running daemon and its checks stand."""
    answer = ask(config, socket, "GET", "/status")
    if isinstance(answer, int):
        return answer
    if as_json:
        typer.echo(json.dumps(answer))
        return 0
    for check in sorted(answer["checks"], key=_worst_first):
        typer.echo(_row(check))
    for problem in ("config_problem", "store_problem", "watchdog_problem"):
        if answer[problem]:
            typer.echo(f"{problem.replace('_', ' ')}: {answer[problem]}", err=True)
    typer.echo(f"{answer['outbox_pending']} deliveries pending")
    return 0


def ask(
    paths: list[Path], socket: Path | None, method: str, route: str, body: dict[str, Any] | None = None
) -> dict[str, Any] | int:
    """Ask the daemon; return its answer, or an exit status after saying why there is none."""
    if socket is None:
        loaded = load_or_complain(paths)
        if loaded is None:
            return EX_CONFIG
        socket = loaded.control
    try:
        code, answer = call(socket, method, route, body)
    except Unreachable as error:
        typer.echo(str(error), err=True)
        return EX_UNAVAILABLE
    if code < 400:
        return answer
    for line in (answer.get("error", f"the daemon answered {code}"), *answer.get("problems", ())):
        typer.echo(line, err=True)
    return EX_CONFIG if code == 422 else EX_DATAERR


def _worst_first(check: dict[str, Any]) -> tuple[int, str]:
    worst = ("fail", "broken", "missed", "flapping", "warn", "ok", "unknown", "disabled")
    return (worst.index(check["state"]), check["name"])


def _row(check: dict[str, Any]) -> str:
    quiet = check["suppressed"]
    why = f" [{quiet['sentence'] or quiet['reason']}]" if quiet else ""
    why += f" [{check['switch_problem']}]" if check.get("switch_problem") else ""
    at = check["last_run"]
    when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ") if at else "not yet run"
    return f"{check['state']:<8} {check['name']:<32} {when:<21} {check['sentence']}".rstrip() + why

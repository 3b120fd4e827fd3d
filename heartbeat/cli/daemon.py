"""The commands that are the daemon, or speak to it: ``run``, ``status``, ``reload``, ``run-now``."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
import uvloop

from heartbeat.cli.config import EX_CONFIG, ConfigOption, load_or_complain
from heartbeat.config import Config
from heartbeat.control import Unreachable, call
from heartbeat.daemon import Daemon
from heartbeat.log import PrintCapture, catch_strays, configure
from heartbeat.store import StoreError
from heartbeat.watchdog import really_exit
from heartbeat.web.serve import ListenError

EX_UNAVAILABLE = 69
"""The daemon cannot start, or does not answer (sysexits.h)."""
EX_DATAERR = 65
"""The daemon refuses what was asked (sysexits.h)."""

SocketOption = Annotated[
    Path | None, typer.Option("--socket", help="The daemon's control socket; by default from the configuration.")
]

log = structlog.get_logger()


def run(config: ConfigOption) -> int:
    """Run the daemon until SIGTERM; SIGHUP or a changed file reloads the configuration."""
    config = [path.absolute() for path in config]  # a plugin may change the folder that we are in
    loaded = load_or_complain(config)
    if loaded is None:
        return EX_CONFIG
    # A descriptor of its own: where a plugin closes 2, the log would flow into whatever is opened next.
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    configure(loaded.log, loaded.redactor)
    catch_strays()
    sys.stdout = PrintCapture()  # what plugins print becomes lines of the log
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            _run_to_its_end(runner.get_loop(), _serve(config, loaded))
    except (StoreError, ListenError) as error:
        log.critical("cannot start", error=str(error))
        return EX_UNAVAILABLE
    return 0


def _run_to_its_end(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> None:
    """Run the daemon. A plugin's task or timer that calls ``sys.exit`` ends the loop, and we go on with it."""
    main = loop.create_task(work, name="daemon")
    while not main.done():
        try:
            loop.run_until_complete(main)
        except SystemExit as left:
            if main.done():
                raise
            log.error("something that a plugin left behind called sys.exit; going on", exc_info=left)


async def _serve(paths: list[Path], config: Config) -> None:
    daemon = Daemon(paths, config)
    await daemon.run()
    if daemon.stuck:  # closing the loop would wait for plugins that do not end, for ever
        sys.stderr.flush()
        really_exit(0)


def reload(config: ConfigOption, socket: SocketOption = None) -> int:
    """Let the running daemon load its configuration anew, and say what is wrong with it."""
    answer = ask(config, socket, "POST", "/reload")
    if isinstance(answer, int):
        return answer
    typer.echo(answer["message"])
    return 0


def run_now(
    name: Annotated[str, typer.Argument(help="The check to run.")], config: ConfigOption, socket: SocketOption = None
) -> int:
    """Let the running daemon run a check at once; its result counts like any other."""
    answer = ask(config, socket, "POST", f"/checks/{name}/run")
    if isinstance(answer, int):
        return answer
    typer.echo(_row(answer))
    return 0


def status(config: ConfigOption, socket: SocketOption = None) -> int:
    """Show how the running daemon and its checks stand."""
    answer = ask(config, socket, "GET", "/status")
    if isinstance(answer, int):
        return answer
    for check in sorted(answer["checks"], key=_worst_first):
        typer.echo(_row(check))
    for problem in ("config_problem", "store_problem", "watchdog_problem"):
        if answer[problem]:
            typer.echo(f"{problem.replace('_', ' ')}: {answer[problem]}", err=True)
    typer.echo(f"{answer['outbox_pending']} deliveries pending")
    return 0


def ask(paths: list[Path], socket: Path | None, method: str, route: str) -> dict[str, Any] | int:
    """Ask the daemon; return its answer, or an exit status after saying why there is none."""
    if socket is None:
        loaded = load_or_complain(paths)
        if loaded is None:
            return EX_CONFIG
        socket = loaded.control
    try:
        code, answer = call(socket, method, route)
    except Unreachable as error:
        typer.echo(str(error), err=True)
        return EX_UNAVAILABLE
    if code < 400:
        return answer
    for line in (answer.get("error", f"the daemon answered {code}"), *answer.get("problems", ())):
        typer.echo(line, err=True)
    return EX_CONFIG if code == 422 else EX_DATAERR


def _worst_first(check: dict[str, Any]) -> tuple[int, str]:
    rank = {"fail": 0, "warn": 2, "ok": 3}.get(check["severity"], 4)
    return (1 if check["broken"] and rank else rank, check["name"])


def _row(check: dict[str, Any]) -> str:
    word = "broken" if check["broken"] else check["severity"] or "-"
    at = check["last_run"]
    when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ") if at else "not yet run"
    return f"{word:<7} {check['name']:<32} {when:<21} {check['sentence']}".rstrip()

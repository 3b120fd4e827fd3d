"""``heartbeat ping``: run a job and report its start and its end, whatever becomes of the report.

Nothing here may harm the job: it gets its signals, its exit code is ours, and a daemon that cannot be reached costs
nothing but some seconds at its end. What needs time to be imported is imported where it is needed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import IO, Annotated
from urllib.parse import SplitResult, urlsplit
from uuid import uuid4

import typer

from heartbeat.cli.exits import EX_CONFIG, EX_UNAVAILABLE, EX_USAGE

BODY_BYTES = 10_000
"""How much of the end of what a job says is sent."""
PIECE = 65_536
AT_START = (0.0, 1.0)
"""Seconds before each attempt to tell the start; it is told beside the job, and late it is worth nothing."""
AT_END = (0.0, 1.0, 2.0, 4.0)
WITHIN = 5.0
"""Seconds that an attempt may take."""
FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
"""A terminal sends these to the job itself."""
NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""Exit codes of shells."""
PASSING = frozenset({408, 425, 429})

ConfigOption = Annotated[
    list[Path] | None,
    typer.Option("--config", "-c", help="Where the check is configured: a file, or a folder of *.yaml files."),
]


def ping(
    name: Annotated[str, typer.Argument(metavar="NAME|URL", help="The check to report to, or its address.")],
    command: Annotated[list[str] | None, typer.Argument(metavar="[-- COMMAND ARGS...]", help="The job to run.")] = None,
    *,
    config: ConfigOption = None,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Whether to tell the start, too.")] = True,
    body: Annotated[bool, typer.Option("--body/--no-body", help="Whether to send the end of what it says.")] = True,
) -> int:
    """Run a job, and report its start, its exit code and the end of what it said; without a job, report a success.

    Ends with the exit code of the job, also where nobody could be told.
    """
    is_url = name.startswith(("http://", "https://"))
    if not is_url and not config:
        print(f"{name} is looked up in the configuration: -c config.yaml; or give its address", file=sys.stderr)  # noqa: T201 - a command's output
        return EX_USAGE
    url = name.rstrip("/") if is_url else _address_of(name, config or [])
    if not command:
        if not url:
            return EX_CONFIG
        return EX_UNAVAILABLE if _tell(url, "", AT_END) else 0
    return _run(command, url, is_started=start, is_heard=body)


def _run(command: Sequence[str], url: str, *, is_started: bool, is_heard: bool) -> int:
    rid = f"?rid={uuid4()}"
    starting = Thread(target=_tell, args=(url, f"/start{rid}", AT_START), daemon=True)
    if url and is_started:
        starting.start()
    code, said = _perform(command, is_heard=is_heard)
    if url:
        if is_started:
            starting.join(WITHIN)
        _tell(url, f"/{code}{rid}", AT_END, said)
    return code


def _perform(command: Sequence[str], *, is_heard: bool) -> tuple[int, bytes]:
    """Run a command as if nobody were in between; return its exit code and the end of what it said."""
    pipe = subprocess.PIPE if is_heard else None
    try:
        job = subprocess.Popen(command, stdout=pipe, stderr=pipe)  # noqa: S603 - the job that we are asked to run
    except OSError as error:
        said = f"{command[0]}: {error.strerror}"
        _note(said)
        return (NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE), said.encode()
    tail: deque[bytes] = deque()
    pumps = [
        Thread(target=_pump, args=(source, sink, tail), daemon=True)
        for source, sink in ((job.stdout, sys.stdout), (job.stderr, sys.stderr))
        if source is not None
    ]
    with _forwarding(job):
        for pump in pumps:
            pump.start()
        code = job.wait()
    for pump in pumps:
        pump.join(1.0)  # what the job left running may hold on to them
    return (code if code >= 0 else 128 - code), b"".join(list(tail))[-BODY_BYTES:]


def _pump(source: IO[bytes], sink: IO[str], tail: deque[bytes]) -> None:
    """Pass on what a job says, and keep its end; where nobody listens the job gets to know."""
    size = 0
    with source, suppress(OSError, ValueError):
        while piece := os.read(source.fileno(), PIECE):
            tail.append(piece[-BODY_BYTES:])
            size += len(tail[-1])
            while len(tail) > 1 and size - len(tail[0]) >= 2 * BODY_BYTES:
                size -= len(tail.popleft())
            sink.buffer.write(piece)  # type: ignore[attr-defined]  # the streams of a process have one
            sink.flush()


@contextmanager
def _forwarding(job: subprocess.Popen[bytes]) -> Iterator[None]:
    """Send signals on to the job while it runs: we end when it does."""
    sent = FORWARDED if sys.stdin is not None and sys.stdin.isatty() else (*FORWARDED, *FROM_TERMINAL)
    before = {number: signal.signal(number, lambda got, _: job.send_signal(got)) for number in sent}
    before |= {number: signal.signal(number, _ignore) for number in FROM_TERMINAL if number not in sent}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore(_number: int, _frame: object) -> None:
    """Do nothing: unlike SIG_IGN this is not inherited by the job."""


def _tell(url: str, rest: str, pauses: Sequence[float], body: bytes = b"") -> str:
    """Report something; return what went wrong in the end, which is noted, or nothing."""
    problem = ""
    for pause in pauses:
        sleep(pause)
        began = monotonic()
        try:
            status = _post(urlsplit(url), rest, body)
        except (OSError, HTTPException, ValueError) as error:
            problem = f"{type(error).__name__}: {error}" if isinstance(error, ValueError) else str(error)
        else:
            if status < 300:
                return ""
            problem = f"it answers {status}"
            if status < 500 and status not in PASSING:
                break
        if monotonic() - began > WITHIN:
            break
    _note(f"{urlsplit(url).netloc.rpartition('@')[2]} was not told: {problem}")
    return problem


def _post(target: SplitResult, rest: str, body: bytes) -> int:
    kind = HTTPSConnection if target.scheme == "https" else HTTPConnection
    connection = kind(target.hostname or "", target.port, timeout=WITHIN)
    try:
        connection.request("POST", target.path + rest, body, {"User-Agent": "heartbeat-ping"})
        return connection.getresponse().status
    finally:
        connection.close()


def _address_of(name: str, paths: list[Path]) -> str:
    """Return the address of a check, by the configuration; nothing, after a note, where there is none."""
    from heartbeat.check import Reported  # noqa: PLC0415 - with an address none of this is needed
    from heartbeat.config import ConfigError, load  # noqa: PLC0415
    from heartbeat.config.problem import nearest  # noqa: PLC0415

    try:
        found = load(paths, os.environ)
    except ConfigError as error:
        _note(f"the configuration is wrong, so {name} is not told: {error.problems[0]}")
        return ""
    except Exception as error:  # noqa: BLE001 - plugins are loaded, and whatever they raise, the job must run
        _note(f"the configuration cannot be read, so {name} is not told: {type(error).__name__}")
        return ""
    check = found.checks.get(name)
    if check is None:
        _note(f'there is no check "{name}"{nearest(name, found.checks)}, so nobody is told')
    elif not isinstance(check.check, Reported):
        _note(f"{name} is not reported to: it looks itself")
    elif not found.web.port:
        _note(f"web.listen has no fixed port, so {name} is not told; give its address")
    else:
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(found.web.host, found.web.host)  # noqa: S104 - where it listens
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return f"http://{host}:{found.web.port}{next(iter(check.check.routes()))}"
    return ""


def _note(sentence: str) -> None:
    with suppress(OSError, ValueError):
        print(f"heartbeat ping: {sentence}", file=sys.stderr)  # noqa: T201 - a command's output

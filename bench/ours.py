"""Our daemon on the bench: the real command on a real configuration."""

from __future__ import annotations

import re
import socket
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from time import time

from bench.program import Program
from bench.web import answers, free_port, get

RUNS = re.compile(rb'heartbeat_check_runs_total\{check="c\d+"[^}]*outcome="(\w+)"\} (\d+)')
PLUGINS = Path(__file__).parent / "plugins"
COMMAND_WITHIN = 120.0


@dataclass(frozen=True, slots=True)
class Ran:
    """A run as the store has it; times are seconds since the epoch, durations seconds."""

    check: str
    slot: float
    started: float
    duration: float
    outcome: str

    @property
    def late(self) -> float:
        """How long after its slot it started."""
        return self.started - self.slot


class Ours(Program):
    """``heartbeat run``, with its port and its files."""

    port: int
    config: Path
    born: float
    """When the process was started, in seconds since the epoch."""

    def page(self) -> bytes:
        """Scrape it."""
        return get(self.port, "/metrics")

    def command(self, path: str) -> str:
        """Have it do something, as ``heartbeat reload`` and ``run-now`` do; return what it says when it is done."""
        connection = HTTPConnection("heartbeat", timeout=COMMAND_WITHIN)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(COMMAND_WITHIN)
        connection.sock.connect(str(self.config.parent / "heartbeat.sock"))
        with closing(connection):
            connection.request("POST", path)
            answer = connection.getresponse()
            said = answer.read().decode()
            if answer.status != 200:
                raise OSError(f"{path} answered {answer.status}: {said}")
        return said

    def ran(self, since: float = 0.0, until: float = 2e9) -> list[Ran]:
        """Return the runs of our checks that started in this time, without second looks; read from the store."""
        query = """
            SELECT "check", slot, started, duration, outcome FROM result
            WHERE attempt = 0 AND started BETWEEN ? AND ? AND "check" GLOB 'c[0-9]*' ORDER BY started
        """
        with closing(sqlite3.connect(f"file:{self.config.parent}/heartbeat.db?mode=ro", uri=True)) as store:
            return [Ran(*row) for row in store.execute(query, (since, until))]


def count_runs(page: bytes) -> dict[str, int]:
    """Return the sum of the runs of the bench's checks on a page, by outcome."""
    counts: dict[str, int] = {}
    for outcome, count in RUNS.findall(page):
        counts[outcome.decode()] = counts.get(outcome.decode(), 0) + int(count)
    return counts


def settings(folder: Path, port: int, every: float, checks: Iterable[str], top: str = "") -> str:
    """Return a configuration: each check is a line of YAML, ``name: {...}``."""
    lines = "\n".join(f"  {check}" for check in checks)
    return f"""
store: sqlite:///{folder}/heartbeat.db
control: {folder}/heartbeat.sock
web: {{listen: 127.0.0.1:{port}}}
log: {{format: json}}
{top}
defaults: {{every: {every:g}s, timeout: {min(5.0, every):g}s}}
checks:
{lines}
"""


def http_checks(urls: Iterable[str], more: str = "") -> list[str]:
    """Return a check per URL, named by its number."""
    return [f"c{number}: {{http: {{url: '{url}'{more}}}}}" for number, url in enumerate(urls)]


@contextmanager
def running(  # noqa: PLR0913 - what a daemon differs in from one figure to the next
    folder: Path,
    every: float,
    checks: Sequence[str],
    *,
    top: str = "",
    cores: Sequence[int] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Ours]:
    """Run the daemon until the block ends; it serves when the block begins."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = folder / "config.yaml"
    config.write_text(settings(folder, port, every, checks, top), encoding="utf-8")
    command = [sys.executable, "-m", "heartbeat", "run", "-c", str(config)]
    born = time()
    with Ours(command, folder, name="heartbeat", cores=cores, environ=environ) as program:
        program.port, program.config, program.born = port, config, born
        program.wait_until(lambda: answers(port, "/-/ready"), within=120)
        yield program

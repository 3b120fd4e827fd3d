"""SimpleMonitor on the bench, from a virtual environment of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.program import Program

COMMAND = Path(__file__).parents[1] / ".venv-bench/bin/simplemonitor"
INTERVAL = 1
"""Seconds that it rests after it has been through all its monitors."""


@contextmanager
def looping(folder: Path, urls: Sequence[str]) -> Iterator[Program]:
    """Let it go round and round through these URLs until the block ends."""
    monitors = "\n".join(f"[c{number}]\ntype = http\nurl = {url}\n" for number, url in enumerate(urls))
    (folder / "monitors.ini").write_text(monitors, encoding="utf-8")
    (folder / "monitor.ini").write_text(
        f"[monitor]\ninterval = {INTERVAL}\nmonitors = {folder}/monitors.ini\n"
        f"[reporting]\nloggers = file\n[file]\ntype = logfile\nfilename = {folder}/monitors.log\n"
        "only_failures = 1\n",
        encoding="utf-8",
    )
    command: list[str | Path] = [COMMAND, "-f", folder / "monitor.ini", "--no-network", "--quiet"]
    with Program(command, folder, name="simplemonitor") as program:
        yield program

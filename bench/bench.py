"""What every group of figures gets: a folder, how long to measure, and a voice."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

SCRAPE = 15.0
"""Seconds between two scrapes of our metrics, as is usual."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long and how often things are measured; all in seconds, rates per second."""

    rounds: int = 3
    window: float = 8.0
    checks: int = 1000
    every: float = 5.0
    memory: float = 180.0
    many: int = 10_000
    accuracy: float = 8.0
    throughput: float = 6.0
    lateness: float = 10.0
    alerts: int = 210


QUICK = Lengths(
    rounds=1, window=4.0, checks=400, every=2.0, memory=25.0, many=2000, accuracy=4.0, throughput=3.0, lateness=4.0,
    alerts=40,
)  # fmt: skip


@dataclass(slots=True)
class Bench:
    """One run of the bench. ``scratch`` is a folder of its own that vanishes afterwards."""

    scratch: Path
    lengths: Lengths = field(default_factory=Lengths)
    began: float = field(default_factory=monotonic)
    _folders: int = 0

    def folder(self, name: str) -> Path:
        """Return a new folder."""
        self._folders += 1
        made = self.scratch / f"{self._folders:02}-{name}"
        made.mkdir(parents=True)
        return made

    def say(self, text: str) -> None:
        """Tell what goes on, and how far we are."""
        minutes, seconds = divmod(int(monotonic() - self.began), 60)
        print(f"[{minutes:2}:{seconds:02}] {text}", flush=True)


def wait(seconds: float) -> None:
    """Let the programs do their work."""
    sleep(max(0.0, seconds))

"""How much longer than it took a check says that it took: a target of known delays, by us and by the exporter."""

from __future__ import annotations

import json
import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from time import time
from typing import Any
from urllib.parse import quote

from bench.bench import Bench, wait
from bench.machine import ROOT
from bench.numbers import median_ratio, percentile
from bench.ours import http_checks, running
from bench.peers import scraping
from bench.program import Program
from bench.table import Row
from bench.web import answers, free_port, get

DELAYS_MS = (5, 20, 50)
RATE = 200
EVERY = 2.5
NEAR = 0.1
"""Seconds by which a measurement may lie before the request that it is about."""
LIMIT = 1.0


@dataclass(frozen=True, slots=True)
class Timed:
    """Something of a name that began at this time (seconds since the epoch) and lasted so many seconds."""

    name: str
    at: float
    seconds: float


def measure(bench: Bench) -> list[Row]:
    """Return the rows for p50 and p99; each is alone on the machine while it is measured."""
    ours: list[list[float]] = []
    theirs: list[list[float]] = []
    for number in range(bench.lengths.rounds):
        ours.append(_ours(bench))
        theirs.append(_theirs(bench))
        shown = "; ".join(
            f"p{p} {percentile(ours[-1], p / 100):.2f}, theirs {percentile(theirs[-1], p / 100):.2f}" for p in (50, 99)
        )
        bench.say(f"measured minus true in ms, round {number + 1}: {shown}")
    return [_row(share, ours, theirs) for share in (0.50, 0.99)]


def _row(share: float, ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> Row:
    mine, other = ([percentile(one, share) for one in rounds] for rounds in (ours, theirs))
    word = f"p{share * 100:.0f}"
    return Row(
        key=f"accuracy.{word}",
        figure=f"measured minus true duration at {RATE} checks/s, {word}",
        ours=f"{median(mine):.2f} ms",
        theirs=f"{median(other):.2f} ms",
        value=median_ratio(mine, other),
        limit=LIMIT,
        rounds=tuple(one / two for one, two in zip(mine, other, strict=True)),
        note=f"true is what the target took from accepting to its last byte; delays of 5, 20 and 50 ms; "
        f"{sum(map(len, ours))} and {sum(map(len, theirs))} requests, matched one by one",
    )


def _paths(port: int) -> list[str]:
    count = int(RATE * EVERY)
    return [f"http://127.0.0.1:{port}/delay/{DELAYS_MS[n % len(DELAYS_MS)]}/c{n}" for n in range(count)]


def _ours(bench: Bench) -> list[float]:
    with target(bench) as port, running(bench.folder("ours"), EVERY, http_checks(_paths(port))) as program:
        wait(EVERY + 1.0)
        began = time()
        wait(bench.lengths.accuracy)
        ended = time()
        wait(1.2)  # the store writes steady results once a second
        measured = [Timed(ran.check, ran.started, ran.duration) for ran in program.ran(began, ended)]
        return errors(measured, delayed(port))


def _theirs(bench: Bench) -> list[float]:
    with target(bench) as port:
        paths = _paths(port)
        with scraping(bench.folder("theirs"), EVERY, paths, None) as pair:
            pair.prometheus.wait_until(lambda: len(records(port)["delayed"]) >= len(paths))
            wait(1.0)
            began = time()
            wait(bench.lengths.accuracy)
            ended = time()
            wait(0.5)
            window = f"probe_duration_seconds[{ended - began:.0f}s]"
            series = json.loads(get(pair.port, f"/api/v1/query?query={quote(window)}&time={ended:.3f}"))["data"][
                "result"
            ]
            measured = list(_samples(series))
            pair.stop()
        return errors(measured, delayed(port))


def _samples(series: Iterable[dict[str, Any]]) -> Iterator[Timed]:
    for one in series:
        name = one["metric"]["instance"].rpartition("/")[2]
        yield from (Timed(name, at, float(value)) for at, value in one["values"])


def errors(measured: Iterable[Timed], true: Iterable[Timed]) -> list[float]:
    """Return measured minus true in milliseconds for each request that both know; raises where too few are."""
    by_name: dict[str, list[Timed]] = {}
    for one in sorted(true, key=lambda one: one.at):
        by_name.setdefault(one.name, []).append(one)
    measured = list(measured)
    pairs = [(one, match(one, by_name.get(one.name, ()))) for one in measured]
    found = [(one.seconds - other.seconds) * 1000 for one, other in pairs if other]
    if len(found) < 0.9 * len(measured) or not found:
        raise SystemExit(f"only {len(found)} of {len(measured)} measurements belong to a request")
    return found


def match(measured: Timed, requests: Sequence[Timed]) -> Timed | None:
    """Return the request that a measurement is about: the first that began with it or after, not too far away."""
    index = bisect_left(requests, measured.at - NEAR / 10, key=lambda one: one.at)
    if index == len(requests) or requests[index].at > measured.at + measured.seconds + NEAR:
        return None
    return requests[index]


@contextmanager
def target(bench: Bench) -> Iterator[int]:
    """Run the target that knows how long it took; give its port."""
    port = free_port()
    command = [sys.executable, "-m", "bench.servers.target", str(port)]
    with Program(command, bench.folder("target"), name="target", environ={"PYTHONPATH": str(ROOT)}) as program:
        program.wait_until(lambda: answers(port, "/"))
        yield port


def records(port: int) -> dict[str, Any]:
    """Return what the target has seen."""
    found: dict[str, Any] = json.loads(get(port, "/records"))
    return found


def delayed(port: int) -> list[Timed]:
    """Return the requests that it has answered late on purpose."""
    return [Timed(*one) for one in records(port)["delayed"]]

"""What names cost instead of addresses: every check looks its own name up, every time, at a local name server."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from urllib.parse import urlsplit

from bench.bench import Bench
from bench.contest import cost_of_ours, undisturbed
from bench.machine import ROOT
from bench.nginx import Site
from bench.numbers import median_ratio
from bench.program import Program
from bench.table import Row
from bench.web import free_port

ROUNDS = 2
LIMIT = 1.3


def cost_with_names(bench: Bench, site: Site, server: str) -> float:
    """Return the CPU of a check in microseconds, each under a name of its own."""
    port = urlsplit(site.http).port
    names = [f"http://c{number}.bench.test:{port}/?c={number}" for number in range(bench.lengths.checks)]
    environ = {"HEARTBEAT_DNS_SERVERS": server}
    return undisturbed(bench, lambda: cost_of_ours(bench, site, names, environ=environ)).cpu


def row(named: Sequence[float], addressed: Sequence[float]) -> Row:
    """Return the row; the addresses are those of the same rounds."""
    return Row(
        key="names",
        figure="names instead of addresses, CPU per http check",
        ours=f"{median(named):.0f} µs with names, {median(addressed):.0f} µs with addresses",
        theirs="",
        value=median_ratio(named, addressed),
        limit=LIMIT,
        rounds=tuple(one / two for one, two in zip(named, addressed, strict=True)),
        note="a name for each check, A and AAAA asked for at each run; nothing is remembered",
    )


@contextmanager
def name_server(bench: Bench) -> Iterator[str]:
    """Run a name server to which every name is this machine; give its address."""
    port = free_port()
    command = [sys.executable, "-m", "bench.servers.names", str(port)]
    environ = {"PYTHONPATH": str(ROOT)}
    with Program(command, bench.folder("names"), name="names", environ=environ):
        yield f"127.0.0.1:{port}"

"""The most http checks per second in one process on one core; nginx and what drives the exporter have the other."""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Sequence
from statistics import median
from time import monotonic, time

from bench.bench import Bench, wait
from bench.contest import urls
from bench.nginx import Site, serving
from bench.numbers import median_ratio
from bench.ours import http_checks, running
from bench.peers import blackbox
from bench.table import Row

AT_ONCE = 32
LIMIT = 2.0
WARM_UP = 3.0
BEYOND = 1.25
"""How much more is asked of us than we did before, so that there is always something to do."""


def measure(bench: Bench) -> list[Row]:
    """Return the row."""
    cores = sorted(os.sched_getaffinity(0))
    one, other = cores[:1], cores[1:] or cores
    ours: list[float] = []
    theirs: list[float] = []
    with serving(bench.folder("nginx"), other) as site:
        for number in range(bench.lengths.rounds):
            theirs.append(_theirs(bench, site, one, other))
            ours.append(_ours(bench, site, one, BEYOND * max([*ours, 1.8 * theirs[-1]])))
            bench.say(f"checks per second on one core, round {number + 1}: {ours[-1]:.0f}, theirs {theirs[-1]:.0f}")
    return [
        Row(
            key="throughput",
            figure="most http checks per second in one process, on one core",
            ours=f"{median(ours):.0f}/s",
            theirs=f"{median(theirs):.0f}/s (blackbox_exporter)",
            value=median_ratio(ours, theirs),
            limit=LIMIT,
            at_least=True,
            rounds=tuple(mine / other for mine, other in zip(ours, theirs, strict=True)),
            note="ours with schedule, judgement, state and store; the exporter driven 32 at once over open connections",
        )
    ]


def _ours(bench: Bench, site: Site, cores: Sequence[int], count: float) -> float:
    """Ask more of us than we can do, and count the runs that ended well."""
    checks = http_checks(urls(site.http, int(count)))
    with running(bench.folder("ours"), 1.0, checks, cores=cores) as program:
        wait(WARM_UP)
        began = time()
        wait(bench.lengths.throughput)
        ended = time()
        wait(1.2)  # the store writes steady results once a second
        good = [ran for ran in program.ran(began, ended) if ran.outcome == "ok"]
    return len(good) / (ended - began)


def _theirs(bench: Bench, site: Site, cores: Sequence[int], rest: Sequence[int]) -> float:
    mine = os.sched_getaffinity(0)
    with blackbox(bench.folder("theirs"), site.authority, cores) as (_, port):
        os.sched_setaffinity(0, rest)
        try:
            drive(port, f"/probe?module=http_2xx&target={site.http}/", 1.0)
            return drive(port, f"/probe?module=http_2xx&target={site.http}/", bench.lengths.throughput)
        finally:
            os.sched_setaffinity(0, mine)


def drive(port: int, path: str, seconds: float) -> float:
    """Ask a server for a page, so many at once over connections that stay open; return the answers per second."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    with selectors.EpollSelector() as selector:
        received: dict[int, bytes] = {}
        for _ in range(AT_ONCE):
            connection = socket.create_connection(("127.0.0.1", port))
            selector.register(connection, selectors.EVENT_READ, connection)
            received[connection.fileno()] = b""
            connection.sendall(request)
        began, answered = monotonic(), 0
        while monotonic() - began < seconds:
            for key, _ in selector.select(1.0):
                received[key.fd] += key.data.recv(65536)
                if is_whole(received[key.fd]):
                    answered += b"probe_success 1" in received[key.fd]
                    received[key.fd] = b""
                    key.data.sendall(request)
        for key in list(selector.get_map().values()):
            key.data.close()
    return answered / (monotonic() - began)


def is_whole(answer: bytes) -> bool:
    """Say whether an answer is there to its end, which its length or its last chunk tells."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    return len(body) >= int(length) if length else body.endswith(b"0\r\n\r\n")

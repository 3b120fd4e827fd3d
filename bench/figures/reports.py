"""Jobs that report: how many reports one core takes, and what it costs to wait for them."""

from __future__ import annotations

import os
import selectors
import socket
from statistics import median
from time import monotonic

from bench.bench import Bench, wait
from bench.ours import running
from bench.table import Row

AT_ONCE = 32
REPORTING = 1000
"""So many of the jobs report; the others are waited for."""
LIMIT = 1000.0
IDLE_LIMIT = 2.0
SETTLE = 3.0
ROUTE = "0123456789abcdef-{}"
HEAD = "POST /ping/{} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"


def measure(bench: Bench) -> list[Row]:
    """Return the rows."""
    cores = sorted(os.sched_getaffinity(0))
    one, other = cores[:1], cores[1:] or cores
    count, seconds = bench.lengths.many, bench.lengths.throughput / 2
    checks = [f"c{number}: {{push: {{token: {ROUTE.format(number)}}}}}" for number in range(count)]
    with running(bench.folder("reports"), 86_400, checks, cores=one) as program:
        wait(SETTLE)
        used, began = program.cpu(), monotonic()
        wait(bench.lengths.window / 2)
        idle = (program.cpu() - used) / (monotonic() - began) * 100
        rates = []
        os.sched_setaffinity(0, other)
        try:
            drive(program.port, 1.0)
            used = program.cpu()
            for _ in range(bench.lengths.rounds):
                rates.append(drive(program.port, seconds))
                bench.say(f"reports taken per second on one core: {rates[-1]:.0f}")
        finally:
            os.sched_setaffinity(0, cores)
        each = (program.cpu() - used) / (sum(rates) * seconds)
    return [
        Row(
            key="reports",
            figure="reports of jobs taken per second, on one core",
            ours=f"{median(rates):.0f}/s, {each * 1e6:.0f} µs of CPU each",
            theirs="",
            value=median(rates),
            unit="/s",
            limit=LIMIT,
            at_least=True,
            rounds=tuple(rates),
            note=f"{AT_ONCE} at once, each over a connection of its own, kept on disk and judged before it is answered",
        ),
        Row(
            key="reports-idle",
            figure=f"CPU while {count:,} checks wait for reports and none comes",
            ours=f"{idle:.1f} % of a core",
            theirs="",
            value=idle,
            unit="%",
            limit=IDLE_LIMIT,
        ),
    ]


def drive(port: int, seconds: float) -> float:
    """Report one job after the other, so many at once, each over a connection of its own; return how many a second."""
    with selectors.EpollSelector() as selector:
        for number in range(AT_ONCE):
            _report(selector, port, number)
        began, asked, taken = monotonic(), AT_ONCE, 0
        while monotonic() - began < seconds:
            for key, _ in selector.select(1.0):
                if piece := key.fileobj.recv(4096):  # type: ignore[union-attr]  # they are sockets
                    taken += piece.startswith(b"HTTP/1.1 200 ")
                    continue
                _close(selector, key)
                _report(selector, port, asked)
                asked += 1
        took = monotonic() - began
        for key in list(selector.get_map().values()):
            _close(selector, key)
    return taken / took


def _report(selector: selectors.EpollSelector, port: int, number: int) -> None:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(HEAD.format(ROUTE.format(number % REPORTING)).encode())
    selector.register(connection, selectors.EVENT_READ)


def _close(selector: selectors.EpollSelector, key: selectors.SelectorKey) -> None:
    selector.unregister(key.fileobj)
    key.fileobj.close()  # type: ignore[union-attr]  # they are sockets

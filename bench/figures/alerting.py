"""From the decision to tell to the webhook that has arrived, on an idle daemon."""

from __future__ import annotations

from datetime import datetime
from statistics import median
from time import monotonic

from bench.bench import Bench, wait
from bench.figures.accuracy import records, target
from bench.numbers import percentile
from bench.ours import running
from bench.table import Row

CHECKS = 12
"""Each flips once a second and so makes an event a second: few enough that the daemon idles in between."""
LIMIT_MS = 50.0


def measure(bench: Bench) -> list[Row]:
    """Return the row: the median of the rounds, as a disk that others use too may stall in one of them."""
    rounds = [_round(bench) for _ in range(bench.lengths.rounds)]
    worst = [percentile(took, 0.99) for took in rounds]
    return [
        Row(
            key="alerting",
            figure="decision to webhook received, idle, p99",
            ours=f"p50 {median(map(median, rounds)):.1f} ms, p99 {median(worst):.1f} ms",
            theirs="",
            value=median(worst),
            unit="ms",
            limit=LIMIT_MS,
            rounds=tuple(worst),
            note=f"{sum(map(len, rounds))} events in {len(rounds)} rounds, each committed to disk before it is sent; "
            "their times are whole milliseconds",
        )
    ]


def _round(bench: Bench) -> list[float]:
    """Return how many milliseconds each webhook took."""
    wanted = bench.lengths.alerts
    with target(bench) as port:
        checks = [f"c{number}: {{http: {{url: 'http://127.0.0.1:{port}/flip/{number}'}}}}" for number in range(CHECKS)]
        top = f"storm: never\nreceivers:\n  machine:\n    - webhook: {{url: 'http://127.0.0.1:{port}/hook'}}"
        policy = ", policy: {raise: 1, clear: 1, flapping: never}, notify: [machine]"
        with running(bench.folder("ours"), 1.0, [check[:-1] + policy + "}" for check in checks], top=top) as program:
            ends = monotonic() + 4 * wanted / CHECKS
            while len(hooks := records(port)["hooks"]) < wanted and monotonic() < ends:
                wait(1.0)
            said = program.tail()
    if len(hooks) < wanted:
        raise SystemExit(f"{len(hooks)} of {wanted} webhooks arrived:\n{said}")
    took = [(arrived - datetime.fromisoformat(decided).timestamp()) * 1000 for arrived, decided in hooks]
    bench.say(f"decision to webhook: p50 {median(took):.1f} ms, p99 {percentile(took, 0.99):.1f} ms")
    return took

"""From the decision to tell to the webhook that has arrived, on an idle daemon."""

from __future__ import annotations

from datetime import datetime
from statistics import median
from time import monotonic

from bench.bench import Bench, wait
from bench.disk import overlaps, stalls_of
from bench.figures.accuracy import records, target
from bench.numbers import percentile
from bench.ours import running
from bench.table import Row

CHECKS = 12
"""Each flips once a second and so makes an event a second: few enough that the daemon idles in between."""
LIMIT_MS = 50.0


def measure(bench: Bench) -> list[Row]:
    """Return the row: the median of the rounds, as a disk that others use too may stall in one of them."""
    measured = [_round(bench) for _ in range(bench.lengths.rounds)]
    rounds, left_out = [took for took, _ in measured], sum(left for _, left in measured)
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
            f"their times are whole milliseconds; {left_out} more are left out, as the disk itself took over 20 ms for "
            "a page of another program meanwhile",
        )
    ]


def _round(bench: Bench) -> tuple[list[float], int]:
    """Return how many milliseconds each webhook took, and how many were left out for the disk's sake."""
    wanted = bench.lengths.alerts
    with target(bench) as port, stalls_of(bench.folder("disk")) as stalls:
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
    ways = [(datetime.fromisoformat(decided).timestamp(), arrived) for arrived, decided in hooks]
    took = [(arrived - decided) * 1000 for decided, arrived in ways if not overlaps(decided, arrived, stalls)]
    bench.say(
        f"decision to webhook: p50 {median(took):.1f} ms, p99 {percentile(took, 0.99):.1f} ms "
        f"({len(ways) - len(took)} left out: the disk stood still {len(stalls)} times)"
    )
    return took, len(ways) - len(took)

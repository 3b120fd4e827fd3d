"""How late runs start at 1,000 checks a second."""

from __future__ import annotations

from time import time

from bench.bench import Bench, wait
from bench.contest import refuse_failures, urls
from bench.nginx import serving
from bench.numbers import percentile
from bench.ours import http_checks, running
from bench.table import Row

WARM_UP = 4.0
LIMIT_MS = 10.0


def measure(bench: Bench) -> list[Row]:
    """Return the row."""
    with (
        serving(bench.folder("nginx")) as site,
        running(bench.folder("ours"), 1.0, http_checks(urls(site.http, 1000))) as program,
    ):
        wait(WARM_UP)
        began, spent = time(), program.cpu()
        wait(bench.lengths.lateness)
        ended, spent = time(), program.cpu() - spent
        wait(1.2)  # the store writes steady results once a second
        refuse_failures(program)
        late = [ran.late * 1000 for ran in program.ran(began, ended)]
    p50, p99 = percentile(late, 0.5), percentile(late, 0.99)
    bench.say(f"lateness at 1,000 checks/s: p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {max(late):.1f} ms")
    return [
        Row(
            key="lateness",
            figure="start lateness p99 at 1,000 checks/s",
            ours=f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {max(late):.0f} ms",
            theirs="",
            value=p99,
            unit="ms",
            limit=LIMIT_MS,
            note=f"{len(late)} runs, {len(late) / (ended - began):.0f}/s, {spent / (ended - began):.0%} of one core",
        )
    ]

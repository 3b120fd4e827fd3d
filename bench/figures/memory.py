"""Memory at 1,000 checks, and whether it grows: ours and the pair side by side, as memory does not mind the other."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from bench.bench import SCRAPE, Bench, wait
from bench.contest import refuse_failures, steady_pair, urls
from bench.nginx import serving
from bench.numbers import slope
from bench.ours import http_checks, running
from bench.table import Row

STEP = 5.0
LIMIT = 0.6
GROWTH_KIB = 150.0
"""KiB per minute that count as none: the pages of SQLite's own cache and the allocator's slack come and go."""

Sample = tuple[float, float]


def measure(bench: Bench) -> list[Row]:
    """Return both rows."""
    lengths = bench.lengths
    every = lengths.checks / 200
    with serving(bench.folder("nginx")) as site:
        addresses = urls(site.http, lengths.checks)
        with (
            steady_pair(bench, site, addresses, every) as pair,
            running(bench.folder("ours"), every, http_checks(addresses)) as program,
        ):
            ours: list[Sample] = []
            theirs: list[Sample] = []
            began = scraped = monotonic()
            while (at := monotonic() - began) < lengths.memory:
                ours.append((at, program.memory()))
                theirs.append((at, pair.memory()))
                if monotonic() - scraped >= SCRAPE:
                    program.page()
                    scraped = monotonic()
                wait(STEP - (monotonic() - began - at))
            refuse_failures(program)
            peaks = program.peak(), pair.peak()
    bench.say(f"memory after {lengths.memory:.0f} s: {ours[-1][1] / 1e6:.0f} MB, theirs {theirs[-1][1] / 1e6:.0f} MB")
    return [_now(bench, ours, theirs, peaks), _growth(ours, theirs)]


def _now(bench: Bench, ours: Sequence[Sample], theirs: Sequence[Sample], peaks: tuple[int, int]) -> Row:
    mine, other = ours[-1][1], theirs[-1][1]
    return Row(
        key="memory",
        figure=f"resident memory at {bench.lengths.checks:,} checks, after 3 minutes at 200/s",
        ours=f"{mine / 1e6:.0f} MB, peak {peaks[0] / 1e6:.0f} MB",
        theirs=f"{other / 1e6:.0f} MB, peak {peaks[1] / 1e6:.0f} MB",
        value=mine / other,
        limit=LIMIT,
    )


def _growth(ours: Sequence[Sample], theirs: Sequence[Sample]) -> Row:
    """Return how fast memory grows over the last half of the time."""
    mine, other = (slope(samples[len(samples) // 2 :]) * 60 / 1024 for samples in (ours, theirs))
    half = ours[len(ours) // 2 :]
    return Row(
        key="memory.growth",
        figure="growth of memory at steady state",
        ours=f"{mine:.0f} KiB per minute",
        theirs=f"{other:.0f} KiB per minute",
        value=mine,
        unit="KiB/min",
        limit=GROWTH_KIB,
        note=f"slope over the last {half[-1][0] - half[0][0]:.0f} s; "
        f"{(half[-1][1] - half[0][1]) / 1024:+.0f} KiB in that time",
    )

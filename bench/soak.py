"""The soak: ten minutes at 500 checks a second. Memory, descriptors and threads must stay what they are."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from bench import machine, results
from bench.bench import SCRAPE, Bench, wait
from bench.contest import refuse_failures, urls
from bench.nginx import serving
from bench.numbers import rise, slope
from bench.ours import Ours, http_checks, running
from bench.table import Row, plain

EVERY = 5.0
SETTLING = 0.2
"""The share of the time at the beginning that does not count: caches fill, the store grows to its working size."""
MEMORY_KIB = 150.0
"""KiB per minute that count as no growth."""
DESCRIPTORS = 10.0
"""So many more are none: those of the connections that happen to be open."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The daemon at a moment (seconds since the start); memory in bytes."""

    at: float
    memory: int
    descriptors: int
    threads: int


def main(words: Sequence[str], scratch: Path) -> int:
    """Soak; return 1 where something grows."""
    parser = argparse.ArgumentParser("python -m bench soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rate", type=int, default=500, help="checks per second")
    parser.add_argument("--step", type=float, default=10.0, help="seconds between two samples")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    asked = parser.parse_args(words)
    bench = Bench(scratch)
    rows = judge(_soak(bench, asked.rate, asked.seconds, asked.step), asked.rate)
    found = results.now(rows, monotonic() - bench.began)
    print(f"\n{plain(rows)}\n")
    name = (
        f"{datetime.now(UTC):%Y-%m-%d}-{machine.kind()}-soak"
        if asked.seconds >= 600 and asked.rate >= 500
        else "quick-soak"
    )
    print(f"Written to {results.write(found, asked.results / name)}")
    return int(any(row.reached is False for row in rows))


def _soak(bench: Bench, rate: int, seconds: float, step: float) -> list[Sample]:
    samples: list[Sample] = []
    with serving(bench.folder("nginx")) as site:
        checks = http_checks(urls(site.http, int(rate * EVERY)))
        with running(bench.folder("ours"), EVERY, checks) as program:
            wait(EVERY + 1.0)
            began, scraped, requests = monotonic(), 0.0, site.requests()
            while (at := monotonic() - began) <= seconds:
                samples.append(_look(program, at))
                bench.say(_describe(samples[-1]))
                if at - scraped >= SCRAPE:
                    program.page()
                    scraped = at
                wait(step - (monotonic() - began - at))
            refuse_failures(program)
            bench.say(f"{(site.requests() - requests) / (monotonic() - began):.0f} checks/s")
    return samples


def _look(program: Ours, at: float) -> Sample:
    return Sample(at, program.memory(), program.descriptors(), program.threads())


def _describe(sample: Sample) -> str:
    return f"{sample.memory / 1e6:.1f} MB, {sample.descriptors} descriptors, {sample.threads} threads"


def judge(samples: Sequence[Sample], rate: int) -> list[Row]:
    """Return what grows, the time of settling left out."""
    steady = [sample for sample in samples if sample.at >= SETTLING * samples[-1].at]
    memory = slope([(sample.at, sample.memory) for sample in steady]) * 60 / 1024
    descriptors = rise([sample.descriptors for sample in steady])
    threads = rise([sample.threads for sample in steady])
    first, last = samples[0], samples[-1]
    took = f"{last.at / 60:.0f} minutes at {rate} checks/s"
    return [
        Row("soak.memory", f"growth of memory, {took}", f"{first.memory / 1e6:.1f} to {last.memory / 1e6:.1f} MB", "",
            memory, "KiB/min", MEMORY_KIB),
        Row("soak.descriptors", "more descriptors", f"{first.descriptors} to {last.descriptors}", "",
            descriptors, "", DESCRIPTORS),
        Row("soak.threads", "more threads", f"{first.threads} to {last.threads}", "", threads, "", 0.0),
    ]  # fmt: skip

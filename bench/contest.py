"""The same checks at the same rate by us and by the others: what one check costs each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import monotonic

from bench.bench import SCRAPE, Bench, wait
from bench.nginx import Site
from bench.ours import Ours, count_runs, http_checks, running
from bench.peers import Pair, scraping

WITHIN = 40.0
TRIES = 3
DISTURBED = 0.97
"""Below this share of its rate a contender was held up by something else on the machine, and is measured again."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a check costs: CPU in microseconds, and the most memory in bytes that the processes ever had."""

    cpu: float
    peak: int
    per_second: float


def urls(base: str, count: int) -> list[str]:
    """Return so many addresses of one site."""
    return [f"{base}/?c={number}" for number in range(count)]


def undisturbed(bench: Bench, measure: Callable[[], Cost]) -> Cost:
    """Return what is measured; again where the machine did not let the checks run at their rate."""
    wanted = bench.lengths.checks / bench.lengths.every
    for _ in range(TRIES):
        cost = measure()
        if cost.per_second >= DISTURBED * wanted:
            break
        bench.say(f"disturbed: {cost.per_second:.0f} of {wanted:.0f} checks/s; once more")
    return cost


def cost_of_ours(
    bench: Bench, site: Site, addresses: Iterable[str], more: str = "", environ: Mapping[str, str] | None = None
) -> Cost:
    """Measure a fresh daemon of ours, and add its part of the scrapes that are usual."""
    lengths = bench.lengths
    checks = http_checks(addresses, more)
    with running(bench.folder("ours"), lengths.every, checks, environ=environ) as program:
        wait(lengths.every + 1.0)
        program.page()
        cost = watch(site, program.cpu, program.peak, lengths.window)
        page = cost_of_a_page(program, cost.cpu * cost.per_second / 1e6)
        refuse_failures(program)
        return replace(cost, cpu=cost.cpu + page / (SCRAPE * cost.per_second) * 1e6, peak=program.peak())


def cost_of_a_page(program: Ours, rate: float) -> float:
    """Return the CPU seconds of a scrape, without those that the checks need meanwhile (``rate`` per second)."""
    began, spent = monotonic(), program.cpu()
    program.page()
    spent, took = program.cpu() - spent, monotonic() - began
    return max(0.0, spent - rate * took)


def cost_of_theirs(bench: Bench, site: Site, addresses: Sequence[str]) -> Cost:
    """Measure a fresh pair of Prometheus and blackbox_exporter."""
    lengths = bench.lengths
    with steady_pair(bench, site, addresses, lengths.every) as pair:
        cost = watch(site, pair.cpu, pair.peak, lengths.window)
        if bad := pair.query("probe_success == 0"):
            raise SystemExit(f"blackbox_exporter fails on the bench: {bad[:3]}")
        return cost


@contextmanager
def steady_pair(bench: Bench, site: Site, addresses: Sequence[str], every: float) -> Iterator[Pair]:
    """Run the pair; it has probed everything once when the block begins. It is late: it looks for targets every 5 s."""
    before = site.requests()
    with scraping(bench.folder("theirs"), every, addresses, site.authority) as pair:
        ends = monotonic() + WITHIN
        while site.requests() - before < len(addresses):
            if monotonic() > ends:
                raise SystemExit(f"Prometheus does not get to its rate:\n{pair.prometheus.tail()}")
            wait(0.2)
        wait(1.0)
        yield pair
        pair.stop()


def watch(site: Site, cpu: Callable[[], float], peak: Callable[[], int], seconds: float) -> Cost:
    """Watch a contender for a while: the target says how many requests it made."""
    requests, spent, began = site.requests(), cpu(), monotonic()
    wait(seconds)
    spent, made, took = cpu() - spent, site.requests() - requests - 1, monotonic() - began
    if made <= 0:
        raise SystemExit("the contender made no request")
    return Cost(spent / made * 1e6, peak(), made / took)


def refuse_failures(program: Ours) -> None:
    """End the bench where our checks fail: what it measured would mean nothing."""
    counts = count_runs(program.page())
    if counts.get("fail") or counts.get("error") or not counts.get("ok"):
        raise SystemExit(f"our checks fail on the bench: {counts}\n{program.tail()}")

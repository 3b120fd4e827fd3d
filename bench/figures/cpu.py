"""CPU per check over http and https: ours beside blackbox_exporter with Prometheus, and SimpleMonitor."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from bench.bench import Bench, wait
from bench.contest import Cost, cost_of_ours, cost_of_theirs, undisturbed, urls, watch
from bench.figures.names import ROUNDS as NAMED_ROUNDS
from bench.figures.names import cost_with_names, name_server, row
from bench.nginx import Site, serving
from bench.numbers import median_ratio
from bench.simplemonitor import looping
from bench.table import Row

LIMITS = {"http": 0.40, "https": 0.65}


def measure(bench: Bench) -> list[Row]:
    """Return the rows: rounds are interleaved, ours, theirs, ours, theirs, each with fresh processes."""
    with serving(bench.folder("nginx")) as site:
        http, names = _http(bench, site)
        return [http, _simplemonitor(bench, site, http), _https(bench, site), names]


def _http(bench: Bench, site: Site) -> tuple[Row, Row]:
    addresses = urls(site.http, bench.lengths.checks)
    ours: list[Cost] = []
    theirs: list[Cost] = []
    named: list[float] = []
    with name_server(bench) as server:
        for number in range(bench.lengths.rounds):
            ours.append(undisturbed(bench, lambda: cost_of_ours(bench, site, addresses)))
            theirs.append(undisturbed(bench, lambda: cost_of_theirs(bench, site, addresses)))
            _tell(bench, "http", ours, theirs)
            if number < NAMED_ROUNDS:
                named.append(cost_with_names(bench, site, server))
                bench.say(f"CPU per http check with a name, round {number + 1}: {named[-1]:.0f} us")
    return _row("http", ours, theirs), row(named, [cost.cpu for cost in ours[: len(named)]])


def _https(bench: Bench, site: Site) -> Row:
    addresses, trusting = urls(site.https, bench.lengths.checks), f", ca_file: {site.authority}"
    ours: list[Cost] = []
    theirs: list[Cost] = []
    for _ in range(bench.lengths.rounds):
        ours.append(undisturbed(bench, lambda: cost_of_ours(bench, site, addresses, trusting)))
        theirs.append(undisturbed(bench, lambda: cost_of_theirs(bench, site, addresses)))
        _tell(bench, "https", ours, theirs)
    return _row("https", ours, theirs)


def _tell(bench: Bench, scheme: str, ours: Sequence[Cost], theirs: Sequence[Cost]) -> None:
    mine, other = ours[-1].cpu, theirs[-1].cpu
    bench.say(f"CPU per {scheme} check, round {len(ours)}: {mine:.0f} us, theirs {other:.0f} us")


def _row(scheme: str, ours: Sequence[Cost], theirs: Sequence[Cost]) -> Row:
    mine, other = [cost.cpu for cost in ours], [cost.cpu for cost in theirs]
    full = "" if scheme == "http" else ", a full handshake each"
    return Row(
        key=f"cpu.{scheme}",
        figure=f"CPU per {scheme} check at 200/s, everything included{full}",
        ours=_show(ours),
        theirs=_show(theirs),
        value=median_ratio(mine, other),
        limit=LIMITS[scheme],
        rounds=tuple(one / two for one, two in zip(mine, other, strict=True)),
        note=f"user and system time of all threads and processes, {len(ours)} rounds; ours with a scrape every 15 s; "
        f"requests counted by nginx: {median(cost.per_second for cost in ours):.0f}/s by us, "
        f"{median(cost.per_second for cost in theirs):.0f}/s by them",
    )


def _show(costs: Sequence[Cost]) -> str:
    return f"{median(cost.cpu for cost in costs):.0f} µs, peak {max(cost.peak for cost in costs) / 1e6:.0f} MB"


def _simplemonitor(bench: Bench, site: Site, http: Row) -> Row:
    """Measure it at its own pace, which is slower."""
    with looping(bench.folder("simplemonitor"), urls(site.http, bench.lengths.checks)) as program:
        before = site.requests()
        program.wait_until(lambda: site.requests() - before > 300)
        wait(1.0)
        cost = watch(site, program.cpu, program.peak, bench.lengths.window)
    bench.say(f"CPU per http check, SimpleMonitor: {cost.cpu:.0f} us at {cost.per_second:.0f}/s")
    ours = float(http.ours.split()[0])
    return Row(
        key="cpu.simplemonitor",
        figure="CPU per http check, beside SimpleMonitor",
        ours=http.ours,
        theirs=_show([cost]),
        value=ours / cost.cpu,
        note=f"at the {cost.per_second:.0f} checks/s that it came to",
    )

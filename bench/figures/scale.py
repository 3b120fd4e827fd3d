"""Ten thousand checks: start, memory per check, the metrics page, a reload; and what a check costs as they grow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Thread
from time import monotonic, time

from bench.bench import Bench, wait
from bench.contest import refuse_failures, urls, watch
from bench.nginx import Site, serving
from bench.ours import PLUGINS, Ours, http_checks, running
from bench.table import Row

RATE = 100
"""Checks per second; a check runs at most once a second, so a hundred of them cannot come to more."""
FIRST_RUNS = 31.0
"""Seconds within which every check has run for the first time."""
WATCHER = "stillness"


@dataclass(frozen=True, slots=True)
class Late:
    """A late tick inside the daemon: when it came, how late, how much of that it waited for a core, and had one."""

    at: float
    late: float
    waited: float
    ran: float

    @property
    def held(self) -> float:
        """How long the loop was held."""
        return max(0.0, self.late - self.waited)


@dataclass(frozen=True, slots=True)
class Size:
    """A daemon with so many checks: CPU in us per check, resident bytes after every check ran and a scrape."""

    checks: int
    cpu: float
    memory: int


def measure(bench: Bench) -> list[Row]:
    """Return all rows. The small sizes are measured before and after the large one, so that drift shows."""
    many = bench.lengths.many
    with serving(bench.folder("nginx")) as site:
        small = [_small(bench, site, 100), _small(bench, site, 1000)]
        large, rows = _large(bench, site, many)
        small.append(_small(bench, site, 100))
    return [*rows, _per_check(small[1], large), _flatness([*small, large])]


def _small(bench: Bench, site: Site, count: int) -> Size:
    with _daemon(bench, site, count) as program:
        wait(count / RATE + 2.0)
        cost = watch(site, program.cpu, program.peak, bench.lengths.window)
        refuse_failures(program)
        size = Size(count, cost.cpu, program.memory())
    bench.say(f"{count:,} checks at {RATE}/s: {size.cpu:.0f} us per check, {size.memory / 1e6:.0f} MB")
    return size


@contextmanager
def _daemon(bench: Bench, site: Site, count: int) -> Iterator[Ours]:
    """Run a daemon with so many checks at the common rate, and one that watches its loop when asked to."""
    folder = bench.folder("ours")
    watcher = f"{WATCHER}: {{cron: '0 0 1 1 *', timeout: 2m, {WATCHER}: {{file: {folder}/late.json, seconds: 8}}}}"
    checks = [*http_checks(urls(site.http, count)), watcher]
    with running(folder, count / RATE, checks, top=f"plugins: [{PLUGINS}]") as program:
        yield program


def _large(bench: Bench, site: Site, count: int) -> tuple[Size, list[Row]]:
    with _daemon(bench, site, count) as program:
        wait(FIRST_RUNS)
        start = min(ran.started for ran in program.ran()) - program.born
        bench.say(f"start with {count:,} checks until the first run: {start:.1f} s")
        page = _scrape(bench, program)
        memory = program.memory()
        cost = watch(site, program.cpu, program.peak, bench.lengths.window)
        size = Size(count, cost.cpu, memory)
        bench.say(f"{count:,} checks at {RATE}/s: {size.cpu:.0f} us per check, {size.memory / 1e6:.0f} MB")
        reload = _reload(bench, program)
        refuse_failures(program)
    first = Row(
        key="start",
        figure=f"start with {count:,} checks, until the first run",
        ours=f"{start:.1f} s",
        theirs="",
        value=start,
        unit="s",
        limit=8.0,
        note="from the start of the process; the configuration is read in a child process",
    )
    return size, [first, *reload, *page]


@contextmanager
def _watching(program: Ours, seconds: float) -> Iterator[list[Late]]:
    """Watch the loop from inside while the block runs, or longer; the list is filled when the block has ended."""
    path = program.config.parent / "late.json"
    path.unlink(missing_ok=True)
    found: list[Late] = []
    asking = Thread(target=program.command, args=(f"/checks/{WATCHER}/run",))
    asking.start()
    wait(seconds)
    yield found
    asking.join()
    found += read_late(path)


def read_late(path: Path) -> list[Late]:
    """Return what the watcher wrote."""
    return [Late(*one) for one in json.loads(path.read_text(encoding="ascii"))]


def _worst(found: Sequence[Late], began: float, ended: float) -> Late:
    within = [one for one in found if began <= one.at <= ended + 0.05]
    return max(within, key=lambda one: one.held, default=Late(began, 0.0, 0.0, 0.0))


def _scrape(bench: Bench, program: Ours) -> list[Row]:
    """Scrape for the first time, when the text of every check has to be made."""
    with _watching(program, 1.0) as found:
        began, at, spent = time(), monotonic(), program.cpu()
        size = len(program.page())
        took, spent, ended = monotonic() - at, program.cpu() - spent, time()
    cpu = spent * 1000
    worst = _worst(found, began, ended)
    held = worst.held * 1000
    bench.say(f"/metrics: {cpu:.0f} ms of CPU, {size / 1e6:.1f} MB, loop held {held:.1f} ms")
    note = (
        f"the first page, every check new on it; {size / 1e6:.1f} MB, sent in {took:.2f} s; with the runs of that time"
    )
    name = f"/metrics with {bench.lengths.many:,} checks"
    return [
        Row("metrics.cpu", f"{name}, CPU", f"{cpu:.0f} ms", "", cpu, "ms", 500.0, note=note),
        Row("metrics.held", f"{name}, loop held", f"{held:.1f} ms", "", held, "ms", 10.0, note=_standstill(worst)),
    ]


def _reload(bench: Bench, program: Ours) -> list[Row]:
    """Change one check of all and have it loaded."""
    with _watching(program, 1.0) as found:
        text = program.config.read_text(encoding="utf-8")
        program.config.write_text(text.replace("/?c=17'", "/?changed=17'"), encoding="utf-8")
        children, began, at, spent = program.children_cpu(), time(), monotonic(), program.cpu()
        said = program.command("/reload")
        took, spent, ended = monotonic() - at, program.cpu() - spent, time()
        children = program.children_cpu() - children
    wait(1.2)  # the store writes steady results once a second
    worst = _worst(found, began, ended)
    late = max((ran.late * 1000 for ran in program.ran(began - 0.5, ended + 0.5)), default=0.0)
    held = worst.held * 1000
    bench.say(
        f"{said}: {spent:.2f} s of CPU, child {children:.2f} s, loop held {held:.1f} ms, a run {late:.0f} ms late"
    )
    name = f"reload with one changed check among {bench.lengths.many:,}"
    note = f"took {took:.1f} s, with the runs of that time; beside it the child that validates: {children:.2f} s of CPU"
    return [
        Row("reload.cpu", f"{name}, CPU of the daemon", f"{spent:.2f} s", "", spent, "s", 1.0, note=note),
        Row("reload.held", f"{name}, loop held", f"{held:.1f} ms", "", held, "ms", 20.0, note=_standstill(worst)),
        Row("reload.late", f"{name}, latest run", f"{late:.0f} ms", "", late, "ms", 50.0),
    ]


def _standstill(worst: Late) -> str:
    return (
        f"the longest, as a tick per millisecond inside the daemon saw it; {worst.ran * 1000:.1f} ms of it on a core; "
        f"{worst.waited * 1000:.1f} ms that it waited for a core come on top"
    )


def _per_check(small: Size, large: Size) -> Row:
    each = (large.memory - small.memory) / (large.checks - small.checks) / 1024
    return Row(
        key="memory.check",
        figure="memory per additional check, scraped, after every check ran",
        ours=f"{each:.1f} KiB",
        theirs="",
        value=each,
        unit="KiB",
        limit=8.0,
        note=", ".join(f"{size.memory / 1e6:.0f} MB with {size.checks:,} checks" for size in (small, large)),
    )


def _flatness(sizes: Sequence[Size]) -> Row:
    costs = {count: median(size.cpu for size in sizes if size.checks == count) for count in {s.checks for s in sizes}}
    value = max(costs.values()) / min(costs.values())
    return Row(
        key="flat",
        figure=f"CPU per check as checks grow at a constant {RATE}/s, dearest / cheapest",
        ours=", ".join(f"{cost:.0f} µs with {count:,}" for count, cost in sorted(costs.items())),
        theirs="",
        value=value,
        limit=1.2,
        note="without scrapes, whose cost grows with the checks and stands above",
    )

"""Ten thousand checks: start, memory per check, the metrics page, a reload; and what a check costs as they grow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Thread
from time import monotonic, time

from bench.bench import Bench, wait
from bench.contest import refuse_failures, urls
from bench.nginx import Site, serving
from bench.ours import PLUGINS, Ours, http_checks, running
from bench.table import Row

RATE = 100
"""Checks per second; a check runs at most once a second, so a hundred of them cannot come to more."""
FIRST_RUNS = 31.0
"""Seconds within which every check has run for the first time."""
ROUNDS = 3
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
    """Return all rows."""
    with serving(bench.folder("nginx")) as site, _daemon(bench, site, bench.lengths.many) as program:
        wait(FIRST_RUNS)
        first = _start(bench, program)
        page = _scrape(bench, program)
        sizes = _grow(bench, site, program)
        reload = _reload(bench, program)
        refuse_failures(program)
    return [first, *reload, *page, _per_check(*sizes[1:]), _flatness(sizes)]


def _grow(bench: Bench, site: Site, large: Ours) -> list[Size]:
    """Let daemons of three sizes do the same work side by side, so that what drifts drifts for all of them."""
    few, some, many = 100, 1000, bench.lengths.many
    with _daemon(bench, site, few) as small, _daemon(bench, site, some) as medium:
        programs = {few: small, some: medium, many: large}
        wait(some / RATE + 2.0)
        rounds = [_watch(programs, bench.lengths.window) for _ in range(ROUNDS)]
        for program in programs.values():
            refuse_failures(program)
        sizes = [Size(n, median(one[n] for one in rounds), program.memory()) for n, program in programs.items()]
    for size in sizes:
        bench.say(f"{size.checks:,} checks at {RATE}/s: {size.cpu:.0f} us per check, {size.memory / 1e6:.0f} MB")
    return sizes


def _watch(programs: Mapping[int, Ours], seconds: float) -> dict[int, float]:
    """Return the microseconds of CPU that a check takes in each of the daemons."""
    began, used = time(), {count: program.cpu() for count, program in programs.items()}
    wait(seconds)
    ended, spent = time(), {count: program.cpu() - used[count] for count, program in programs.items()}
    wait(1.2)  # the store writes steady results once a second
    return {count: spent[count] / len(program.ran(began, ended)) * 1e6 for count, program in programs.items()}


@contextmanager
def _daemon(bench: Bench, site: Site, count: int) -> Iterator[Ours]:
    """Run a daemon with so many checks at the common rate, and one that watches its loop when asked to."""
    folder = bench.folder("ours")
    watcher = f"{WATCHER}: {{cron: '0 0 1 1 *', timeout: 2m, {WATCHER}: {{file: {folder}/late.json, seconds: 8}}}}"
    checks = [*http_checks(urls(site.http, count)), watcher]
    with running(folder, count / RATE, checks, top=f"plugins: [{PLUGINS}]") as program:
        yield program


def _start(bench: Bench, program: Ours) -> Row:
    count, start = bench.lengths.many, min(ran.started for ran in program.ran()) - program.born
    bench.say(f"start with {count:,} checks until the first run: {start:.1f} s")
    return Row(
        key="start",
        figure=f"start with {count:,} checks, until the first run",
        ours=f"{start:.1f} s",
        theirs="",
        value=start,
        unit="s",
        limit=8.0,
        note="from the start of the process; the configuration is read in a child process",
    )


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
    costs = [size.cpu for size in sizes]
    return Row(
        key="flat",
        figure=f"CPU per check as checks grow at a constant {RATE}/s, dearest / cheapest",
        ours=", ".join(f"{size.cpu:.0f} µs with {size.checks:,}" for size in sizes),
        theirs="",
        value=max(costs) / min(costs),
        limit=1.2,
        note="side by side, at the same time; without scrapes, whose cost grows with the checks and stands above",
    )

"""The families of checks, as Prometheus' text format 0.0.4 written by ourselves: a view of the state.

prometheus_client takes seconds for ten thousand checks. Here the values of all checks are noted first, a few words
for each, and then written family by family, as the format demands, in slices between which the event loop runs.
Nothing of the text is kept: to write a line again costs hardly more than to copy it, and the text of a check is many
times as large as its values. Nothing is registered, so nothing has to be taken back: what is not in the state is not
on the page.

A page shows each check as it was at one moment, however slowly it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import repeat
from time import perf_counter

from heartbeat.config.model import CheckConfig
from heartbeat.core.model import Outcome
from heartbeat.core.status import has_incident
from heartbeat.metrics.columns import Columns, Series, has_more
from heartbeat.state import Live, State

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
CHUNK = 128 * 1024
"""A chunk of the page has about this many bytes at most."""
SLICE = 0.001
"""Seconds of work after which the loop may breathe. All runs are measured on this loop, so it is as short as pays."""
STEP = 50
"""Checks that are taken together between two looks at the clock: a hundred microseconds of work."""

Family = tuple[str, str, str]
"""Name, type and documentation."""

EVERY: tuple[Family, ...] = (
    ("heartbeat_check_info", "gauge", "A configured check, with its labels."),
    ("heartbeat_check_up", "gauge", "Whether the target was good in the latest run that says anything about it."),
    ("heartbeat_check_severity", "gauge", "How bad it is after the policy: 0 ok, 1 warn, 2 fail."),
    ("heartbeat_check_broken", "gauge", "Whether the check itself is bad, so that nothing is known of the target."),
    ("heartbeat_check_runs_total", "counter", "Runs by outcome."),
    ("heartbeat_check_run_duration_seconds", "histogram", "How long the runs took."),
    ("heartbeat_check_phase_seconds", "gauge", "How long the phases of the latest run took."),
    ("heartbeat_check_timeout_seconds", "gauge", "The deadline of each run."),
    ("heartbeat_check_last_run_timestamp_seconds", "gauge", "When the latest run ended."),
    ("heartbeat_check_last_success_timestamp_seconds", "gauge", "When the latest run ended that was ok."),
    ("heartbeat_check_failure_info", "gauge", "Why the latest run was not ok; absent when it was."),
)
"""What is said of every check, as far as it is known."""
SELDOM: tuple[Family, ...] = (
    ("heartbeat_check_absent", "gauge", "1 while the check does not run, so that nothing is known of its target."),
    ("heartbeat_check_flapping", "gauge", "1 while the state of the check changes too often to tell each time."),
    ("heartbeat_check_acknowledged", "gauge", "1 while somebody takes care of all that is wrong with the check."),
    ("heartbeat_check_suppressed", "gauge", "1 while messages on the check are kept back, by reason."),
    (
        "heartbeat_check_error_budget_left_ratio",
        "gauge",
        "Error budget left of the objective; below 0 it is overdrawn.",
    ),
    ("heartbeat_check_recovered_on_recheck_total", "counter", "Failures that a second look soon after did not find."),
)
"""What is said only of the checks that it is true of, or that it can be."""
FAMILIES = (*EVERY, *SELDOM)


Known = tuple[CheckConfig, str, bool]
"""What follows from a check's configuration alone: its labels, and whether more is said of it than of every check."""


@dataclass(slots=True)
class Page:
    """Writes the page. Of the text it remembers the labels alone.

    ``redact`` is applied to label values, once per configuration. ``clock`` counts seconds, to tell a slice's end.
    ``suppressed`` returns a word for what keeps messages on a check back, if anything does; it is asked of checks with
    something open, and of all while there is anything ``quiet`` at all.
    """

    state: State
    location: Callable[[], str]
    buckets: Callable[[], tuple[float, ...]]
    redact: Callable[[str], str] = str
    clock: Callable[[], float] = perf_counter
    suppressed: Callable[[Live], str] = lambda _: ""
    quiet: Callable[[], bool] = lambda: False
    _labels: dict[str, Known] = field(default_factory=dict)
    _location: str = ""
    """The one that stands in these labels."""

    def slices(self) -> Iterator[bytes]:
        """Yield the page in chunks of about ``CHUNK`` bytes or ``SLICE`` seconds; some are empty, to let others run."""
        text: list[str] = []
        size, until = 0, self.clock() + SLICE
        for piece in self._pieces():
            text.append(piece)
            size += len(piece)
            if size >= CHUNK or self.clock() >= until:
                yield _encode(text)
                text.clear()
                size, until = 0, self.clock() + SLICE
        yield _encode(text)

    def _pieces(self) -> Iterator[str]:
        """Yield the page in small pieces, the first of them empty: then the values of all checks are noted."""
        columns, checks = Columns(tuple(self.buckets())), self.state.checks
        if self._location != (location := self.location()):
            self._location, self._labels = location, {}
        known, suppressed, quiet = self._labels, self.suppressed, self.quiet()
        lives = list(checks.values())
        for start in range(0, len(lives), STEP):
            for live in lives[start : start + STEP]:
                _, labels, more = self._know(live.config, location, known)
                is_open = has_incident(live.status)
                columns.note(live, labels, suppressed(live) if is_open or quiet else "")
                if is_open:
                    columns.note_incidents(live.status, labels)
                if more:
                    columns.note_more(live, labels)
            yield ""
        for name in known.keys() - checks.keys() if len(known) > len(checks) else ():
            del known[name]
        yield from _families(columns)

    def _know(self, config: CheckConfig, location: str, known: dict[str, Known]) -> Known:
        kept = known.get(config.name)
        if kept is None or kept[0] is not config:
            kept = known[config.name] = config, make_labels(config, location, self.redact), has_more(config)
        return kept


def _encode(text: Sequence[str]) -> bytes:
    return "".join(text).encode(errors="replace")


def make_labels(config: CheckConfig, location: str, redact: Callable[[str], str] = str) -> str:
    """Return the inside of the braces, which only a check's configuration decides.

    The names of labels are not looked at: they were checked when the configuration was loaded.
    """
    named = {"check": config.name, "type": config.type, "location": location}
    return ",".join(
        f'{key}="{escape(redact(value))}"'
        for key, value in (*named.items(), *sorted(config.labels.items()))
        if value or key in ("check", "type")
    )


def escape(value: str) -> str:
    """Escape a label's value as the text format wants it."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


Lines = Callable[[str, Columns, slice], list[str]]
"""Writes the lines of a family (by its name) for some of the checks."""


def _gauge(name: str, labels: Iterable[str], values: Iterable[float | None]) -> list[str]:
    return [f"{name}{{{label}}} {value!r}\n" for label, value in zip(labels, values, strict=False) if value is not None]


def _runs(name: str, columns: Columns, at: slice) -> list[str]:
    counts = iter(columns.runs[at.start * len(Outcome) : at.stop * len(Outcome)])
    rows = zip(columns.labels[at], counts, counts, counts, counts, strict=True)
    return [
        f'{name}{{{label},outcome="ok"}} {ok}\n'
        f'{name}{{{label},outcome="fail"}} {fail}\n'
        f'{name}{{{label},outcome="error"}} {error}\n'
        f'{name}{{{label},outcome="missed"}} {missed}\n'
        for label, ok, fail, error, missed in rows
    ]


def _histogram(name: str, columns: Columns, at: slice) -> list[str]:
    ends = _ends(columns.bounds)
    counts = iter(columns.buckets[at.start * len(ends) : at.stop * len(ends)])
    lines = []
    for label, spent in zip(columns.labels[at], columns.spent[at], strict=True):
        head, total = f"{name}_bucket{{{label}", 0
        for end, count in zip(ends, counts, strict=False):  # takes as many counts as there are ends
            total += count
            lines.append(f"{head}{end}{total}\n")
        lines.append(f"{name}_sum{{{label}}} {spent!r}\n{name}_count{{{label}}} {total}\n")
    return lines


def _phases(name: str, columns: Columns, at: slice) -> list[str]:
    rows = zip(columns.labels[at], columns.phases[at], strict=True)
    return [f"{name}{{{label}{_end(phase)}{value!r}\n" for label, phases in rows for phase, value in phases.items()]


def _failures(name: str, columns: Columns, at: slice) -> list[str]:
    rows = zip(columns.labels[at], columns.failure[at], strict=True)
    return [f'{name}{{{label},reason="{reason}"}} 1\n' for label, reason in rows if reason is not None]


@lru_cache(maxsize=1024)
def _end(phase: str) -> str:
    return f',phase="{escape(phase)}"}} '


@lru_cache(maxsize=4)
def _ends(bounds: tuple[float, ...]) -> tuple[str, ...]:
    """Return the lines of a histogram's buckets from the labels up to the value."""
    return tuple(f',le="{bound}"}} ' for bound in (*(repr(float(bound)) for bound in bounds), "+Inf"))


LINES: tuple[Lines, ...] = (
    lambda name, columns, at: _gauge(name, columns.labels[at], repeat(1)),
    lambda name, columns, at: _gauge(name, columns.labels[at], columns.up[at]),
    lambda name, columns, at: _gauge(name, columns.labels[at], columns.severity[at]),
    lambda name, columns, at: _gauge(name, columns.labels[at], columns.broken[at]),
    _runs,
    _histogram,
    _phases,
    lambda name, columns, at: _gauge(name, columns.labels[at], columns.timeout[at]),
    lambda name, columns, at: _gauge(name, columns.labels[at], columns.last_run[at]),
    lambda name, columns, at: _gauge(name, columns.labels[at], columns.last_success[at]),
    _failures,
)
"""How the lines of each family of ``EVERY`` are written."""


def _families(columns: Columns) -> Iterator[str]:
    for family, lines in zip(EVERY, LINES, strict=True):
        yield from _family(_head(*family), len(columns.labels), partial(lines, family[0], columns))
    for family in SELDOM:
        if family[0] in columns.seldom:
            yield from _series(family, columns.seldom[family[0]])
    for measured, series in sorted(columns.measured.items()):
        yield from _series(
            (f"heartbeat_probe_{measured}", "gauge", f"What the latest run measured as {measured}."), series
        )


def _head(name: str, kind: str, documentation: str) -> str:
    return f"# HELP {name} {documentation}\n# TYPE {name} {kind}\n"


def _series(family: Family, series: Series) -> Iterator[str]:
    """Yield a family of its own lists of labels and values."""
    labels, values = series
    return _family(_head(*family), len(labels), lambda at: _gauge(family[0], labels[at], values[at]))


def _family(head: str, count: int, lines: Callable[[slice], list[str]]) -> Iterator[str]:
    """Yield a family of so many checks in pieces; its head only where there is a line."""
    for start in range(0, count, STEP):
        body = "".join(lines(slice(start, start + STEP)))
        yield head + body if body else ""
        head = "" if body else head

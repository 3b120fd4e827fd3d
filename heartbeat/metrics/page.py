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
from heartbeat.metrics.columns import Columns
from heartbeat.state import State

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
CHUNK = 128 * 1024
"""A chunk of the page has about this many bytes at most."""
SLICE = 0.001
"""Seconds of work after which the loop may breathe. All runs are measured on this loop, so it is as short as pays."""
STEP = 50
"""Checks that are taken together between two looks at the clock: a hundred microseconds of work."""

FAMILIES: tuple[tuple[str, str, str], ...] = (
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


@dataclass(slots=True)
class Page:
    """Writes the page. Of the text it remembers the labels alone.

    ``redact`` is applied to label values, once per configuration. ``clock`` counts seconds, to tell a slice's end.
    """

    state: State
    location: Callable[[], str]
    buckets: Callable[[], tuple[float, ...]]
    redact: Callable[[str], str] = str
    clock: Callable[[], float] = perf_counter
    _labels: dict[str, tuple[CheckConfig, str]] = field(default_factory=dict)
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
        known = self._labels
        lives = list(checks.values())
        for start in range(0, len(lives), STEP):
            for live in lives[start : start + STEP]:
                columns.note(live, self._label(live.config, location, known))
            yield ""
        for name in known.keys() - checks.keys() if len(known) > len(checks) else ():
            del known[name]
        yield from _families(columns)

    def _label(self, config: CheckConfig, location: str, known: dict[str, tuple[CheckConfig, str]]) -> str:
        kept = known.get(config.name)
        if kept is None or kept[0] is not config:
            kept = known[config.name] = config, make_labels(config, location, self.redact)
        return kept[1]


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
"""How the lines of each of ``FAMILIES`` are written."""


def _families(columns: Columns) -> Iterator[str]:
    for (name, kind, documentation), lines in zip(FAMILIES, LINES, strict=True):
        head = f"# HELP {name} {documentation}\n# TYPE {name} {kind}\n"
        yield from _family(head, len(columns.labels), partial(lines, name, columns))
    for measured, (labels, values) in sorted(columns.measured.items()):
        name = f"heartbeat_probe_{measured}"
        head = f"# HELP {name} What the latest run measured as {measured}.\n# TYPE {name} gauge\n"
        yield from _family(head, len(labels), partial(_measurements, name, labels, values))


def _measurements(name: str, labels: list[str], values: list[float], at: slice) -> list[str]:
    return _gauge(name, labels[at], values[at])


def _family(head: str, count: int, lines: Callable[[slice], list[str]]) -> Iterator[str]:
    """Yield a family of so many checks in pieces; its head only where there is a line."""
    for start in range(0, count, STEP):
        body = "".join(lines(slice(start, start + STEP)))
        yield head + body if body else ""
        head = "" if body else head

"""The families of checks, as Prometheus' text format 0.0.4 written by ourselves: a view of the state.

prometheus_client takes seconds for ten thousand checks. Here each check keeps the text of its series until it
changes, and the page is put together in slices between which the event loop runs. Nothing is registered, so nothing
has to be taken back: what is not in the state is not on the page.

The format demands that all lines of a family stand together, so the text of a check is kept per family. A page shows
each check as it was at one moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, islice
from math import isfinite
from typing import NamedTuple

from heartbeat.config.model import CheckConfig
from heartbeat.core.model import Outcome
from heartbeat.state import Live, State

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
CHUNK = 128 * 1024
"""A chunk of the page is about this many bytes, and so takes well under a millisecond to put together."""
RENDERED_AT_ONCE = 50
"""Checks whose text is made anew between two breathing points, about a millisecond of work."""

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


class Fragment(NamedTuple):
    """The text of one check: one entry for each of ``FAMILIES``, and one for each measurement by name."""

    live: Live
    prefixes: Prefixes
    version: int
    families: tuple[str, ...]
    measurements: dict[str, str]


class Prefixes(NamedTuple):
    """What stays the same of a check's lines while its configuration does."""

    config: CheckConfig
    location: str
    buckets: tuple[float, ...]
    labels: str
    """The inside of the braces."""
    plain: tuple[str, ...]
    """For each of ``FAMILIES`` the line up to its value."""
    outcomes: tuple[tuple[Outcome, str], ...]
    le: tuple[str, ...]
    """For each bucket of the histogram the line up to its value."""


@dataclass(slots=True)
class Page:
    """Writes the page, and remembers the text of checks that did not change.

    ``redact`` is applied to label values, once per configuration.
    """

    state: State
    location: Callable[[], str]
    buckets: Callable[[], tuple[float, ...]]
    redact: Callable[[str], str] = str
    _fragments: dict[str, Fragment] = field(default_factory=dict)

    def slices(self) -> Iterator[bytes]:
        """Yield the page in chunks of about ``CHUNK`` bytes; empty ones are only there to let others run."""
        fragments: list[Fragment] = []
        measured: dict[str, list[str]] = {}
        yield from self._refresh(fragments, measured)
        text: list[str] = []
        size = 0
        for piece in _pieces(fragments, measured):
            text.append(piece)
            size += len(piece)
            if size >= CHUNK:
                yield _encode(text)
                text, size = [], 0
        if text:
            yield _encode(text)

    def _refresh(self, fragments: list[Fragment], measured: dict[str, list[str]]) -> Iterator[bytes]:
        """Bring every fragment up to date, and sort the texts of measurements by name; yield to let others run."""
        location, buckets, known = self.location(), tuple(self.buckets()), self._fragments
        made = 0
        for count, (name, live) in enumerate(list(self.state.checks.items()), 1):
            fragment = known.get(name)
            if fragment is None or not _is_current(fragment, live, location, buckets):
                fragment = known[name] = self._render(live, fragment, location, buckets)
                made += 1
            fragments.append(fragment)
            for measurement, text in fragment.measurements.items():
                measured.setdefault(measurement, []).append(text)
            if count % 1000 == 0 or made >= RENDERED_AT_ONCE:
                made = 0
                yield b""
        if len(known) > len(self.state.checks):
            self._fragments = {name: known[name] for name in self.state.checks if name in known}

    def _render(self, live: Live, old: Fragment | None, location: str, buckets: tuple[float, ...]) -> Fragment:
        prefixes = old.prefixes if old else None
        if prefixes is None or not _are_current(prefixes, live, location, buckets):
            prefixes = make_prefixes(live.config, location, buckets, self.redact)
        return Fragment(live, prefixes, live.version, _families(live, prefixes), _measurements(live, prefixes))


def _is_current(fragment: Fragment, live: Live, location: str, buckets: tuple[float, ...]) -> bool:
    return (
        fragment.live is live
        and fragment.version == live.version
        and _are_current(fragment.prefixes, live, location, buckets)
    )


def _are_current(prefixes: Prefixes, live: Live, location: str, buckets: tuple[float, ...]) -> bool:
    return prefixes.config is live.config and prefixes.location == location and prefixes.buckets == buckets


def _encode(text: Sequence[str]) -> bytes:
    return "".join(text).encode(errors="replace")


def _pieces(fragments: Sequence[Fragment], measured: Mapping[str, list[str]]) -> Iterator[str]:
    """Yield the page in small pieces, family by family."""
    for index, (name, kind, documentation) in enumerate(FAMILIES):
        texts = (fragment.families[index] for fragment in fragments)
        yield from _family(name, kind, documentation, texts)
    for name in sorted(measured):
        yield from _family(
            f"heartbeat_probe_{name}", "gauge", f"What the latest run measured as {name}.", measured[name]
        )


def _family(name: str, kind: str, documentation: str, texts: Iterable[str]) -> Iterator[str]:
    head = f"# HELP {name} {documentation}\n# TYPE {name} {kind}\n"
    rest = iter(texts)
    while batch := list(islice(rest, 100)):
        if body := "".join(batch):
            yield head + body
            head = ""


def make_prefixes(
    config: CheckConfig, location: str, buckets: tuple[float, ...], redact: Callable[[str], str] = str
) -> Prefixes:
    """Return the parts of a check's lines that only its configuration decides.

    The names of labels are not looked at: they were checked when the configuration was loaded.
    """
    named = {"check": config.name, "type": config.type, "location": location}
    labels = ",".join(
        f'{key}="{escape(redact(value))}"'
        for key, value in (*named.items(), *sorted(config.labels.items()))
        if value or key in ("check", "type")
    )
    bounds = (*(_number(bound) for bound in buckets), "+Inf")
    return Prefixes(
        config,
        location,
        buckets,
        labels,
        tuple(f"{name}{{{labels}}} " for name, _, _ in FAMILIES),
        tuple((outcome, f'heartbeat_check_runs_total{{{labels},outcome="{outcome}"}} ') for outcome in Outcome),
        tuple(f'heartbeat_check_run_duration_seconds_bucket{{{labels},le="{bound}"}} ' for bound in bounds),
    )


def escape(value: str) -> str:
    """Escape a label's value as the text format wants it."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def is_broken(live: Live) -> bool:
    """Say whether the check itself is bad: its latest run says so, or its status has not recovered from it."""
    return live.status.broken or (live.verdict is not None and live.verdict.outcome is Outcome.ERROR)


def _families(live: Live, prefixes: Prefixes) -> tuple[str, ...]:
    """Return the text for each of ``FAMILIES``, in their order; empty where there is nothing to say."""
    plain, ran = prefixes.plain, live.last_run is not None
    return (
        f"{plain[0]}1\n",
        "" if live.up is None else f"{plain[1]}{live.up:d}\n",
        f"{plain[2]}{live.severity:d}\n" if ran else "",
        f"{plain[3]}{is_broken(live):d}\n" if ran else "",
        "".join([f"{prefix}{live.runs.get(outcome, 0)}\n" for outcome, prefix in prefixes.outcomes]),
        _histogram(live, prefixes),
        _phases(live, prefixes),
        f"{plain[7]}{_number(live.config.timeout)}\n",
        "" if live.last_run is None else f"{plain[8]}{_number(live.last_run)}\n",
        "" if live.last_success is None else f"{plain[9]}{_number(live.last_success)}\n",
        _failure(live, prefixes),
    )


def _histogram(live: Live, prefixes: Prefixes) -> str:
    # Counts that were kept for other bounds, before a reload, say nothing about these.
    known = live.buckets if live.bounds == prefixes.buckets else [0] * len(prefixes.le)
    counts = list(accumulate(known))
    lines = [f"{prefix}{count}\n" for prefix, count in zip(prefixes.le, counts, strict=True)]
    name, labels, total = "heartbeat_check_run_duration_seconds", prefixes.labels, counts[-1]
    spent = _number(live.duration_sum if total else 0.0)
    return "".join([*lines, f"{name}_sum{{{labels}}} {spent}\n{name}_count{{{labels}}} {total}\n"])


def _phases(live: Live, prefixes: Prefixes) -> str:
    if live.result is None or not live.result.phases:
        return ""
    head = f"heartbeat_check_phase_seconds{{{prefixes.labels},phase="
    return "".join([f'{head}"{escape(name)}"}} {_number(value)}\n' for name, value in live.result.phases.items()])


def _failure(live: Live, prefixes: Prefixes) -> str:
    if live.verdict is None or live.verdict.reason is None:
        return ""
    return f'heartbeat_check_failure_info{{{prefixes.labels},reason="{live.verdict.reason}"}} 1\n'


def _measurements(live: Live, prefixes: Prefixes) -> dict[str, str]:
    if live.result is None:
        return {}
    return {
        name: f"heartbeat_probe_{name}{{{prefixes.labels}}} {_number(value)}\n"
        for name, value in live.result.measurements.items()
        if isfinite(value)
    }


def _number(value: float) -> str:
    return repr(float(value))

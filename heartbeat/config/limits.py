"""Limits in the configuration: ``duration: {warn: 800ms, fail: 2s}``, ``p95 duration 10m: {warn: 500ms}``."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from heartbeat.config.levels import Domain, Parse, parse_count, parse_number, per_second, read_levels, signed
from heartbeat.config.problem import nearest, quoted
from heartbeat.config.reading import Spot, Wrong, refuse_key
from heartbeat.core.limits import AVAILABILITY, COUNT, Limit, is_time
from heartbeat.core.model import Outcome
from heartbeat.core.units import format_duration, parse_duration, parse_ratio, parse_size
from heartbeat.records import MEASUREMENT, PHASE, RESERVED

SHORTEST, LONGEST = 1.0, 366 * 86400.0
_PERCENTILE = re.compile(r"p(?!0+(\.0+)?$)[0-9]{1,2}(\.[0-9]{1,3})?")
AGGREGATES = ("min", "max", "mean", "p50", "p95", "p99", "rate", "delta", AVAILABILITY, COUNT)
_OTHER_AGGREGATES = {"avg": "mean", "average": "mean", "median": "p50", "minimum": "min", "maximum": "max",
                     "increase": "delta", "change": "delta", "derivative": "rate", "uptime": AVAILABILITY,
                     "number": COUNT, "percentile": "p95"}  # fmt: skip
_OTHER_WORDS = {"latency": "duration", "response_time": "duration", "time": "duration", "uptime": AVAILABILITY}
_OUTCOMES = tuple(outcome.value for outcome in Outcome)
_OTHER_OUTCOMES = {"failed": "fail", "failure": "fail", "failures": "fail", "errors": "error", "success": "ok"}


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a key names: one measure of the current run, or what is made of a window."""

    measure: str
    aggregate: str = ""
    window: float = 0.0


def limits(spot: Spot) -> tuple[Limit, ...]:
    """Read all limits of a check."""
    found: dict[_Subject, Limit] = {}
    for key, child in spot.entries().items():
        subject = _subject(key, child)
        if subject is None:
            continue
        if subject in found:
            child.wrong(f"says the same as {quoted(found[subject].name)}", child.key)
            continue
        found[subject] = _limit(key, subject, child)
    return tuple(found.values())


def check_windows(spot: Spot, limits: tuple[Limit, ...], interval: float | None) -> None:
    """Note what can never come true at the check's interval.

    Args:
        spot: the mapping that the limits were read from.
        limits: the limits of the check.
        interval: seconds between two of its runs; None for cron.
    """
    entries = spot.entries()
    for limit in limits:
        if limit.window and interval and (objection := _object(limit, interval)):
            entries[limit.name].wrong(objection, entries[limit.name].key)


def _object(limit: Limit, interval: float) -> str:
    """Say what is wrong with a window of a check that runs at an interval, or nothing."""
    fits = int(limit.window / interval + 1e-9)
    window, every = format_duration(limit.window), format_duration(interval)
    if not fits:
        return f"the window ({window}) is shorter than every ({every})"
    if limit.aggregate in ("rate", "delta") and fits < 2:
        return f"{limit.aggregate} needs two runs: the window ({window}) must be at least twice every ({every})"
    if limit.samples > fits:
        return f"never has {limit.samples} samples: {fits} runs fit into {window}"
    if limit.aggregate == COUNT and any(bound.above is not None and bound.above > fits for bound in limit.bounds):
        return f"never fires: {fits} runs fit into {window}"
    return ""


def _limit(key: str, subject: _Subject, spot: Spot) -> Limit:
    unit, domain = domain_of(subject.measure, subject.aggregate)
    bounds, samples = read_levels(spot, domain, windowed=bool(subject.window) and subject.aggregate != COUNT)
    limit = Limit(subject.measure, bounds, unit, subject.aggregate, subject.window, samples)
    return limit if limit.name == key else replace(limit, key=key)


def _subject(key: str, spot: Spot) -> _Subject | None:
    """Return what a key names; None where it names nothing, which is noted."""
    words = key.split()
    if len(words) > 1:
        try:
            return _over_time(words)
        except Wrong as wrong:
            spot.wrong(str(wrong), spot.key)
            return None
    if key == AVAILABILITY:
        spot.wrong("needs a window: write availability 1h", spot.key)
        return None
    if is_measure(key):
        return _Subject(key)
    refuse_key(spot, key, ("duration", "phase.NAME", *AGGREGATES), _OTHER_WORDS)
    return None


def _over_time(words: list[str]) -> _Subject:
    aggregate, *rest = words
    if aggregate not in AGGREGATES and not _PERCENTILE.fullmatch(aggregate):
        hint = nearest(aggregate, AGGREGATES, _OTHER_AGGREGATES) or f"; use {', '.join(AGGREGATES)}"
        raise Wrong(f"unknown aggregate {quoted(aggregate)}{hint}")
    shape, example = _SHAPES.get(aggregate, ("MEASURE WINDOW", "duration 10m"))
    if len(rest) != len(shape.split()):
        raise Wrong(f'must be written "{aggregate} {shape}", such as "{aggregate} {example}"')
    measure = rest[0] if len(rest) == 2 else ""
    if aggregate == COUNT and measure not in _OUTCOMES:
        raise Wrong(f"unknown outcome {quoted(measure)}{nearest(measure, _OUTCOMES, _OTHER_OUTCOMES)}")
    if measure and aggregate != COUNT and not is_measure(measure):
        raise Wrong(f"unknown measure {quoted(measure)}{nearest(measure, ('duration', 'phase.NAME'), _OTHER_WORDS)}")
    return _Subject(measure, aggregate, _window(rest[-1]))


_SHAPES = {AVAILABILITY: ("WINDOW", "1h"), COUNT: ("OUTCOME WINDOW", "fail 1h")}


def _window(text: str) -> float:
    try:
        window = parse_duration(text)
    except ValueError as error:
        raise Wrong(f"the window {error}, not {quoted(text)}") from None
    if not SHORTEST <= window <= LONGEST:
        raise Wrong(f"the window must be from {format_duration(SHORTEST)} to {format_duration(LONGEST)}")
    return window


def is_measure(name: str) -> bool:
    """Say whether a run can measure something under this name."""
    if name.startswith("phase."):
        return PHASE.fullmatch(name.removeprefix("phase.")) is not None
    return name == "duration" or (MEASUREMENT.fullmatch(name) is not None and name not in RESERVED)


def unit_of(measure: str) -> tuple[str, Parse]:
    """Return how values of a measure are written in messages, and what parses them."""
    if measure.endswith("_timestamp_seconds"):
        return "", parse_number
    if is_time(measure) or measure.endswith("_seconds"):
        return "s", parse_duration
    if measure.endswith("_bytes"):
        return "B", parse_size
    return ("ratio", parse_ratio) if measure.endswith("_ratio") else ("", parse_number)


def domain_of(measure: str, aggregate: str) -> tuple[str, Domain]:
    """Return how values of a limit are written in messages, and which can be."""
    if aggregate == AVAILABILITY:
        return "ratio", Domain(parse_ratio, lowest=0.0, highest=1.0, bare=False)
    if aggregate == COUNT:
        return "", Domain(parse_count, lowest=0.0)
    unit, parse = unit_of(measure)
    if aggregate == "rate":
        return f"{unit}/s", Domain(per_second(parse), lowest=0.0)
    if aggregate == "delta":
        return unit, Domain(signed(parse))
    if is_time(measure):
        return unit, Domain(parse, lowest=0.0, reaches_lowest=False)
    return unit, Domain(parse, lowest=0.0) if unit == "B" else Domain(parse)

"""What a plugin may record: names, values, and how many of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from math import isfinite

MEASUREMENTS_PER_RUN = 100
RESERVED = frozenset({"duration", "up", "severity", "info", "broken", "availability", "runs", "failure_info"})
MEASUREMENT = re.compile(r"[a-z][a-z0-9_]{0,63}")
PHASE = re.compile(r"[a-z][a-z0-9_]{0,31}(\.[a-z][a-z0-9_]{0,31}){0,3}")
# What promtool's linter objects to on a gauge: a suffix that means another type, or a unit that is not a base unit.
BAD_SUFFIXES = ("_total", "_count", "_sum", "_bucket", "_info")
BAD_WORDS = re.compile(
    r"(^|_)(s|ms|us|ns|sec|b|kb|mb|gb|tb|pb|m|h|d|gauge|counter|histogram|summary|minutes|hours|days|weeks|bits"
    r"|(milli|micro|nano|kilo|mega)(seconds|bytes|bits|meters)|(ki|me|gi|te)bi(bytes|bits)|fahrenheit)(_|$)"
)


def is_number(value: object) -> bool:
    """Say whether a value is a finite number."""
    return isinstance(value, (int, float)) and isfinite(value)


def short(value: object) -> str:
    """Return a value as it is shown in a sentence."""
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"


@lru_cache(maxsize=1024)
def is_phase(name: str) -> bool:
    """Say whether a phase can have this name."""
    return PHASE.fullmatch(name) is not None


@lru_cache(maxsize=1024)
def _name_problem(name: str) -> str:
    """Say why a measurement cannot have this name, or nothing; the same few names come in every run."""
    if not MEASUREMENT.fullmatch(name):
        return f"the measurement {short(name)} is no lower-case word"
    if name in RESERVED:
        return f"the measurement {name} has a reserved name"
    if name.endswith(BAD_SUFFIXES) or BAD_WORDS.search(name):
        return f"the measurement {name} must be in a base unit and not end like a counter (_seconds, _bytes, _ratio)"
    return ""


def objection(name: object, value: object, taken: Mapping[str, float]) -> str:
    """Say why a measurement cannot be taken, or nothing."""
    if not isinstance(name, str):
        return f"the measurement {short(name)} is no lower-case word"
    if problem := _name_problem(name):
        return problem
    if not is_number(value):
        return f"the measurement {name} is {short(value)}, not a finite number"
    if name not in taken and len(taken) >= MEASUREMENTS_PER_RUN:
        return f"more than {MEASUREMENTS_PER_RUN} measurements"
    return ""

"""What a plugin may record: names, values, and how many of them."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from functools import lru_cache
from itertools import count
from math import isfinite
from unicodedata import normalize

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
NAME_CHARACTERS = 48
"""Of a name that is made of foreign words: as a step of a flow the check's measurements get its name before theirs."""


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


def measurement_name(label: str, unit: str = "", taken: Container[str] = ()) -> str:
    """Return a name that a measurement can have, made of foreign words, such as a label or the name of a column.

    The same words give the same name. A word that no name may hold (``ms``, or one that begins with a digit where it
    comes first) gets an ``x`` before it, an ending that means another kind of metric gets ``_value`` behind it.

    Args:
        label: whatever somebody called it.
        unit: the base unit it is in (``seconds``, ``bytes``, ``ratio``), or another word to end with.
        taken: names that are in use: then it is numbered.
    """
    words = re.findall("[a-z0-9]+", normalize("NFKD", label).encode("ascii", "ignore").decode().lower())
    if unit and len(words) > 1 and (words[-1] == unit or (len(words[-1]) > 1 and BAD_WORDS.search(words[-1]))):
        words.pop()
    words = ["x" + word if BAD_WORDS.search(word) else word for word in words] or ["value"]
    stem = "_".join(words)
    stem = (stem if stem[0].isalpha() else f"x{stem}")[: NAME_CHARACTERS - len(unit)].rstrip("_")
    if BAD_WORDS.search(stem):  # of a word that was cut off
        stem = stem.rpartition("_")[0]
    for number in count(1):
        name = "_".join(part for part in (stem, str(number) if number > 1 else "", unit) if part)
        if name.endswith(BAD_SUFFIXES) or name in RESERVED:
            name += "_value"
        if name not in taken:
            return name
    raise AssertionError("numbers do not end")

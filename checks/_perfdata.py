"""What Nagios plugins write: a text, and behind a bar what they measured (Monitoring Plugins Development Guidelines).

``DISK OK - 74 % free;| /=27812429824B;243497277849;257024904396;0;270552530944``: label, value, unit, the ranges that
warn and are critical, the least and the most there can be. Also as it is found in the field: decimal commas, labels
with blanks and no quotes, units behind thresholds, minutes and kibibytes. It is a stranger's text, of any length:
nothing here takes more time than in proportion to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from math import inf, isfinite

from heartbeat import measurement_name

_NUMBER = r"[-+]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][-+]?[0-9]+)?"
_BLANK, _WORD = re.compile(r"\s|\Z"), re.compile(r"\S|\Z")
_QUOTED = re.compile(r"'((?:[^']|'')*+)'\s*=")
_VALUE = re.compile(rf"({_NUMBER})([^0-9;'\".,\s]*)")
_RANGE = re.compile(rf"(@?)(?:(~|{_NUMBER})?:)?({_NUMBER})?[^0-9;:'\".,\s]*")

_UNITS: dict[str, tuple[float, str]] = {
    "s": (1, "seconds"),
    "ms": (1e-3, "seconds"),
    **dict.fromkeys(("us", "µs", "μs"), (1e-6, "seconds")),
    "ns": (1e-9, "seconds"),
    "m": (60, "seconds"),
    "min": (60, "seconds"),
    "h": (3600, "seconds"),
    "d": (86400, "seconds"),
    "%": (0.01, "ratio"),
    "c": (1, ""),
    "": (1, ""),
    "B": (1, "bytes"),
    "b": (1 / 8, "bytes"),
}
for _power, _letter in enumerate("KMGTPE", 1):
    for _prefix in (_letter, _letter.lower()):
        _UNITS[f"{_prefix}B"], _UNITS[f"{_prefix}b"] = (1000.0**_power, "bytes"), (1000.0**_power / 8, "bytes")
    _UNITS[f"{_letter}iB"] = (1024.0**_power, "bytes")
FIGURES = 100
"""That are read. There is no room for more."""
ITEMS = 1000
"""That are counted."""
WORD = 200
"""Characters of a label, and of a value with its ranges."""


@dataclass(frozen=True, slots=True)
class Range:
    """What is bad: what lies outside of it, both ends excluded, or (``is_inside``) what lies in it."""

    least: float
    most: float
    is_inside: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """One value with what was said of it, in the unit it was written in."""

    label: str
    value: float
    unit: str = ""
    warn: Range | None = None
    crit: Range | None = None
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a plugin wrote: the first line without its figures, all figures, and how many could not be read."""

    status: str
    figures: tuple[Figure, ...]
    unread: int


def read(output: str) -> Report:
    """Take apart what a plugin wrote.

    Figures stand behind the bar in the first line, behind a bar in a later one, and in all lines after that.
    """
    first, *further = output.strip("\n").split("\n")
    status, _, behind = first.partition("|")
    texts, is_behind = [behind], False
    for line in further:
        _, bar, behind = line.partition("|")
        if bar and "=" in behind:
            texts.append(behind)
            is_behind = True
        elif is_behind:
            texts.append(line)
    items = list(islice((item for text in texts for item in _items(text)), ITEMS))
    figures = [figure for label, value in items[:FIGURES] if (figure := _figure(label, value)) is not None]
    unknown = sum(value.split(";")[0].upper() == "U" for _, value in items[:FIGURES])
    return Report(status.strip(), tuple(figures), len(items) - len(figures) - unknown)


def _items(text: str) -> Iterator[tuple[str, str]]:
    """Yield labels, and what stands behind their equals sign; words without one are labels of nothing."""
    at = _find(_WORD, text, 0)
    while at < len(text):
        quoted = _QUOTED.match(text, at)
        equals = quoted.end() - 1 if quoted else text.find("=", at)
        if equals < 0:
            yield text[at:], ""
            return
        end = _find(_BLANK, text, equals)
        yield quoted[1].replace("''", "'") if quoted else text[at:equals].strip(), text[equals + 1 : end]
        at = _find(_WORD, text, end)


def _find(what: re.Pattern[str], text: str, begin: int) -> int:
    found = what.search(text, begin)
    return found.start() if found else len(text)


def _figure(label: str, value: str) -> Figure | None:
    first, *rest = value.rstrip(";").split(";")
    found = _VALUE.fullmatch(first)
    if found is None or len(rest) > 4 or len(value) > WORD or not isfinite(number := _number(found[1])):
        return None
    warn, crit, least, most = (*rest, "", "", "", "")[:4]
    return Figure(label[:WORD], number, found[2], _range(warn), _range(crit), _bound(least), _bound(most))


def _range(text: str) -> Range | None:
    found = _RANGE.fullmatch(text)
    if found is None or not (found[2] or found[3]):
        return None
    least = -inf if found[2] == "~" else _number(found[2]) if found[2] else 0.0
    return Range(least, _number(found[3]) if found[3] else inf, bool(found[1]))


def _bound(text: str) -> float | None:
    found = _VALUE.fullmatch(text)
    return _number(found[1]) if found else None


def _number(text: str) -> float:
    return float(text.replace(",", "."))


def measurements(figures: Iterable[Figure], room: int, taken: Iterable[str] = ()) -> tuple[dict[str, float], int]:
    """Return figures as measurements in base units, and how many there was no room for.

    All values come first, then what they are held against: ``_warn`` and ``_crit`` (above that it is bad),
    ``_warn_below`` and ``_crit_below``, ``_warn_from`` and ``_warn_to`` (between them it is bad), ``_min``, ``_max``.
    """
    names = set(taken)
    found: dict[str, float] = {}
    bounds: list[tuple[str, str, float]] = []
    for figure in figures:
        factor, unit = _UNITS.get(figure.unit, (1, ""))
        label = figure.label if figure.unit in _UNITS else f"{figure.label} {figure.unit}"
        name = measurement_name("root" if label == "/" else label, unit, names)
        names.add(name)
        found[name] = figure.value * factor
        stem = name.removesuffix(f"_{unit}")
        bounds += [(f"{stem} {kind}", unit, value * factor) for kind, value in _bounds(figure)]
    for label, unit, value in bounds:
        name = measurement_name(label, unit, names)
        names.add(name)
        found[name] = value
    return dict(list(found.items())[:room]), max(0, len(found) - room)


def _bounds(figure: Figure) -> Iterator[tuple[str, float]]:
    """Yield what a value is held against; a least value of 0 goes without saying."""
    for kind, bad in (("warn", figure.warn), ("crit", figure.crit)):
        if bad is not None:
            low, high = (f"{kind} from", f"{kind} to") if bad.is_inside else (f"{kind} below", kind)
            if isfinite(bad.least) and (bad.least or bad.is_inside or bad.most == inf):
                yield low, bad.least
            if isfinite(bad.most):
                yield high, bad.most
    if figure.least:
        yield "min", figure.least
    if figure.most is not None:
        yield "max", figure.most

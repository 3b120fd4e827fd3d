"""Reading values out of a tree: each reader takes a spot and returns a value, or raises ``Wrong`` with a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heartbeat.config.document import Node
from heartbeat.config.problem import Place, Problem, nearest, problem_at, quoted
from heartbeat.config.scalars import kind_of
from heartbeat.core.units import format_duration, parse_duration

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,99}")
NAME_CHARACTERS = 100
TEXT_CHARACTERS = 2000


class Wrong(ValueError):  # noqa: N818 - what it says about a value: wrong, and why
    """A value that cannot be used; the message says what it must be."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A node at its path. ``key`` is the place of its key, where it has one."""

    node: Node
    path: str
    problems: list[Problem]
    key: Place | None = None

    def wrong(self, message: str, place: Place | None = None) -> None:
        """Note a problem with this value, or with another place of it."""
        self.problems.append(problem_at(place or self.node.place, self.path, message))

    def entries(self) -> dict[str, Spot]:
        """Return the spots of a mapping's values. Raises ``Wrong`` for anything else."""
        value = self.node.value
        if not isinstance(value, dict):
            raise Wrong(f"must be a mapping (key: value), not {self.shown()}")
        keys, prefix = self.node.keys, f"{self.path}." if self.path else ""
        return {key: Spot(child, prefix + key, self.problems, keys[key]) for key, child in value.items()}

    def items(self) -> list[Spot]:
        """Return the spots of a list's values. Raises ``Wrong`` for anything else."""
        value = self.node.value
        if not isinstance(value, list):
            raise Wrong(f"must be a list, not {self.shown()}")
        return [Spot(child, f"{self.path}.{index}", self.problems) for index, child in enumerate(value)]

    def shown(self) -> str:
        """Return the value for a message: never a secret."""
        value = self.node.value
        if self.node.secret:
            return "this secret"
        return quoted(value) if isinstance(value, str) else kind_of(value)


Reader = Callable[[Spot], Any]


def attempt(spot: Spot, reader: Reader, default: Any = None) -> Any:
    """Return what the reader makes of a spot; a ``Wrong`` is noted and gives the default."""
    try:
        return reader(spot)
    except Wrong as error:
        spot.wrong(str(error))
        return default


def fields(
    spot: Spot, readers: Mapping[str, Reader], other_words: dict[str, str] | None = None, later: Iterable[str] = ()
) -> dict[str, Any]:
    """Read a mapping of known keys; unknown ones are noted with the nearest known one.

    Args:
        spot: the mapping.
        readers: what reads the value of each key.
        other_words: what people write instead of our keys.
        later: keys that are known but cannot be used yet.

    Returns:
        The values that could be read.
    """
    found: dict[str, Any] = {}
    for key, child in attempt(spot, Spot.entries, {}).items():
        if key in readers:
            value = attempt(child, readers[key], _NOTHING)
            found |= {} if value is _NOTHING else {key: value}
        else:
            refuse_key(child, key, readers, other_words, later)
    return found


_NOTHING = object()


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is set in either of two mappings; in both, that of ``over``. Mappings in them are merged likewise."""
    both = {
        key: merged(under[key], value) if isinstance(value, dict) and isinstance(under.get(key), dict) else value
        for key, value in over.items()
    }
    return {**under, **both}


def refuse_key(
    child: Spot, key: str, known: Iterable[str], other_words: dict[str, str] | None = None, later: Iterable[str] = ()
) -> None:
    """Note a key that cannot be used: not yet, or not at all; its path is that of the mapping around it."""
    message = (
        f'"{key}" is not supported yet'
        if key in later
        else f"unknown key {quoted(key)}{nearest(key, known, other_words)}"
    )
    around = child.path[: -len(key)].rstrip(".")
    child.problems.append(problem_at(child.key or child.node.place, around, message))


def itself(spot: Spot) -> Spot:
    """Keep the spot, to be read later."""
    return spot


def text(spot: Spot, characters: int = TEXT_CHARACTERS) -> str:
    """Read text, on one line and of a sensible length."""
    value = spot.node.value
    if not isinstance(value, str):
        hint = "; put it in quotes" if isinstance(value, (bool, int, float)) else ""
        raise Wrong(f"must be text, not {kind_of(value)}{hint}")
    if len(value) > characters or not value.isprintable():
        raise Wrong(f"must be one line of at most {characters} characters")
    return value


def name(spot: Spot) -> str:
    """Read a name: letters, digits, ``_ . -``, at most 100 characters."""
    value = text(spot)
    if spot.node.secret:
        raise Wrong("must not be a secret: names are shown everywhere")
    check_name(value)
    return value


def check_name(value: str) -> None:
    """Raise ``Wrong`` for what cannot be a name."""
    if not NAME.fullmatch(value):
        raise Wrong(f"{quoted(value)} is no name: use letters, digits, _ . - (at most 100, a letter or digit first)")


def names(spot: Spot) -> tuple[str, ...]:
    """Read a list of names, each once."""
    found = tuple(attempt(item, name) for item in spot.items())
    twice = {one for one in found if one and found.count(one) > 1}
    if twice:
        raise Wrong(f"names {quoted(min(twice))} twice")
    return tuple(one for one in found if one)


def whole(minimum: int, maximum: int) -> Reader:
    """Return a reader of whole numbers within bounds."""

    def read(spot: Spot) -> int:
        value = spot.node.value
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise Wrong(f"must be a whole number from {minimum:,} to {maximum:,}")
        return value

    return read


def duration(minimum: float = 0.001, maximum: float = 3660 * 86400) -> Reader:
    """Return a reader of durations within bounds, in seconds."""

    def read(spot: Spot) -> float:
        value = convert(spot, parse_duration)
        if not minimum <= value <= maximum:
            word, bound = ("least", minimum) if value < minimum else ("most", maximum)
            raise Wrong(f"must be at {word} {format_duration(bound)}")
        return value

    return read


def convert(spot: Spot, parse: Callable[[object], float]) -> float:
    """Parse a value with a unit; the message shows what was written unless it is a secret."""
    try:
        return parse(spot.node.value)
    except ValueError as error:
        if spot.node.secret:
            raise Wrong("is a secret that holds no such value") from None
        shown = f", not {spot.shown()}" if isinstance(spot.node.value, str) else ""
        raise Wrong(f"{error}{shown}") from None


def choice(*words: str) -> Reader:
    """Return a reader of one word out of a list."""

    def read(spot: Spot) -> str:
        value = spot.node.value
        if value not in words:
            hint = nearest(value, words) if isinstance(value, str) and not spot.node.secret else ""
            raise Wrong(f"must be one of {', '.join(words)}{hint}")
        return str(value)

    return read


def boolean(spot: Spot) -> bool:
    """Read true or false."""
    value = spot.node.value
    if not isinstance(value, bool):
        raise Wrong(f"must be true or false, not {spot.shown()}")
    return value


def path(spot: Spot) -> Path:
    """Read a path; a relative one is relative to the folder of its file."""
    return (spot.node.place.file.parent / text(spot)).absolute()

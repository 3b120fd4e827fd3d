"""What is wrong with a configuration, and where: all of it at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple


class Place(NamedTuple):
    """Where something stands: line and column count from 1, as editors do; line 0 means the file as a whole."""

    file: Path
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else str(self.file)


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake: its place, the path of the key it is about, and a sentence that says what to change."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place} {self.path}: {self.message}" if self.path else f"{place}: {self.message}"


class ConfigError(Exception):
    """A configuration that cannot be used.

    Args:
        problems: all mistakes, sorted by place.
        files: what was read on the way, the files of secrets among it: a change of one may be the repair.
    """

    def __init__(self, problems: Iterable[Problem], files: Sequence[Path] = ()) -> None:
        self.problems = tuple(sorted(set(problems)))
        self.files = tuple(files)
        super().__init__("\n".join(map(str, self.problems)))


def problem_at(place: Place, path: str, message: str) -> Problem:
    """Return the problem that stands at this place."""
    return Problem(str(place.file), place.line, place.column, path, message)


def nearest(word: str, known: Iterable[str], other_words: dict[str, str] | None = None) -> str:
    """Return `` `; did you mean "every"?` `` where a known word looks like this one, else nothing.

    Args:
        word: what was written.
        known: the words that would have been right.
        other_words: words that people bring from other tools, and ours for each.
    """
    words = {**(other_words or {}), **{one: one for one in known}}
    found = _closest(word, tuple(words))
    return f'; did you mean "{words[found]}"?' if found else ""


@lru_cache(maxsize=256)
def _closest(word: str, words: tuple[str, ...]) -> str | None:
    """Return the closest word; kept, because one mistake tends to stand in thousands of checks."""
    return next(iter(get_close_matches(word[:100], words, n=1, cutoff=0.6)), None)


def quoted(word: object, limit: int = 60) -> str:
    """Return a word of the operator's for a message: in quotes, on one line, and cut where it is long."""
    text = "".join(character if character.isprintable() else "?" for character in str(word)[: limit + 1])
    return f'"{text}"' if len(text) <= limit else f'"{text[:limit]}…"'

"""The check types that a configuration uses, each loaded once, when the first check asks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from heartbeat.check import Check
from heartbeat.config.problem import Place, Problem, nearest, problem_at, quoted
from heartbeat.config.reading import Spot
from heartbeat.plugins import Found, PluginError, Source, load_type


@dataclass(slots=True)
class Types:
    """What was discovered, and what was loaded of it; a type that does not load is noted once.

    ``loading`` is told the name of each source before its code runs: whoever watches us can then say which plugin
    ended the process or hung.
    """

    found: Found
    problems: list[Problem]
    loading: Callable[[Source], None]
    loaded: dict[str, type[Check] | None] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Why types in the options of others did not load."""

    def get(self, name: str, spot: Spot) -> type[Check] | None:
        """Return the class of a type for the check at a spot, or None after noting why there is none."""
        if name not in self.loaded:
            try:
                self.loaded[name] = self._load(name)
            except PluginError as error:
                self.loaded[name] = None
                if error.missing:
                    spot.wrong(error.sentence, spot.key)
                else:
                    self.problems.append(problem_of(error))
        return self.loaded[name]

    def find(self, name: str) -> type[Check]:
        """Return the class of a type that stands in the options of another. Raises ``LookupError`` with a sentence."""
        if name not in self.found.sources:
            raise LookupError(f"unknown check type {quoted(name)}{nearest(name, self.found.sources)}")
        loaded = self.loaded.get(name)
        if loaded is not None:
            return loaded
        if name not in self.failed:
            try:
                loaded = self.loaded[name] = self._load(name)
            except PluginError as error:
                self.failed[name] = error.sentence
            else:
                return loaded
        raise LookupError(self.failed[name])

    def load_all(self, needed: Callable[[Source], bool]) -> None:
        """Load the types that are asked for, noting those that do not load."""
        for name, source in self.found.sources.items():
            if needed(source) and name not in self.loaded:
                try:
                    self.loaded[name] = self._load(name)
                except PluginError as error:
                    self.loaded[name] = None
                    self.problems.append(problem_of(error))

    def _load(self, name: str) -> type[Check]:
        source = self.found.sources[name]
        self.loading(source)
        return load_type(source)


def problem_of(error: PluginError, place: Place | None = None) -> Problem:
    """Return what is wrong with a plugin as a problem, at the plugin's own line where that is known."""
    if error.file is None:
        return problem_at(place or Place(Path("plugins")), "", error.sentence)
    return problem_at(Place(error.file, error.line, 1 if error.line else 0), "", error.sentence)

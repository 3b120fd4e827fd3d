"""The options of a check's type: read with all that surrounds them, in the child and again where the check runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from heartbeat.check import Check
from heartbeat.config.document import to_python
from heartbeat.config.filling import Accounts, check_references, refuse_lost, stand_in
from heartbeat.config.making import fill_late
from heartbeat.config.options import validate
from heartbeat.config.problem import Problem
from heartbeat.config.reading import Spot
from heartbeat.config.types import Types
from heartbeat.plugins.source import SOURCE_BYTES, digest_of
from heartbeat.references import Late, references
from heartbeat.steps import Reading, reading


@dataclass(frozen=True, slots=True)
class Typed:
    """A check as its type makes it of the options, and what it makes use of.

    Attributes:
        check: the type's own model, or what fills in its options anew for each run.
        options: as they were written, expanded.
        folder: what paths in them are relative to.
        uses: the names of other types in them.
        modules: the Python files that they name.
        fingerprint: changes with the type, the options, the plugins, and the files that they name.
    """

    check: Check
    options: dict[str, Any]
    folder: Path
    uses: tuple[str, ...]
    modules: tuple[Path, ...]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Known:
    """What options may refer to: types and accounts; and where files are noted whose change changes a check."""

    types: Types
    accounts: Accounts
    files: dict[Path, None]


def read_typed(kind: str, spot: Spot, known: Known) -> Typed | None:
    """Return what the options at a spot make, or None after noting all that is wrong with them."""
    found = known.types.get(kind, spot)
    if found is None:
        return None
    before = len(spot.problems)
    around = Reading(known.types.find, folder_of(spot.node.place.file))
    options = to_python(spot.node) or {}
    is_late = any(True for _ in references(options))
    wanted = check_references(found, spot, known.accounts) if is_late else frozenset()
    given = stand_in(options, wanted) if wanted else None
    noted = len(spot.problems)
    with reading(around):
        model = validate(found, spot, f'the check type "{kind}"', known.types.find, given)
    _keep_first(spot.problems, before, noted)
    known.files.update(dict.fromkeys(sorted(around.files)))
    if model is not None and is_late and not wanted:
        refuse_lost(model, spot)
    if len(spot.problems) > before or not isinstance(options, dict):
        return None
    check = model if model is not None and not wanted else fill_late(kind, found, options, around)
    sources, uses = known.types.found.sources, tuple(sorted(around.used))
    digests = (sources[one].digest for one in (kind, *uses))
    modules = tuple(sorted(around.modules))
    return Typed(check, options, around.folder, uses, modules, fingerprint(kind, options, digests, around.files))


def _keep_first(problems: list[Problem], before: int, noted: int) -> None:
    """Leave out what the type itself says of a place that something was said of already."""
    told = {(one.file, one.line, one.column) for one in problems[before:noted]}
    problems[noted:] = [one for one in problems[noted:] if (one.file, one.line, one.column) not in told]


def fingerprint(
    kind: str, options: Mapping[str, Any], digests: Iterable[str], files: Iterable[Path] = frozenset()
) -> str:
    """Return what changes with a check's type, its expanded options, plugins, or files."""
    told = _told(options) if any(True for _ in references(options)) else options
    contents = (_content(file) for file in sorted(files))
    return digest_of(kind, json.dumps(told, sort_keys=True), *digests, *contents)


def _told(value: Any) -> Any:
    """Return a value in which a reference differs from the text that only looks like it."""
    if isinstance(value, Late):
        return {"": value.parts}
    if isinstance(value, dict):
        return {key: _told(one) for key, one in value.items()}
    return [_told(one) for one in value] if isinstance(value, list) else value


def _content(file: Path) -> str:
    try:
        if not file.is_file():  # a pipe would be waited for
            return digest_of(str(file))
        with file.open("rb") as opened:
            return digest_of(str(file), opened.read(SOURCE_BYTES))
    except OSError as error:
        return digest_of(str(file), type(error).__name__)


@lru_cache(maxsize=64)
def folder_of(file: Path) -> Path:
    """Return the folder of a file of the configuration: the same object for all that stands in it."""
    return file.parent.absolute()

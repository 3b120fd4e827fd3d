"""Where check types come from: their names, places and digests, without importing any of them."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import blake2b
from importlib.metadata import entry_points
from pathlib import Path

GROUP = "heartbeat.checks"
SOURCE_BYTES = 4 * 1024 * 1024
CHECK_KEYS = frozenset(
    [
        "every",
        "cron",
        "timezone",
        "timeout",
        "policy",
        "broken",
        "limits",
        "notify",
        "labels",
        "runbook",
        "was",
        "description",
        "depends_on",
        "escalate",
        "objective",
        "maintenance",
        "matrix",
        "tags",
        "enabled",
    ]
)
"""Keys of a check in the configuration; a type of such a name could not be written there."""
OTHERS = (".", "test_", "conftest.")
"""How files in a plugin folder begin that are no plugins: tests may stand beside what they test."""
_TYPE = re.compile(r"[a-z][a-z0-9_]{0,49}")


class PluginError(Exception):
    """A check type that cannot be used.

    Attributes:
        sentence: what is wrong with it.
        file: where: a file, or the folder it was looked for in.
        line: the line in that file, or 0.
        missing: the library that is not installed, where that is all that is wrong.
    """

    def __init__(self, sentence: str, *, file: Path | None = None, line: int = 0, missing: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.file = file
        self.line = line
        self.missing = missing


@dataclass(frozen=True, slots=True)
class Source:
    """One check type before it is loaded.

    Attributes:
        name: the name of the type.
        origin: where it comes from, for messages.
        package: the module under ``heartbeat_checks`` that it loads into; empty for an installed package.
        path: its file; None for an installed package.
        entry: what an installed package calls it (``module:Class``).
        digest: follows from its source and the helper files (``_*.py``) beside it.
        kind: what it is, for messages.
    """

    name: str
    origin: str
    digest: str
    package: str = ""
    path: Path | None = None
    entry: str = ""
    kind: str = "check type"

    @property
    def bundled(self) -> bool:
        """Say whether it came with Heartbeat."""
        return self.package == "bundled"


@dataclass(frozen=True, slots=True)
class Found:
    """All check types by name, and what is wrong with the rest."""

    sources: dict[str, Source]
    faults: tuple[PluginError, ...] = ()


def discover(folders: Iterable[Path] = ()) -> Found:
    """Find the bundled types, those in the folders, and those of installed packages."""
    sources: dict[str, Source] = {}
    faults: list[PluginError] = []
    for found in (*_bundled(), *_in_folders(folders), *_installed()):
        if isinstance(found, PluginError):
            faults.append(found)
        elif (other := sources.setdefault(found.name, found)) is not found:
            sentence = f'there are two check types "{found.name}": {other.origin} and {found.origin}; rename one'
            faults.append(PluginError(sentence, file=found.path))
    return Found(sources, tuple(faults))


def bundled_folder() -> Path:
    """Return the folder of the bundled checks: inside the wheel, or beside the package in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "_checks"
    return inside if inside.is_dir() else package.parent / "checks"


def _bundled() -> Iterator[Source | PluginError]:
    for found in _in_folder(bundled_folder(), "bundled"):
        yield replace(found, origin=f"the bundled {found.name}") if isinstance(found, Source) else found


def _in_folders(folders: Iterable[Path]) -> Iterator[Source | PluginError]:
    for folder in dict.fromkeys(Path(os.path.realpath(one)) for one in folders):
        tail = re.sub(r"[^a-z0-9]+", "_", folder.name.lower())
        package = f"{tail}_{blake2b(os.fsencode(folder), digest_size=4).hexdigest()}"
        yield from _in_folder(folder, package)


def _in_folder(folder: Path, package: str) -> Iterator[Source | PluginError]:
    try:
        files = sorted(one for one in folder.iterdir() if one.suffix == ".py" and not one.name.startswith(OTHERS))
        refuse_writable(folder)
        helpers = [read_source(one) for one in files if one.name.startswith("_")]
    except PluginError as error:
        yield error
        return
    except OSError as error:
        yield PluginError(f"cannot read the plugin folder: {error.strerror}", file=folder)
        return
    for file in files:
        if not file.name.startswith("_"):
            yield _from_file(file, package, helpers)


def _from_file(file: Path, package: str, helpers: Sequence[bytes]) -> Source | PluginError:
    try:
        refuse_name(file.stem, file)
        text = read_source(file)
    except PluginError as error:
        return error
    return Source(file.stem, str(file), digest_of(text, *helpers), package=package, path=file)


def read_source(file: Path) -> bytes:
    """Return the bytes of a plugin's file. Raises ``PluginError`` where it cannot or must not be read."""
    try:
        if file.stat().st_size > SOURCE_BYTES:
            raise PluginError("is larger than 4 MiB", file=file)
        refuse_writable(file)
        return file.read_bytes()
    except OSError as error:
        raise PluginError(f"cannot be read: {error.strerror}", file=file) from error


def digest_of(*parts: bytes | str) -> str:
    """Return a digest of texts, each kept apart from the next."""
    digest = blake2b(digest_size=16)
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8) + raw)
    return digest.hexdigest()


def refuse_writable(path: Path) -> None:
    """Raise for what anybody may change: it would run with our secrets. A read-only mount (ConfigMap) is fine."""
    if path.stat().st_mode & stat.S_IWOTH and not os.statvfs(path).f_flag & os.ST_RDONLY:
        raise PluginError("anybody may write here, so nothing is loaded from it; chmod o-w", file=path)


def refuse_name(name: str, file: Path | None = None) -> None:
    """Raise ``PluginError`` for what cannot be the name of a check type."""
    if not _TYPE.fullmatch(name):
        raise PluginError(f'"{name}" is no name for a check type: use lower-case letters, digits and _', file=file)
    if name in CHECK_KEYS:
        raise PluginError(f'a check type cannot be called "{name}", which is a key of every check', file=file)


def _installed() -> Iterator[Source | PluginError]:
    for name, value, package, version in _entries():
        try:
            refuse_name(name)
        except PluginError as error:
            yield PluginError(f"{error.sentence} (entry point of {package})")
        else:
            yield Source(name, f"the installed package {package}", digest_of(value, package, version), entry=value)


@cache
def _entries() -> tuple[tuple[str, str, str, str], ...]:
    """Return the entry points of the group, read once: what is installed does not change under a running process."""
    found = entry_points(group=GROUP)
    return tuple(sorted((one.name, one.value, *_package_of(one.dist)) for one in found))


def _package_of(distribution: object) -> tuple[str, str]:
    return str(getattr(distribution, "name", "?")), str(getattr(distribution, "version", "?"))

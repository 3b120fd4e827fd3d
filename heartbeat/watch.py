"""Which files have changed: configuration, plugins and secrets, looked at by name, size and time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

Fingerprint = tuple[tuple[str, int, int, int], ...]


def look_at(paths: Iterable[Path]) -> Fingerprint:
    """Return what changes when one of the files, or a file in one of the folders, does.

    Links are followed, as Kubernetes swaps a link to publish a new ConfigMap. A missing file is part of the picture.
    """
    return tuple(_look_at(path) for whole in paths for path in _files_of(whole))


def _files_of(path: Path) -> list[Path]:
    try:
        inside = sorted(entry for entry in path.iterdir() if entry.suffix in {".py", ".yaml", ".yml"})
    except OSError:  # a file, or gone
        inside = []
    return inside or [path]


def _look_at(path: Path) -> tuple[str, int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (str(path), 0, 0, 0)
    return (str(path), found.st_mtime_ns, found.st_size, found.st_ino)

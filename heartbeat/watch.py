"""Which files have changed: configuration, plugins and secrets, looked at by name, size and time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

Fingerprint = tuple[tuple[str, int, int, int], ...]


class Watch:
    """Says when files have changed, and have stopped changing."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._files = tuple(files)
        self._loaded = self._seen = look_at(files)

    def begin(self) -> None:
        """Take note of the files as they are, before they are loaded."""
        self._loaded = self._seen = look_at(self._files)

    def end(self, files: Iterable[Path]) -> None:
        """Watch these files from now on, after they were loaded. What changed meanwhile counts as not loaded."""
        undisturbed = look_at(self._files) == self._loaded
        self._files = tuple(files)
        self._seen = look_at(self._files)
        self._loaded = self._seen if undisturbed else ()

    def has_news(self) -> bool:
        """Say whether the files differ from what was loaded, and are as they were when this was last asked."""
        before, self._seen = self._seen, look_at(self._files)
        return self._seen == before != self._loaded


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

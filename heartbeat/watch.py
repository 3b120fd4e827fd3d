"""Which files have changed: configuration, plugins and secrets, looked at by name, size and time.

Looking takes some 5 us for each file, and as long as a slow disk likes: all of it is meant for a thread, one at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from stat import S_ISDIR

Fingerprint = tuple[tuple[str, int, int, int], ...]
SUFFIXES = (".py", ".yaml", ".yml")


class Watch:
    """Says when files have changed, and have stopped changing."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._files = tuple(files)
        self._loaded = self._seen = look_at(self._files)

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

    def differs(self) -> bool:
        """Say whether the files differ from what was loaded, be they still changing or not."""
        self._seen = look_at(self._files)
        return self._seen != self._loaded


def look_at(paths: Iterable[Path]) -> Fingerprint:
    """Return what changes when one of the files, or a file in one of the folders, does.

    Links are followed, as Kubernetes swaps a link to publish a new ConfigMap. A missing file is part of the picture.
    """
    return tuple(_look_at_file(file) for path in paths for file in _files_of(str(path)))


def _files_of(path: str) -> list[str]:
    try:
        inside = os.listdir(path) if S_ISDIR(os.stat(path).st_mode) else ()  # noqa: PTH116, PTH208 - to make a Path for each takes longer than to look
    except OSError:
        inside = ()
    return sorted(f"{path}/{name}" for name in inside if os.path.splitext(name)[1] in SUFFIXES) or [path]  # noqa: PTH122 - the same


def _look_at_file(path: str) -> tuple[str, int, int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 - the same
    except OSError:
        return (path, 0, 0, 0)
    return (path, found.st_mtime_ns, found.st_size, found.st_ino)

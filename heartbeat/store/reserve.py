"""A few megabytes set aside beside the store, given up when the disk is full: so the alert about it can be stored."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

SIZE = 4 * 1024 * 1024


class Reserve:
    """A file that only takes up room. ``spent`` says that it was given up, and that there is no room for it."""

    def __init__(self, path: Path, size: int = SIZE) -> None:
        self.spent = False
        self._path = Path(f"{path}.reserve")
        self._size = size

    def make(self) -> bool:
        """Set the room aside where that leaves as much again to others; say whether it is there."""
        if not self._is_there():
            disk = os.statvfs(self._path.parent)
            if disk.f_bavail * disk.f_frsize < 2 * self._size:
                self.spent = True
                return False
            try:
                self._allocate()
            except OSError:  # a quota, or a file system that cannot: nothing is set aside then
                self._remove()
                return False
        self.spent = False
        return True

    def release(self) -> bool:
        """Give the room up; say whether there was any."""
        was_there = self._is_there()
        self._remove()
        self.spent |= was_there
        return was_there

    def _is_there(self) -> bool:
        try:
            return self._path.stat().st_size >= self._size
        except OSError:
            return False

    def _allocate(self) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self._size)
        finally:
            os.close(descriptor)

    def _remove(self) -> None:
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

"""Files that say whether a check runs. Only how they looked is remembered: what has not changed is not read again."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from functools import partial
from time import time
from typing import NamedTuple

from heartbeat.core.switches import Found, InFile, read_word
from heartbeat.switching.helper import Helper

FILE_BYTES = 4096
"""What is read of a file."""
SETTLED = 2.0
"""Seconds after which a file that looks the same is the same: until then it may change within a tick of its clock."""


class Look(NamedTuple):
    """A file as it was: times, size and number, which change when it does (nothing: look again), and what it said."""

    stamp: tuple[int, ...]
    said: Found


async def ask_files(helper: Helper, files: Iterable[InFile], seen: dict[InFile, Look]) -> dict[InFile, Found]:
    """Look at files, and return what those say that are not as they were; ``seen`` is brought up to date."""
    before = {file: seen.get(file) for file in files}
    try:
        looks = await helper.run(partial(look_at_files, before)) or {}
    except TimeoutError:
        looks = dict.fromkeys(before, Look((), f"it could not be looked at within {helper.timeout:g} s"))
    seen.update(looks)
    return {file: look.said for file, look in looks.items()}


def look_at_files(seen: Mapping[InFile, Look | None]) -> dict[InFile, Look]:
    """Return how those files look that are not as they were, by how they were. It may wait."""
    looks = ((file, _look_at(file, before)) for file, before in seen.items())
    return {file: look for file, look in looks if look is not None}


def _look_at(file: InFile, before: Look | None) -> Look | None:
    try:
        found = os.stat(file.path)  # noqa: PTH116 - of ten thousand: making a Path costs as much as looking
        stamp: tuple[int, ...] = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
        if before and before.stamp == stamp:
            return None
        said = _read(file, found.st_mode)
        is_settled = abs(time() - found.st_mtime) > SETTLED and not isinstance(said, str)
    except OSError as error:
        is_absent = file.exists is not None and isinstance(error, FileNotFoundError | NotADirectoryError)
        said = not file.exists if is_absent else f"it cannot be read: {error.strerror}"
        is_settled, stamp = False, ()
    return Look(stamp if is_settled else (), said)


def _read(file: InFile, mode: int) -> Found:
    if file.exists is not None:
        return file.exists
    if not stat.S_ISREG(mode):
        return "it is no file"
    with open(file.path, "rb") as opened:  # noqa: PTH123 - as above
        return read_word(opened.read(FILE_BYTES).decode("utf-8-sig", errors="replace"))

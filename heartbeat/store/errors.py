"""What goes wrong with a store, in sentences that tell the operator what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy.exc import DBAPIError


class StoreError(Exception):
    """The store cannot be opened. The text says why and what to change."""


class StoreFailed(Exception):  # noqa: N818 - the word of the domain, beside CheckFailed and DeliveryFailed
    """A record could not be made durable. The text says why and what to do; later records are tried again."""


FULL = "the disk is full; free some space, or keep less (history.keep, history.rows)"

# The beginning of SQLite's name for the error, and what it means to someone who has never seen SQLite.
_MEANINGS = (
    ("SQLITE_FULL", FULL),
    ("SQLITE_READONLY", "it is read-only; make the file and its folder writable for this user"),
    ("SQLITE_CANTOPEN", "it cannot be opened; let this user read and write the file and its folder"),
    ("SQLITE_PERM", "access is denied; let this user read and write the file and its folder"),
    ("SQLITE_BUSY", "another program holds a lock on it; end that program"),
    ("SQLITE_LOCKED", "another program holds a lock on it; end that program"),
    ("SQLITE_PROTOCOL", "another program holds a lock on it; end that program"),
    ("SQLITE_CORRUPT", "it is damaged; stop the daemon, move the file away (keep it) and put a backup in its place"),
    ("SQLITE_NOTADB", "it is no SQLite database; name another file, or move this one away and restore a backup"),
    ("SQLITE_IOERR", "the disk reports an error or a quota is used up; see the kernel's log and check the disk"),
)


def driver_error(error: BaseException) -> BaseException:
    """Return what the driver raised, without SQLAlchemy's wrapping (it would show the parameters of the row)."""
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def is_out_of_room(error: BaseException) -> bool:
    """Say whether the disk took no more bytes: it is full, or a quota is used up."""
    name = getattr(driver_error(error), "sqlite_errorname", None) or ""
    return name in ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE")


def is_about_the_row(error: BaseException) -> bool:
    """Say whether the data of one row was refused, so that its neighbours can still be written."""
    kinds = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.DataError)
    return isinstance(driver_error(error), (*kinds, ValueError, TypeError, OverflowError, AttributeError))


def explain(error: BaseException, path: Path) -> str:
    """Say in one sentence what is wrong with the store and what to do."""
    error = driver_error(error)
    if isinstance(error, (StoreError, StoreFailed)):
        return str(error)
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    for beginning, meaning in _MEANINGS:
        if name.startswith(beginning):
            return f"The store {path} cannot be used: {meaning} ({name})."
    return f"The store {path} cannot be used: {error} ({name})."

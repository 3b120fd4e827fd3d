"""The store's file: its folder, its lock, its connections, and what is refused before anything is written."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection, Engine, NullPool, create_engine, event

from heartbeat.crash import crash_point
from heartbeat.store.errors import StoreError

LOG_BYTES = 16 * 1024 * 1024
"""From this size on the log is carried over after a commit, besides once a minute. Pages of the index by check are
written again and again: fewer checkpoints save a fifth of the CPU."""
WAL_LIMIT = 64 * 1024 * 1024
"""Bytes to which the log is cut back after it was once longer."""
_REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "fuse.sshfs", "fuse.glusterfs"})


def prepare(path: Path) -> None:
    """Make the folder (0700) and the file (0600) where they are missing. Raises StoreError."""
    if kind := _remote_kind(path, Path("/proc/self/mountinfo")):
        raise StoreError(f"The store {path} lies on a network file system ({kind}); put it on a local disk.")
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, parents=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreError(
            f"The store {path} cannot be written ({error.strerror}); "
            "let this user read and write the file and its folder, or name another file."
        ) from error
    log = Path(f"{path}-wal")
    if path.stat().st_size == 0 and log.exists() and log.stat().st_size > 0:
        raise StoreError(f"The store {path} is empty but its log {log} is not; restore both from a backup, or move "
                         "both away (keep them) to start without history.")  # fmt: skip


def _remote_kind(path: Path, mounts: Path) -> str:
    """Return the type of the network file system that the path lies on, or nothing.

    SQLite's log needs memory shared between processes, which network file systems do not have.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    folder, best, kind = Path(os.path.realpath(path)), -1, ""
    for fields in map(str.split, lines):
        point = Path(fields[4].replace("\\040", " "))
        if folder.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), fields[fields.index("-") + 1]
    return kind if kind in _REMOTE else ""


def lock(path: Path) -> int:
    """Take the lock beside the store and return its descriptor; it is held until that closes. Raises StoreError.

    The file stays when the lock goes: removing it would let two daemons lock two files of one name.
    """
    beside = Path(f"{path}.lock")
    try:
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(
            f"The lock {beside} cannot be written ({error.strerror}); let this user write in its folder."
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
        who = f"the process {holder}" if holder else "another process"
        raise StoreError(f"The store {path} is in use by {who}; stop it, or name another file.") from error
    with suppress(OSError):  # a full disk: who holds it is a courtesy
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def connect_writer(path: Path, patience: float) -> Engine:
    """Return the engine of the one connection that writes; its transactions begin IMMEDIATE."""

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=patience, isolation_level=None)
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA journal_size_limit={WAL_LIMIT}")
        connection.execute("PRAGMA wal_autocheckpoint=0")  # we do it ourselves, when nobody waits for a commit
        connection.execute("PRAGMA cache_size=-2000")
        return connection

    return _engine(connect, "BEGIN IMMEDIATE")


def connect_reader(path: Path, patience: float = 5.0) -> Engine:
    """Return an engine whose connections can only read, and so never checkpoint; each ends with its use."""

    def connect() -> sqlite3.Connection:
        # as_uri quotes what a URI would take as its own; check_same_thread is for the pool of threads behind us
        return sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=patience, isolation_level=None,
            check_same_thread=False,
        )  # fmt: skip

    return _engine(connect, "BEGIN")


def _engine(connect: Callable[[], sqlite3.Connection], begin: str) -> Engine:
    engine = create_engine("sqlite+pysqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def pragma(connection: Connection, words: str) -> str:
    """Run a pragma outside of any transaction and return the first value it gives, as text."""
    raw = connection.connection.dbapi_connection
    row = raw.execute(f"PRAGMA {words}").fetchone() if raw is not None else None
    return "" if row is None else str(row[0])


def checkpoint(connection: Connection) -> None:
    """Carry the log over into the database, as far as no reader still needs it; the next writes begin the log anew."""
    pragma(connection, "synchronous=NORMAL")  # which syncs the log before and the database after it
    pragma(connection, "wal_checkpoint(PASSIVE)")
    crash_point("during_checkpoint")


def log_size(path: Path) -> int:
    """Return the bytes in the log beside the store."""
    try:
        return Path(f"{path}-wal").stat().st_size
    except OSError:
        return 0


def has_reset_bug(version: tuple[int, ...]) -> bool:
    """Say whether this SQLite can lose commits when two connections write and checkpoint at the same instant.

    Fixed in 3.51.3, 3.50.7 and 3.44.6 (sqlite.org/wal.html#walresetbug).
    """
    return not (version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45))

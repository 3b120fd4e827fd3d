"""Bringing a store to the schema of this version, in one transaction, and refusing what must not be touched.

A new store is made as it is to be, and one of this version is left alone: Alembic (10 MB) is imported only where there
is something to migrate.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from heartbeat.crash import crash_point
from heartbeat.store.errors import StoreError
from heartbeat.store.files import pragma
from heartbeat.store.schema import HEAD, metadata

_VERSIONS = """
CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
)
"""
"""As Alembic makes it."""


def check_integrity(connection: Connection, path: Path) -> None:
    """Refuse a damaged file. Raises StoreError, or what the driver raises."""
    found = " ".join(pragma(connection, "quick_check(1)").split())
    if found != "ok":
        raise StoreError(
            f"The store {path} is damaged ({found[:200]}); stop here, move the file away (keep it) and put a backup "
            "in its place, or start without history."
        )


def migrate(connection: Connection, path: Path) -> None:
    """Bring the schema to this version. Raises StoreError where it is newer, or not ours."""
    tables = set(inspect(connection).get_table_names())
    connection.rollback()
    if tables and "alembic_version" not in tables:
        raise StoreError(f"{path} is an SQLite database of another program; name another file for the store.")
    current = _revision(connection) if tables else None
    if current == HEAD:
        return
    with connection.begin():
        if current is None and tables <= {"alembic_version"}:
            _create(connection, tables)
        else:
            _upgrade(connection, path, current)
        crash_point("during_migration")


def _create(connection: Connection, tables: set[str]) -> None:
    """Make all tables, and say of which version they are."""
    metadata.create_all(connection)
    if not tables:
        connection.execute(text(_VERSIONS))
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


def _upgrade(connection: Connection, path: Path, current: str | None) -> None:
    from heartbeat.store import revisions  # noqa: PLC0415 - most starts need no Alembic

    if current is not None and current not in revisions.known():
        raise StoreError(
            f"The store {path} was written by a newer version of heartbeat (schema {current}, this version knows "
            f"{HEAD}); run that version, or name another file."
        )
    revisions.upgrade(connection)


def _revision(connection: Connection) -> str | None:
    with connection.begin():
        revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision

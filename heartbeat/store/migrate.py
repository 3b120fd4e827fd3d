"""Bringing a store to the schema of this version, in one transaction, and refusing what must not be touched."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from heartbeat.crash import crash_point
from heartbeat.store.errors import StoreError
from heartbeat.store.files import pragma


def configuration(connection: Connection | None = None) -> Config:
    """Return what Alembic needs; there is no ini file."""
    config = Config()
    config.set_main_option("script_location", "heartbeat.store:migrations")
    config.attributes["connection"] = connection
    return config


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
    scripts = ScriptDirectory.from_config(configuration())
    if tables and "alembic_version" not in tables:
        raise StoreError(f"{path} is an SQLite database of another program; name another file for the store.")
    current = _revision(connection) if tables else None
    if current == scripts.get_current_head():
        return
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        raise StoreError(
            f"The store {path} was written by a newer version of heartbeat (schema {current}, this version knows "
            f"{scripts.get_current_head()}); run that version, or name another file."
        )
    with connection.begin():
        command.upgrade(configuration(connection), "head")
        crash_point("during_migration")


def _revision(connection: Connection) -> str | None:
    with connection.begin():
        revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision

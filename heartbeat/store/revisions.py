"""The migrations, run by Alembic."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def configuration(connection: Connection | None = None) -> Config:
    """Return what Alembic needs; there is no ini file."""
    config = Config()
    config.set_main_option("script_location", "heartbeat.store:migrations")
    config.attributes["connection"] = connection
    return config


def known() -> set[str]:
    """Return all revisions that this version knows."""
    return {script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()}


def upgrade(connection: Connection) -> None:
    """Run what is missing, in the transaction of the connection."""
    command.upgrade(configuration(connection), "head")

# ruff: noqa: ASYNC240 - a test may wait for its own child and its own files
from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import NullPool, create_engine

from heartbeat.store import StoreError
from heartbeat.store.migrate import configuration
from heartbeat.store.schema import metadata

Opener = Callable[..., Awaitable[Any]]

REVISIONS = [script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()]


def shape(path: Path) -> dict[str, str]:
    """Return the SQL of everything in a store, without the white space."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return {name: " ".join(sql.split()) for name, sql in rows if name != "alembic_version"}


async def test_the_migrated_schema_is_the_one_that_the_code_uses(store: Any, path: Path, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/made.db", poolclass=NullPool)
    metadata.create_all(engine)
    assert shape(path) == shape(tmp_path / "made.db")
    assert all(sql.endswith("STRICT") for sql in shape(path).values() if sql.startswith("CREATE TABLE"))


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_store_of_every_revision_is_brought_up_to_date(
    revision: str, path: Path, tmp_path: Path, opened: Opener
) -> None:
    path.parent.mkdir()
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.begin() as connection:
        command.upgrade(configuration(connection), revision)
    await opened()
    reference = create_engine(f"sqlite:///{tmp_path}/made.db", poolclass=NullPool)
    metadata.create_all(reference)
    assert shape(path) == shape(tmp_path / "made.db")


async def test_a_store_of_a_newer_version_is_refused_and_not_changed(store: Any, path: Path, opened: Opener) -> None:
    await store.close()
    with sqlite3.connect(path) as other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
        other.execute("ALTER TABLE result ADD COLUMN novelty TEXT")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"newer version of heartbeat \(schema 9999, this version knows \d+\)"):
        await opened()
    assert path.read_bytes() == before


async def test_a_migration_that_fails_leaves_nothing_behind(
    path: Path, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = command.upgrade

    def fail_late(config: Config, revision: str) -> NoReturn:
        real(config, revision)
        raise RuntimeError("no more")

    monkeypatch.setattr(command, "upgrade", fail_late)
    with pytest.raises(StoreError, match="no more"):
        await opened()
    assert shape(path) == {}
    monkeypatch.undo()
    assert (await opened()).boot == 1


async def test_a_store_that_is_up_to_date_needs_no_migration(
    store: Any, path: Path, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.close()
    monkeypatch.delattr(command, "upgrade")
    assert (await opened()).boot == 2

# ruff: noqa: ASYNC240 - a test may wait for its own child and its own files
from __future__ import annotations

import re
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import NullPool, create_engine, func, select, text

from heartbeat.core.model import Address, Delivery, DeliveryState, Reason, Severity
from heartbeat.core.status import Incident, Sample, Status
from heartbeat.store import StoreError, windows
from heartbeat.store.revisions import configuration
from heartbeat.store.rows import event_row
from heartbeat.store.schema import HEAD, metadata, quiet
from heartbeat.store.windows import Saved

Opener = Callable[..., Awaitable[Any]]

REVISIONS = [script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()]


SECOND = """{"warn":false,"fail":true,"broken":false,"since":6.0,"reason":"status","sentence":"HTTP 500","recent":
[{"at":6.0,"severity":2}],"errors":[false],"distorted":0,"incident":{"id":"inc_1","since":5.0,"sequence":2,"told_at":6.5},
"broken_incident":null,"broken_reason":null,"broken_sentence":"","events":2,"up":false,"last_success":null,
"wake_at":14406.5}"""
"""A status as the second version of the schema held it."""


def shape(path: Path) -> dict[str, str]:
    """Return the SQL of everything in a store, without the white space."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return {name: " ".join(sql.split()) for name, sql in rows if name != "alembic_version"}


def everything(path: Path) -> dict[str, str]:
    """Return the SQL of everything, Alembic's own table too."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
        version = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    connection.close()
    made = {f"{kind} {name}": re.sub(r"\s+", "", sql or "") for kind, name, sql in rows}
    return {**made, "version": str(version)}


async def test_a_new_store_is_what_all_migrations_make_of_one(store: Any, path: Path, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/migrated.db", poolclass=NullPool)
    with engine.begin() as connection:
        command.upgrade(configuration(connection), "head")
    assert everything(path) == everything(tmp_path / "migrated.db")
    assert all(sql.endswith("STRICT") for sql in shape(path).values() if sql.startswith("CREATE TABLE"))


def test_the_schema_in_the_code_is_the_newest_revision() -> None:
    assert ScriptDirectory.from_config(configuration()).get_current_head() == HEAD


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


async def test_what_waits_in_a_store_of_the_first_version_is_taken_over(path: Path, opened: Opener, make: Any) -> None:
    path.parent.mkdir()
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    event = make.event(1)
    row = event_row(event)
    with engine.begin() as connection:
        command.upgrade(configuration(connection), "0001")
        connection.execute(text("INSERT INTO meta VALUES ('boot', '41')"))
        connection.execute(text(f"INSERT INTO event VALUES ({', '.join(f':{name}' for name in row)})"), row)
        for n, (state, lease) in enumerate((("pending", None), ("leased", 41), ("acknowledged", None)), 1):
            values = {"n": n, "id": f"dlv_{n}", "event": event.id, "state": state, "lease": lease}
            rest = "'inc', 'oncall', 'oncall/email', 'a@x', :state, :n, 5.5, '421', :lease"
            connection.execute(text(f"INSERT INTO delivery VALUES (:n, :id, :event, {rest})"), values)
    store = await opened()
    assert store.boot == 42
    to = Address("oncall", "oncall/email", "a@x")
    assert (await store.load()).pending == (
        Delivery("dlv_1", event, to, DeliveryState.PENDING, 1, 5.5, "421"),
        Delivery("dlv_2", event, to, DeliveryState.LEASED, 2, 5.5, "421"),
    )


async def test_a_store_of_the_second_version_gets_quiet_times_and_windows_and_keeps_the_rest(
    path: Path, opened: Opener
) -> None:
    path.parent.mkdir()
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.begin() as connection:
        command.upgrade(configuration(connection), "0002")
        connection.execute(text("INSERT INTO meta VALUES ('boot', '7')"))
        connection.execute(text("INSERT INTO check_status VALUES ('shop', :status, 7, 1.0)"), {"status": SECOND})
    store = await opened()
    assert store.boot == 8
    bad = Severity.FAIL
    incident = Incident(
        "inc_1", 5.0, 2, 6.5, opened=5.0, severity=bad, first_told=6.5, told_severity=bad, worst_told=bad
    )
    assert (await store.load()).statuses == {
        "shop": Status(
            fail=True,
            since=6.0,
            reason=Reason.STATUS,
            sentence="HTTP 500",
            recent=(Sample(6.0, Severity.FAIL),),
            errors=(False,),
            incident=incident,
            events=2,
            up=False,
            wake_at=14406.5,
        )
    }
    store.save([Saved("shop", "", "text", 5.0)])
    await store.flush()
    assert await store.ask(windows.names) == ["shop"]
    assert await store.ask(lambda reading: reading.scalar(select(func.count()).select_from(quiet))) == 0


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
    path.parent.mkdir()
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.begin() as connection:
        command.upgrade(configuration(connection), "0001")
    before = everything(path)
    real = command.upgrade

    def fail_late(config: Config, revision: str) -> NoReturn:
        real(config, revision)
        raise RuntimeError("no more")

    monkeypatch.setattr(command, "upgrade", fail_late)
    with pytest.raises(StoreError, match="no more"):
        await opened()
    assert everything(path) == before
    monkeypatch.undo()
    assert (await opened()).boot == 1


async def test_a_new_store_that_fails_leaves_nothing_behind(
    path: Path, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str) -> NoReturn:
        raise RuntimeError("no more")

    monkeypatch.setattr("heartbeat.store.migrate.crash_point", fail)
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

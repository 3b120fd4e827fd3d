from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from heartbeat import databases
from heartbeat.core.model import Reason
from heartbeat.faults import Fault, sort_fault
from heartbeat.testing.check import load_check, run_once
from heartbeat.testing.http import refusing_port, unanswering_port
from heartbeat.testing.postgresql import Postgresql, postgresql
from heartbeat.testing.tcp import garbage, hang_up, reset, serve_tcp, silent

pytestmark = pytest.mark.system("postgresql")
PASSWORD = "a-password-nobody-sees"
PATIENCE = 2
"""Seconds; libpq takes no less."""


@pytest.fixture(scope="module")
def server() -> Iterator[Postgresql]:
    with postgresql() as running:
        running.run(
            f"create role monitor login password '{PASSWORD}'",
            "create table orders (id int primary key, reference text)",
            "create table secrets (id int)",
            "grant all on orders to monitor",
            "insert into orders values (1, 'one')",
        )
        yield running


def by_psycopg(query: str, port: int, password: str = PASSWORD, host: str = "127.0.0.1", name: str = "postgres") -> Any:
    given: dict[str, Any] = {"host": host, "port": port, "user": "monitor", "password": password, "dbname": name}
    with psycopg.connect(**given, connect_timeout=PATIENCE) as connection:
        return connection.execute(query.encode()).fetchall()


def by_sqlalchemy(
    query: str, port: int, password: str = PASSWORD, host: str = "127.0.0.1", name: str = "postgres"
) -> Any:
    url = sa.URL.create("postgresql+psycopg", "monitor", password, host, port, name)
    engine = sa.create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": PATIENCE})
    with engine.connect() as connection:
        return connection.execute(sa.text(query)).all()


def by_pymysql(query: str, port: int, password: str = PASSWORD, host: str = "127.0.0.1", name: str = "shop") -> Any:
    timeouts = dict.fromkeys(("connect_timeout", "read_timeout"), PATIENCE)
    with pymysql.connect(host=host, port=port, user="monitor", password=password, database=name, **timeouts) as it:
        it.query(query)


POSTGRESQL = [by_psycopg, by_sqlalchemy]
ALL = [*POSTGRESQL, by_pymysql]


def fault_of(call: Callable[..., Any], *given: Any, **named: Any) -> Fault:
    with pytest.raises(Exception, match=r".") as caught:
        call(*given, **named)
    fault = sort_fault(caught.value, has_route=lambda: True)
    assert PASSWORD not in fault.sentence
    assert fault.sentence.isprintable()
    return fault


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("client", ALL)
@pytest.mark.parametrize(
    ("kind", "reasons"),
    [
        ("refused", {"connect"}),
        ("unanswered", {"timeout"}),
        ("silent", {"timeout"}),
        ("closed", {"reset"}),
        ("reset", {"reset", "connect"}),
        ("unresolvable", {"resolve"}),
        ("unroutable", {"connect"}),
    ],
)
async def test_a_database_that_is_gone_is_never_a_broken_check(
    client: Callable[..., Any], kind: str, reasons: set[str]
) -> None:
    async with AsyncExitStack() as stack:
        hosts = {"unresolvable": "-.test", "unroutable": "255.255.255.255"}
        talks = {"silent": silent, "closed": hang_up, "reset": reset}
        if kind in talks:
            port = await stack.enter_async_context(serve_tcp(talks[kind]))
        else:
            port = stack.enter_context(
                {"refused": refusing_port, "unanswered": unanswering_port}.get(kind, refusing_port)()
            )
        fault = await asyncio.to_thread(fault_of, client, "select 1", port, host=hosts.get(kind, "127.0.0.1"))
    assert (fault.outcome, fault.reason in reasons) == ("fail", True), fault


@pytest.mark.parametrize("client", POSTGRESQL)
async def test_whoever_speaks_something_else_is_a_bad_target(client: Callable[..., Any]) -> None:
    async with serve_tcp(garbage()) as port:
        fault = await asyncio.to_thread(fault_of, client, "select 1", port)
    assert (fault.outcome, fault.reason) == ("fail", "protocol"), fault


@pytest.mark.parametrize("client", POSTGRESQL)
@pytest.mark.parametrize(
    ("query", "named", "expected"),
    [
        ("select 1", {"password": "wrong"}, "fail/auth: password authentication failed"),
        ("select 1", {"password": ""}, "error/config: no password supplied"),
        ("select 1", {"name": "nowhere"}, 'fail/absent: database "nowhere" does not exist'),
        ("select * from nowhere", {}, 'fail/absent: relation "nowhere" does not exist'),
        ("select * from secrets", {}, "fail/auth: permission denied for table secrets"),
        ("selec 1", {}, "error/config: syntax error"),
        ("insert into orders values (1, 'hunter2')", {}, "fail/content: violates unique constraint"),
        ("select pg_terminate_backend(pg_backend_pid())", {}, "fail/reset: terminating connection"),
        ("set transaction read only; delete from orders", {}, "fail/status: read-only transaction"),
        ("set statement_timeout = 50; select pg_sleep(9)", {}, "fail/timeout: statement timeout"),
    ],
)
def test_a_plugin_with_a_library_of_its_own_is_judged_as_the_type_sql(
    server: Postgresql, client: Callable[..., Any], query: str, named: Any, expected: str
) -> None:
    found, _, words = expected.partition(": ")
    fault = fault_of(client, query, server.port, **named)
    assert f"{fault.outcome}/{fault.reason}" == found, fault
    assert words in fault.sentence
    assert query not in fault.sentence
    assert "hunter2" not in fault.sentence


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (pymysql.err.OperationalError(1045, "Access denied"), "fail/auth"),
        (pymysql.err.ProgrammingError(1146, "Table 'shop.nowhere' doesn't exist"), "fail/absent"),
        (pymysql.err.ProgrammingError(1064, "You have an error in your SQL syntax"), "error/config"),
        (pymysql.err.OperationalError(2013, "Lost connection (timed out)"), "fail/timeout"),
        (pymysql.err.InternalError("Packet sequence number wrong"), "fail/protocol"),
        (pymysql.err.InterfaceError(0, ""), "error/plugin"),
        (pymysql.err.Error("Already closed"), "error/plugin"),
        (psycopg.OperationalError("the connection is closed"), "fail/reset"),
        (psycopg.ProgrammingError("the last operation didn't produce a result"), "error/plugin"),
        (psycopg.InterfaceError("the cursor is closed"), "error/plugin"),
        (psycopg.errors.AdminShutdown("terminating connection"), "fail/reset"),
        (sa.exc.TimeoutError("QueuePool limit of size 5 overflow 10 reached"), "error/resource"),
        (sa.exc.ArgumentError("Could not parse SQLAlchemy URL"), "error/plugin"),
    ],
    ids=lambda value: repr(value)[:40] if isinstance(value, BaseException) else None,
)
def test_what_libraries_say_without_a_server_is_sorted(error: BaseException, found: str) -> None:
    fault = sort_fault(error, has_route=lambda: True)
    assert f"{fault.outcome}/{fault.reason}" == found, fault


def test_a_machine_without_network_is_its_own_fault() -> None:
    with pytest.raises(psycopg.OperationalError) as caught:
        by_psycopg("select 1", 9, host="255.255.255.255")
    assert sort_fault(caught.value, has_route=lambda: False).reason is Reason.NETWORK


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("select * from nowhere", "fail/absent"),
        ("selec", "error/config"),
        ("insert into orders values (1)", "fail/content"),
        ("insert into orders values (2)", "fail/timeout"),
    ],
)
def test_sqlite_is_judged_alike(tmp_path: Path, query: str, found: str) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db", isolation_level=None)) as other:
        other.executescript("create table orders (id int unique); insert into orders values (1)")
        if "timeout" in found:
            other.execute("begin immediate")
        with closing(sqlite3.connect(tmp_path / "shop.db", timeout=0)) as own:
            fault = fault_of(own.execute, query)
    assert f"{fault.outcome}/{fault.reason}" == found, fault


def test_what_was_handed_over_is_not_told(server: Postgresql) -> None:
    def ask() -> None:
        url = sa.URL.create("postgresql+psycopg", "monitor", PASSWORD, "127.0.0.1", server.port, "postgres")
        with sa.create_engine(url, poolclass=NullPool).connect() as connection:
            connection.execute(sa.text("select :a, :b"), {"a": "hunter2"})

    fault = fault_of(ask)
    assert (fault.outcome, fault.reason) == ("error", "plugin")
    assert "hunter2" not in fault.sentence
    assert "bind parameter 'b'" in fault.sentence


PLUGIN = """
from contextlib import closing
import sqlalchemy as sa
from heartbeat import Check, Probe

class Books(Check):
    url: str
    def run(self, probe: Probe) -> None:
        engine = sa.create_engine(self.url, poolclass=sa.pool.NullPool)
        with engine.connect() as connection:
            probe.record("orders", connection.scalar(sa.text("select count(*) from orders")))
"""


async def test_a_plugin_needs_nothing_for_it(server: Postgresql, tmp_path: Path) -> None:
    (tmp_path / "books.py").write_text(PLUGIN)
    kind = load_check(tmp_path / "books.py")

    async def found(port: int) -> str:
        url = f"postgresql+psycopg://monitor:{PASSWORD}@127.0.0.1:{port}/postgres"
        result = await run_once(kind.model_validate({"url": url}))
        return f"{result.outcome}/{result.reason}: {result.sentence}"

    assert await found(server.port) == "ok/None: "
    with refusing_port() as port:
        assert await found(port) == "fail/connect: no connection to the database: Connection refused"


def test_no_library_is_imported_for_it() -> None:
    code = "import sys, heartbeat.databases; print(*{'psycopg', 'pymysql', 'sqlalchemy', 'sqlite3'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert found.stdout.strip() == ""


def test_every_reason_has_its_words() -> None:
    tables = (databases.SQLSTATES, databases.NUMBERS, databases.NAMES)
    used = {reason for table in tables for reason in table.values()} | {reason for _, reason in databases.WORDS}
    assert used == set(databases.ROWS)

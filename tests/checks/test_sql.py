from __future__ import annotations

import asyncio
import gc
import json
import os
import pickle
import signal
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import trustme
from pydantic import ValidationError

from heartbeat import Answer, Check, Probe, late
from heartbeat.backing import Backing
from heartbeat.core.model import Result, Run
from heartbeat.faults import sort_fault
from heartbeat.lag import LagMeter
from heartbeat.plugins import discover, load_type
from heartbeat.pool import Pool
from heartbeat.runner import Workshop, run_check
from heartbeat.steps import Part, Reading, reading
from heartbeat.testing.http import refusing_port
from heartbeat.testing.postgresql import Postgresql, postgresql
from heartbeat.testing.tcp import Talk, garbage, hang_up, hang_up_after, reset, say, serve_tcp, silent, slow

pytestmark = pytest.mark.system("postgresql")
Sql: Any = load_type(discover().sources["sql"])
CA = trustme.CA()
PASSWORD = "a-password-nobody-sees"
READS = "the query writes, and the check only reads; set read_only: false if it is meant to"
HOSTILE = "x'); drop table orders; -- \\' %s %(a)s :b ${c} \"\t\N{SNOWMAN} $1 /* "


@pytest.fixture(scope="module")
def server() -> Iterator[Postgresql]:
    with postgresql(CA.issue_cert("localhost").private_key_and_cert_chain_pem.bytes()) as running:
        running.run(
            f"create role monitor login password '{PASSWORD}'",
            "create table orders (id int primary key, reference text unique)",
            "create table secrets (id int)",
            "grant all on orders to monitor",
            f"create role crowd login connection limit 0 password '{PASSWORD}'",
            f"create role standby login password '{PASSWORD}'",
            "alter role standby set default_transaction_read_only = on",
            "grant all on orders to standby",
        )
        yield running


@pytest.fixture(autouse=True)
def orders(server: Postgresql) -> None:
    server.run("truncate orders", "insert into orders values (1, 'one'), (2, 'two')")


def url_of(server: Postgresql, user: str = "monitor", host: str = "127.0.0.1", rest: str = "") -> str:
    return f"postgresql://{user}@{host}:{server.port}/postgres{rest}"


def check_of(server: Postgresql, query: str = "select 1", **options: Any) -> Any:
    return Sql.model_validate({"url": url_of(server), "password": PASSWORD, "query": query, **options})


class Plain:
    """The daemon's own path, with a pool that can be looked at."""

    def __init__(self) -> None:
        self.pool = Pool()
        self.workshop = Workshop(self.pool, LagMeter(), str, Backing(in_thread=self.pool.run))

    async def run(self, check: Check, timeout: float = 5.0) -> Result:  # noqa: ASYNC109 - a check's deadline
        return (await run_check(check, Run("run_1", "shop", 0.0, 0, 0.0, timeout), self.workshop)).result

    async def until_free(self, within: float = 3.0) -> None:
        async with asyncio.timeout(within):
            while self.pool.busy:  # noqa: ASYNC110 - the pool tells nobody
                await asyncio.sleep(0.01)


async def run(check: Check, timeout: float = 5.0) -> Result:  # noqa: ASYNC109 - as above
    return await Plain().run(check, timeout)


def said(result: Result) -> tuple[str, str | None, str]:
    return result.outcome.value, result.reason and result.reason.value, result.sentence


async def until(server: Postgresql, question: str) -> str:
    async with asyncio.timeout(10):
        while not (found := await asyncio.to_thread(server.run, question)):  # noqa: ASYNC110 - nor does the server
            await asyncio.sleep(0.01)
    return found


async def test_a_query_that_gives_what_is_expected_is_well(server: Postgresql) -> None:
    expect = {"rows": 1, "value": 2, "json": {"$[0].n": {"above": 1, "below": 3}}}
    result = await run(check_of(server, "select count(*) as n from orders;", expect=expect))
    assert said(result) == ("ok", None, "")
    assert result.measurements == {"rows": 1}
    assert list(result.phases) == ["resolve", "connect", "query"]
    assert result.duration <= sum(result.phases.values()) + 1e-6


@pytest.mark.parametrize(
    ("query", "expect", "said_so", "seen"),
    [
        ("select 1 where false", {"rows": 1}, "mismatch: the number of rows is another value", ("1", "0")),
        ("select 1 as n", {"value": 2}, "mismatch: n in the first row is another value", ("2", "1")),
        ("select 1 where false", {"value": 2}, "absent: the value of the first row is missing", ("2", None)),
        ("select null as n", {"value": 2}, "mismatch: n in the first row is another value", ("2", "null")),
        ("select 7 as n", {"value": None}, "mismatch: n in the first row is another value", ("null", "7")),
        (
            "select 7 as n",
            {"json": {"$[*].n": {"below": 7}}},
            "content: $[*].n in the rows is not below 7",
            ("below 7", "7"),
        ),
        ("select 7", {"json": {"$[1]": {"exists": True}}}, "absent: $[1] in the rows is missing", ("anything", None)),
    ],
)
async def test_what_does_not_hold_is_said_with_the_rows(
    server: Postgresql, query: str, expect: Any, said_so: str, seen: tuple[str | None, str | None]
) -> None:
    result = await run(check_of(server, query, expect=expect))
    assert (result.outcome, f"{result.reason}: {result.sentence}") == ("fail", said_so)
    assert (result.expected, result.observed) == seen
    assert result.evidence["query"] == query
    assert set(result.evidence) == {"query", "server", "rows"}


async def test_null_is_a_value_that_can_be_expected(server: Postgresql) -> None:
    expect = {"value": None, "json": {"$[0].n": None}}
    assert said(await run(check_of(server, "select null as n", expect=expect))) == ("ok", None, "")


@pytest.mark.parametrize(
    ("query", "fault", "words", "code"),
    [
        ("select * from nowhere", "fail/absent", 'relation "nowhere" does not exist', "42P01"),
        ("select nothing from orders", "fail/absent", 'column "nothing" does not exist', "42703"),
        ("select * from secrets", "fail/auth", "permission denied for table secrets", "42501"),
        ("select 1 / (id - 1) from orders", "fail/content", "division by zero", "22012"),
        ("selec 1", "error/config", 'syntax error at or near "selec"', "42601"),
        ("select 1; select 2", "error/config", "more than one statement", "42601"),
        ("select upper(1, 2)", "error/config", "function upper(integer, integer) does not exist", "42883"),
        ("vacuum orders", "error/config", "VACUUM", "25001"),
        ("delete from orders", "error/config", "set read_only: false", "25006"),
        ("select nextval('nowhere')", "fail/absent", "nowhere", "42P01"),
        ("select 'infinity'::timestamptz", "error/config", "let the query cast it to text", ""),
        ("copy orders to stdout", "error/config", "COPY", ""),
        (
            "do $$ begin raise 'the books do not balance'; end $$",
            "fail/content",
            "the books do not balance",
            "P0001",
        ),
    ],
)
async def test_who_is_bad_follows_from_the_servers_code(
    server: Postgresql, query: str, fault: str, words: str, code: str
) -> None:
    result = await run(check_of(server, query))
    assert "/".join(map(str, said(result)[:2])) == fault, result.sentence
    assert words in result.sentence
    assert "traceparent" not in result.sentence
    assert code in result.evidence.get("error", "")


@pytest.mark.parametrize(
    ("options", "fault", "words"),
    [
        ({"password": "another"}, "fail/auth", "refused the login: password authentication failed"),
        ({"password": ""}, "error/config", "asks for a password, and the check has none"),
        ({"user": "crowd"}, "fail/connect", 'too many connections for role "crowd"'),
        ({"database": "nowhere"}, "fail/absent", 'database "nowhere" does not exist'),
        ({"rest": "?sslmode=verify-full"}, "error/config", "root certificate file"),
        ({"rest": "?sslmode=sometimes"}, "error/config", "invalid sslmode value"),
        ({"host": "[::1]"}, "fail/connect", "Connection refused"),
        ({"host": "absent.invalid"}, "fail/resolve", "absent.invalid"),
        ({"host": "", "rest": "?host=/nowhere"}, "fail/connect", "No such file or directory"),
    ],
)
async def test_who_does_not_get_in_hears_why(
    server: Postgresql, monkeypatch: pytest.MonkeyPatch, options: Any, fault: str, words: str
) -> None:
    monkeypatch.setenv("HEARTBEAT_DNS_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("HOME", "/nowhere")
    user, database = options.get("user", "monitor"), options.get("database", "postgres")
    port = f":{server.port}" if options.get("host", "x") else ""
    url = f"postgresql://{user}@{options.get('host', '127.0.0.1')}{port}/{database}{options.get('rest', '')}"
    if not port:
        url = url.replace(f"{user}@", "")
    check = check_of(server, url=url, user=user, password=options.get("password", PASSWORD))
    result = await run(check)
    assert "/".join(map(str, said(result)[:2])) == fault, result.sentence
    assert words in result.sentence


async def test_a_refused_connection_is_a_bad_target(server: Postgresql) -> None:
    with refusing_port() as port:
        result = await run(check_of(server, url=f"postgresql://monitor@127.0.0.1:{port}/shop"))
    assert said(result) == ("fail", "connect", f"no connection to 127.0.0.1:{port}: Connection refused")
    assert list(result.phases) == ["resolve", "connect"]


async def test_another_address_of_the_host_is_tried_where_nobody_listens(server: Postgresql) -> None:
    result = await run(check_of(server, "select inet_server_addr()", url=url_of(server, host="localhost")))
    assert said(result) == ("ok", None, "")


async def test_the_url_asks_for_tls_as_libpq_does(server: Postgresql, tmp_path: Any) -> None:
    right, other = tmp_path / "right.pem", tmp_path / "other.pem"
    CA.cert_pem.write_to_path(str(right))
    trustme.CA().cert_pem.write_to_path(str(other))
    query = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
    found = {}
    for name, host, file in (
        ("ok", "localhost", right),
        ("name", "127.0.0.1", right),
        ("authority", "localhost", other),
    ):
        url = url_of(server, host=host, rest=f"?sslmode=verify-full&sslrootcert={file}")
        found[name] = await run(check_of(server, query, url=url, expect={"value": True}))
    assert said(found["ok"]) == ("ok", None, "")
    assert said(found["name"])[:2] == said(found["authority"])[:2] == ("fail", "certificate")
    assert "does not match host name" in found["name"].sentence
    assert "certificate verify failed" in found["authority"].sentence


async def test_what_only_reads_leaves_nothing_behind(server: Postgresql) -> None:
    server.run(
        "create or replace function add() returns int language sql as 'insert into orders values (9) returning id'"
    )
    for query in ("insert into orders values (3)", "select add()", "truncate orders", "create table mine (id int)"):
        assert said(await run(check_of(server, query)))[:2] == ("error", "config")
    assert (await run(check_of(server, "set local work_mem = '1MB'"))).measurements == {"rows": 0}
    assert server.run("select count(*) from orders") == "2"


async def test_what_may_write_is_committed(server: Postgresql) -> None:
    result = await run(
        check_of(server, "insert into orders values (3, 'three')", read_only=False, expect={"rows": 1}),
    )
    assert said(result) == ("ok", None, "")
    assert list(result.phases) == ["resolve", "connect", "query", "commit"]
    query = "update orders set reference = reference || '!' returning id, reference"
    result = await run(check_of(server, query, read_only=False, rows_limit=1, expect={"rows": 3, "value": 1}))
    assert (said(result), result.measurements) == (("ok", None, ""), {"rows": 3})
    assert server.run("select string_agg(reference, ' ' order by id) from orders") == "one! two! three!"


async def test_what_does_not_hold_is_not_committed(server: Postgresql) -> None:
    result = await run(check_of(server, "delete from orders", read_only=False, expect={"rows": 1}))
    assert said(result) == ("fail", "mismatch", "the number of rows is another value")
    assert result.evidence["rows"] == "(changed: 2)"
    assert server.run("select count(*) from orders") == "2"


async def test_a_broken_constraint_is_the_targets_and_its_values_are_not_shown(server: Postgresql) -> None:
    check = check_of(
        server, "insert into orders values (:id, :name)", parameters={"id": 3, "name": "one"}, read_only=False
    )
    result = await run(check)
    assert said(result)[:2] == ("fail", "content")
    assert "violates unique constraint" in result.sentence
    assert "(one)" not in str(result)


async def test_a_server_that_takes_no_writes_is_a_bad_target(server: Postgresql) -> None:
    check = check_of(server, "delete from orders", url=url_of(server, "standby"), read_only=False)
    result = await run(check)
    assert said(result)[:2] == ("fail", "status")
    assert "takes no writes" in result.sentence


async def test_several_statements_are_refused_also_where_it_may_write(server: Postgresql) -> None:
    result = await run(check_of(server, "delete from orders; commit; select 1", read_only=False))
    assert said(result) == ("error", "config", "the query is more than one statement; a check sends one")
    assert server.run("select count(*) from orders") == "2"


async def test_parameters_are_never_read_as_sql(server: Postgresql) -> None:
    check = check_of(
        server,
        "select :a as a, '100%' as \"100%\", now()::date is not null as d, '12:30' as t, :n + 1 as n, ' \\:b' as b",
        parameters={"a": HOSTILE, "n": 41},
        expect={
            "json": {"$[0]": {"equals": {"a": HOSTILE, "100%": "100%", "d": True, "t": "12:30", "n": 42, "b": " :b"}}}
        },
    )
    assert said(await run(check)) == ("ok", None, "")
    check = check_of(
        server,
        "insert into orders values (:id, :name) returning reference",
        parameters={"id": 5, "name": HOSTILE},
        read_only=False,
    )
    assert said(await run(check)) == ("ok", None, "")
    assert server.run("select reference from orders where id = 5") == HOSTILE.strip()
    check = check_of(
        server,
        "select id from orders where id = any(:ids) and (cast(:none as text) is null) order by id",
        parameters={"ids": [1, 2, 7], "none": None},
        expect={"json": {"$[*].id": {"in": [1, 2]}}, "rows": 2},
    )
    assert said(await run(check)) == ("ok", None, "")


async def test_neither_password_nor_parameters_are_shown(server: Postgresql) -> None:
    for options in (
        {"query": "select cast(:token as int)", "parameters": {"token": "hunter2-hunter2"}},
        {"query": "select 1", "password": f"{PASSWORD}-or-another"},
        {"query": "select 1", "url": url_of(server, rest="?sslmode=sometimes")},
        {"query": "select pg_sleep(5), :token", "parameters": {"token": "hunter2-hunter2"}},
    ):
        check = check_of(server, **options)
        result = await run(check, 0.5)
        assert result.reason is not None
        for secret in ("hunter2", PASSWORD):
            assert secret not in str(result), options
            assert secret not in repr(check)


@pytest.mark.parametrize(
    "value", ["hunter2-" * 100, "hunter2\n-----\tkey", "hunter2  hunter2", ["hunter2-a", "hunter2-b"]]
)
async def test_no_part_of_a_parameter_is_shown_where_a_server_repeats_it(server: Postgresql, value: Any) -> None:
    one = ":token" if isinstance(value, str) else "(cast(:token as text[]))[2]"
    query = f"select cast({one} as int)"
    result = await run(check_of(server, query, parameters={"token": value}))
    assert said(result)[:2] == ("fail", "content")
    assert ":token" in result.sentence
    assert "hunter2" not in str(result)


TYPES = {
    "1::smallint": 1,
    "9223372036854775807": 2**63 - 1,
    "12.50::numeric": 12.5,
    "12::numeric": 12,
    "123456789012345678901234567890.5::numeric": "123456789012345678901234567890.5",
    "'NaN'::numeric": "NaN",
    "0.1::float8": 0.1,
    "'infinity'::float8": "inf",
    "true": True,
    "null": None,
    "'2026-07-01 12:00+02'::timestamptz": "2026-07-01T10:00:00+00:00",
    "'2026-07-01 12:00'::timestamp": "2026-07-01T12:00:00",
    "'2026-07-01'::date": "2026-07-01",
    "'12:30'::time": "12:30:00",
    "interval '1 hour 0.5 seconds'": 3600.5,
    "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "'\\xdeadbeef'::bytea": "deadbeef",
    "'{\"a\": [1, null]}'::jsonb": {"a": [1, None]},
    "array[1, null, 3]": [1, None, 3],
    "'192.0.2.1'::inet": "192.0.2.1",
    "array['2026-07-01'::date]": ["2026-07-01"],
    "int4range(1, 5)": "[1, 5)",
    "row(1, 'x')": ["1", "x"],
    "'(1,2)'::point": "(1,2)",
}


async def test_every_value_can_be_said_in_json(server: Postgresql) -> None:
    query = "select " + ", ".join(f"{value} as c{n}" for n, value in enumerate(TYPES))
    answer = await answer_of(check_of(server, query))
    assert list(answer.value[0].values()) == list(TYPES.values())
    assert json.loads(answer.text) == answer.value


async def test_what_stands_for_ever_can_be_said(server: Postgresql) -> None:
    url = url_of(server, rest="?options=-ctimezone%3DAmerica/New_York")
    answer = await answer_of(check_of(server, "select '9999-12-31 23:59:59'::timestamptz as until", url=url))
    assert answer.value == [{"until": "9999-12-31T23:59:59-05:00"}]


async def test_columns_of_one_name_are_all_kept(server: Postgresql) -> None:
    answer = await answer_of(check_of(server, "select 1 as a, 2 as a, 3 as a, 4 as a_2"))
    assert answer.value == [{"a": 1, "a_2": 2, "a_3": 3, "a_2_2": 4}]


async def answer_of(check: Check) -> Answer:
    return await Probe(timeout=5).step("ask", check)


async def test_only_so_many_rows_are_read(server: Postgresql) -> None:
    result = await run(check_of(server, "select generate_series(1, 2000000000) as n", expect={"rows": {"above": 1000}}))
    assert (said(result), result.measurements) == (("ok", None, ""), {"rows": 1001})
    result = await run(check_of(server, "select generate_series(1, 2000000000)", expect={"rows": {"below": 9}}))
    assert said(result) == ("fail", "content", "the number of rows is not below 9")
    assert result.evidence["rows"].endswith('{"generate_series": 5}\n(and 996 more)')
    result = await run(
        check_of(server, "select generate_series(1, 11) as n", rows_limit=10, expect={"json": {"$[0].n": 1}})
    )
    assert said(result)[:2] == ("error", "config")
    assert result.sentence.startswith("there are more rows than the 10 that are kept")
    assert len((await answer_of(check_of(server, "select generate_series(1, 99)", rows_limit=10))).value) == 10


async def test_only_so_many_bytes_are_kept(server: Postgresql) -> None:
    check = check_of(server, "select repeat('x', 300000) as x from generate_series(1, 20)", expect={"rows": 20})
    answer = await answer_of(check)
    assert len(answer.value) == 3
    assert len(answer.text) < 2**20
    result = await run(check_of(server, "select repeat('x', 2000000)", expect={"value": {"contains": "x"}}))
    assert said(result)[:2] == ("error", "config")
    assert "too large" in result.sentence


async def test_the_server_ends_what_takes_longer_than_the_run(server: Postgresql) -> None:
    result = await run(check_of(server, "select pg_sleep(60)"), 1.0)
    assert said(result)[:2] == ("fail", "timeout")
    assert "did not finish the query in time: canceling statement due to statement timeout" in result.sentence
    assert result.evidence["error"] == "SQLSTATE 57014 (QueryCanceled)"
    assert result.phases["query"] < 1.0


async def test_a_lock_that_is_not_let_go_is_a_timeout(server: Postgresql) -> None:
    with psycopg.connect(host=str(server.folder), port=server.port, user="postgres") as other:
        other.execute("update orders set id = id")
        result = await run(check_of(server, "delete from orders", read_only=False), 0.5)
        other.rollback()
    assert said(result)[:2] == ("fail", "timeout")
    assert server.run("select count(*) from orders") == "2"


async def test_a_server_that_hangs_leaves_no_thread_behind(server: Postgresql) -> None:
    runner = Plain()
    task = asyncio.create_task(runner.run(check_of(server, "select pg_sleep(30), 'stopped'"), 1.0))
    pid = int(
        await until(server, "select pid from pg_stat_activity where query like '%''stopped''%' and usename = 'monitor'")
    )
    os.kill(pid, signal.SIGSTOP)
    try:
        result = await task
        assert said(result)[:2] == ("fail", "timeout")
        assert "did not finish the query within" in result.sentence
        await runner.until_free(0.5)
        assert runner.pool.stuck == 0
    finally:
        os.kill(pid, signal.SIGCONT)
    await until(server, f"select 1 where not exists (select from pg_stat_activity where pid = {pid})")


async def test_a_deadlock_is_told(server: Postgresql) -> None:
    script = "do $$ begin update orders set id = id where id = 2; update orders set id = id where id = 1; end $$"
    with psycopg.connect(host=str(server.folder), port=server.port, user="postgres") as other:
        other.execute("update orders set id = id where id = 1")
        task = asyncio.create_task(run(check_of(server, script, read_only=False)))
        await until(server, "select 1 from pg_stat_activity where usename = 'monitor' and wait_event_type = 'Lock'")
        await asyncio.to_thread(other.execute, "update orders set id = id where id = 2")
        result = await task
    assert said(result)[:2] == ("fail", "status")
    assert result.sentence.endswith("refused the query: deadlock detected")
    assert result.evidence["error"] == "SQLSTATE 40P01 (DeadlockDetected)"


async def test_a_session_that_is_ended_by_the_server_is_a_reset(server: Postgresql) -> None:
    kill = "select pg_{}_backend(pid) from pg_stat_activity where query like '%sleep(30)%' and usename = 'monitor'"
    for how, words in (("terminate", "terminating connection"), ("cancel", "canceling statement due to user request")):
        task = asyncio.create_task(run(check_of(server, "select pg_sleep(30)")))
        await until(server, kill.format(how))
        result = await task
        assert said(result)[:2] == ("fail", "reset")
        assert "broke the query off" in result.sentence
        assert words in result.sentence


async def test_a_server_that_stops_and_is_gone_is_told(tmp_path: Any) -> None:
    with postgresql() as server:
        server.run(f"create role monitor login password '{PASSWORD}'")
        task = asyncio.create_task(run(check_of(server, "select pg_sleep(30)")))
        await until(server, "select 1 from pg_stat_activity where query like '%sleep(30)%' and usename = 'monitor'")
        await asyncio.to_thread(server.stop, "fast")
        assert said(await task)[:2] == ("fail", "reset")
        assert said(await run(check_of(server)))[:2] == ("fail", "connect")
        server.start()
        assert said(await run(check_of(server)))[:2] == ("ok", None)


def refuse(message: str, code: str = "57P03") -> Talk:
    fields = b"".join(kind + text.encode() + b"\0" for kind, text in ((b"S", "FATAL"), (b"C", code), (b"M", message)))
    return hang_up_after(b"E" + struct.pack("!i", len(fields) + 5) + fields + b"\0")


@pytest.mark.parametrize(
    ("talk", "reason", "words"),
    [
        (silent, "timeout", "did not finish the connect within 0."),
        (hang_up, "reset", "server closed the connection unexpectedly"),
        (reset, "reset", ""),
        (garbage(), "protocol", ""),
        (refuse("the database system is starting up"), "connect", "the database system is starting up"),
        (refuse("the database system is shutting down"), "connect", "shutting down"),
        (refuse("sorry, too many clients already", "53300"), "connect", "too many clients"),
        (refuse("Anmeldung ist nicht erlaubt", "28000"), "connect", "Anmeldung"),
        (refuse("\x1b[2Jpassword authentication failed \u202e"), "auth", "[2Jpassword authentication failed"),
    ],
)
async def test_whatever_answers_there_is_sorted(talk: Talk, reason: str, words: str) -> None:
    runner = Plain()
    async with serve_tcp(talk) as port:
        url = f"postgresql://monitor@127.0.0.1:{port}/shop?sslmode=disable"
        result = await runner.run(Sql.model_validate({"url": url, "query": "select 1"}), 1.0)
    assert said(result)[:2] == ("fail", reason), result.sentence
    assert words in result.sentence
    assert "\x1b" not in result.sentence
    await runner.until_free()


async def test_a_server_that_lets_us_in_too_late_and_then_hangs_keeps_no_thread() -> None:
    welcome = b"R" + struct.pack("!ii", 8, 0) + b"Z" + struct.pack("!i", 5) + b"I"
    runner = Plain()
    async with serve_tcp(slow(1.3, say(welcome))) as port:
        url = f"postgresql://monitor@127.0.0.1:{port}/shop?sslmode=disable"
        result = await runner.run(Sql.model_validate({"url": url, "query": "select 1"}), 1.0)
        assert said(result)[:2] == ("fail", "timeout")
        await runner.until_free()


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
async def test_a_machine_without_network_is_a_broken_check(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    check = Sql.model_validate({"url": f"{kind}://u@255.255.255.255:9/shop", "query": "select 1"})
    monkeypatch.setattr("heartbeat.runner.sort_fault", partial(sort_fault, has_route=lambda: True))
    assert said(await run(check))[:2] == ("fail", "connect")
    monkeypatch.setattr("heartbeat.runner.sort_fault", partial(sort_fault, has_route=lambda: False))
    assert said(await run(check))[:2] == ("error", "network")


async def test_the_server_knows_who_asks(server: Postgresql) -> None:
    query = "select application_name as who, query from pg_stat_activity where pid = pg_backend_pid()"
    expect = {
        "value": "heartbeat run_1",
        "json": {"$[0].query": {"matches": r"traceparent='00-[0-9a-f]{32}-[0-9a-f]{16}-01'\*/$"}},
    }
    assert said(await run(check_of(server, query, expect=expect))) == ("ok", None, "")
    assert said(await run(check_of(server, f"{query} -- the end", expect=expect))) == ("ok", None, "")
    unmarked = Probe(run="run_1", backing=Backing(marks=lambda: False))
    answer = await unmarked.step("ask", check_of(server, query))
    assert answer.value == [{"who": "heartbeat", "query": query}]
    named = check_of(server, query, url=url_of(server, rest="?application_name=books"), expect={"value": "books"})
    assert said(await run(named)) == ("ok", None, "")


async def test_nobody_stays_connected(server: Postgresql) -> None:
    for query in ("select 1", "select generate_series(1, 100000)", "selec", "delete from orders"):
        await run(check_of(server, query))
    await until(server, "select 1 where not exists (select from pg_stat_activity where usename = 'monitor')")


async def test_what_it_gives_is_taken_by_the_next_step(server: Postgresql) -> None:
    class Story(Check):
        async def run(self, probe: Probe) -> None:
            insert: dict[str, Any] = {
                "query": "insert into orders values (:id, :tag) returning *",
                "parameters": {"id": 7, "tag": "t-7"},
            }
            made = await probe.step("insert", check_of(server, read_only=False, **insert))
            probe.on_cleanup(self.remove)
            found = await probe.step(
                "read",
                check_of(
                    server,
                    "select reference from orders where id = :id",
                    parameters={"id": made.value[0]["id"]},
                    expect={"value": made.value[0]["reference"]},
                ),
            )
            assert found.text == '[{"reference": "t-7"}]'
            await probe.step("miss", check_of(server, "select 1 where false", expect={"rows": 1}))

        async def remove(self, probe: Probe) -> None:
            query = "delete from orders where reference = :tag"
            remove = check_of(server, query, parameters={"tag": "t-7"}, read_only=False, expect={"rows": 1})
            await probe.step("remove", remove)

    result = await run(Story())
    assert said(result) == ("fail", "mismatch", "miss: the number of rows is another value")
    assert {"insert", "insert.connect", "insert.commit", "read.query", "miss"} <= set(result.phases)
    assert result.measurements == {"insert_rows": 1, "read_rows": 1, "miss_rows": 0, "remove_rows": 1}
    assert server.run("select count(*) from orders") == "2"


def test_a_query_takes_no_references() -> None:
    options = {"url": "postgresql://u@h/d", "query": "select ${steps.a.b}"}
    with reading(Reading(lambda _: Sql)), pytest.raises(ValidationError, match=r"sql\.query takes no references"):
        _Outer.model_validate({"ask": {"sql": late(options)}})
    beside = late({"url": "postgresql://u@h/d", "query": "select :b", "parameters": {"b": "${steps.a.b}"}})
    with reading(Reading(lambda _: Sql)):
        built: Any = _Outer.model_validate({"ask": {"sql": beside}}).ask.build(lambda _: HOSTILE)
    assert built.parameters == {"b": HOSTILE}


class _Outer(Check):
    ask: Part

    async def run(self, probe: Probe) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "postgresql://u:hunter2@h/d"}, "write it under password"),
        ({"url": "postgresql://u@h/d?password=hunter2"}, "write it under password"),
        ({"url": "hunter2"}, "this is no URL of a database"),
        ({"url": "postgresql://u@h:hunter2/d"}, "this is no URL of a database"),
        ({"url": "oracle://u@h/d"}, "a URL begins with postgresql://, mysql://"),
        ({"url": "postgresql+asyncpg://u@h/d"}, "postgresql is spoken with psycopg; write postgresql://"),
        ({"url": "postgresql:///d"}, "the URL names no host; for a socket"),
        ({"url": "postgresql://u@h"}, "the URL names no database"),
        ({"url": "postgresql://u@h/d?sslmod=require"}, "PostgreSQL's library knows no option sslmod"),
        ({"url": "postgresql://u@h/d?connect_timeout=3"}, "the timeout of the check holds"),
        ({"url": "postgresql://u@h/d?host=i"}, "names the host or the port twice"),
        ({"url": "mysql://u@h/d?local_infile=1"}, "of the options of MySQL's URLs"),
        ({"url": "mysql:///d?host=/run/mysqld"}, "MySQL is spoken over TCP"),
        ({"url": "sqlite:///shop.db"}, "with four slashes"),
        ({"url": "sqlite://"}, "with four slashes"),
        ({"user": "other"}, "names another user"),
        ({"query": "select :a"}, "the query has :a, which parameters does not name"),
        ({"parameters": {"a": 1}}, "the query has no :a, which parameters names"),
        ({"expect": {"rows": 5000}}, "5000 rows cannot be told with rows_limit: 1000"),
        ({"expect": {"rows": {"not": {"in": [1, 5000]}}}}, "5000 rows cannot be told"),
        ({"expect": {"rows": "many"}}, "rows is a number"),
        ({"expect": {"rows": None}}, "rows is a number"),
        ({"expect": {"rows": {"matches": "1"}}}, "rows is a number"),
        ({"expect": {"json": {"n": 1}}}, "is no JSONPath"),
        ({"query": ""}, "at least 1 character"),
    ],
)
def test_what_cannot_work_is_refused_at_load(options: Any, words: str) -> None:
    with pytest.raises(ValidationError) as wrong:
        Sql.model_validate({"url": "postgresql://u@h/d", "query": "select 1", **options})
    assert words in str(wrong.value)
    assert "hunter2" not in str(wrong.value)


@pytest.mark.parametrize(
    ("url", "library", "remedy"),
    [("postgresql://u@h/d", "psycopg", "'heartbeat[sql]'"), ("mariadb://u@h/d", "pymysql", "pymysql")],
)
def test_a_missing_driver_is_named_at_load(
    monkeypatch: pytest.MonkeyPatch, url: str, library: str, remedy: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, library, None)
    words = f"needs the library {library}, which is not installed: pip install {remedy}"
    with pytest.raises(ValidationError) as wrong:
        Sql.model_validate({"url": url, "query": "select 1"})
    assert words in str(wrong.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shop ?#%.db"
    with closing(sqlite3.connect(path)) as made:
        made.executescript(
            "create table orders (id int unique, at text); insert into orders values (1, 'x'), (2, null)"
        )
    return path


def sqlite_of(path: Path, query: str = "select count(*) as n from orders", **options: Any) -> Any:
    return Sql.model_validate({"url": f"sqlite:///{quote(str(path))}", "query": query, **options})


async def test_a_file_of_sqlite_is_a_database_too(file: Path) -> None:
    result = await run(sqlite_of(file, expect={"value": 2, "rows": 1}))
    assert (said(result), list(result.phases)) == (("ok", None, ""), ["connect", "query"])
    insert: dict[str, Any] = {"query": "insert into orders values (:id, :at)", "parameters": {"id": 3, "at": HOSTILE}}
    assert said(await run(sqlite_of(file, **insert))) == ("error", "config", READS)
    result = await run(sqlite_of(file, **insert, read_only=False, expect={"rows": 1}))
    assert (said(result), result.measurements) == (("ok", None, ""), {"rows": 1})
    delete = "delete from orders returning id"
    result = await run(sqlite_of(file, delete, read_only=False, rows_limit=1, expect={"rows": 9}))
    assert (said(result)[:2], result.measurements) == (("fail", "mismatch"), {"rows": 3})
    answer = await answer_of(sqlite_of(file, "select at, 0.5 as half, x'ff' as b from orders order by id desc limit 1"))
    assert answer.value == [{"at": HOSTILE, "half": 0.5, "b": "ff"}]


@pytest.mark.parametrize(
    ("query", "fault", "words", "code"),
    [
        ("select * from nowhere", "fail/absent", "no such table: nowhere", "SQLITE_ERROR"),
        ("select missing from orders", "fail/absent", "no such column: missing", "SQLITE_ERROR"),
        ("selec 1", "error/config", 'near "selec": syntax error', "SQLITE_ERROR"),
        ("select 1; select 2", "error/config", "one statement at a time", ""),
        ("insert into orders values (1, '')", "error/config", "set read_only: false", "SQLITE_READONLY"),
        ("select cast(x'ff' as text)", "error/config", "Could not decode", ""),
    ],
)
async def test_what_sqlite_says_is_sorted(file: Path, query: str, fault: str, words: str, code: str) -> None:
    result = await run(sqlite_of(file, query))
    assert "/".join(map(str, said(result)[:2])) == fault, result.sentence
    assert words in result.sentence
    assert result.evidence.get("error", "") == code


async def test_what_is_wrong_with_the_file_is_the_targets_fault(file: Path) -> None:
    result = await run(sqlite_of(file.with_name("absent.db"), read_only=False))
    assert said(result)[:2] == ("fail", "connect")
    assert not file.with_name("absent.db").exists()
    result = await run(sqlite_of(file, "insert into orders values (1, '')", read_only=False))
    assert said(result)[:2] == ("fail", "content")
    await asyncio.to_thread(file.write_bytes, b"no database at all" * 100)
    assert said(await run(sqlite_of(file)))[:2] == ("fail", "content")


async def test_a_file_that_is_locked_and_a_query_without_end_are_timeouts(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("begin exclusive")
        result = await run(sqlite_of(file), 0.3)
        assert said(result)[:2] == ("fail", "timeout")
        assert "database is locked" in result.sentence
    runner = Plain()
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n"
    result = await runner.run(sqlite_of(file, endless), 0.3)
    assert said(result)[:2] == ("fail", "timeout")
    await runner.until_free(1.0)


def mysql_refusal(number: int, message: str) -> bytes:
    body = b"\xff" + struct.pack("<H", number) + message.encode()
    return struct.pack("<I", len(body))[:3] + b"\0" + body


@pytest.mark.parametrize(
    ("talk", "reason", "words"),
    [
        (silent, "timeout", "did not finish the connect within 0."),
        (hang_up, "reset", "Lost connection to MySQL server"),
        (reset, "reset", ""),
        (garbage(), "protocol", "does not speak as MySQL does"),
        (say(mysql_refusal(1040, "Too many connections")), "connect", "Too many connections"),
        (say(mysql_refusal(1130, "Host is not allowed to connect")), "auth", "Host is not allowed"),
        (say(mysql_refusal(1053, "Server shutdown in progress")), "reset", "Server shutdown"),
    ],
)
async def test_mysql_is_spoken(talk: Talk, reason: str, words: str) -> None:
    runner = Plain()
    async with serve_tcp(talk) as port:
        options = {"url": f"mysql://monitor@127.0.0.1:{port}/shop", "query": "select 1", "password": PASSWORD}
        result = await runner.run(Sql.model_validate(options), 1.0)
    assert said(result)[:2] == ("fail", reason), result.sentence
    assert words in result.sentence
    await runner.until_free()


def packets(*bodies: bytes, first: int = 1) -> bytes:
    return b"".join(struct.pack("<I", len(body))[:3] + bytes([first + n]) + body for n, body in enumerate(bodies))


def mysql_rows(rows: int) -> Talk:
    """Log anybody in, and give so many rows, and then nothing: as MariaDB does whose network breaks."""
    flags = 0x00A2_0200 | 0x8  # protocol 4.1, plugins for the login, its data of any length, a database
    greeting = b"\x0a8.0.36\0" + struct.pack("<I", 7) + b"x" * 8 + b"\0" + struct.pack("<H", flags & 0xFFFF)
    greeting += b"\x2d\x02\0" + struct.pack("<H", flags >> 16) + b"\x15" + bytes(10) + b"y" * 12 + b"\0"
    words = (b"def", b"shop", b"t", b"t", b"n", b"n")
    column = b"".join(bytes([len(word)]) + word for word in words) + b"\x0c" + struct.pack("<HIBHB", 45, 9, 253, 0, 0)
    answer = packets(b"\x01", column + b"\0\0", b"\xfe\0\0\x02\0") + b"".join(
        packets(b"\x01a", first=(4 + n) % 256) for n in range(rows)
    )

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(packets(greeting + b"mysql_native_password\0", first=0))
        number = 2
        while header := await reader.read(4):
            said = await reader.readexactly(int.from_bytes(header[:3], "little"))
            if b"select" in said:
                writer.write(answer)
                await writer.drain()
                return
            writer.write(packets(b"\0\0\0\x02\0\0\0", first=number))
            number = 1

    return talk


@pytest.mark.parametrize(("rows", "found"), [(3, ("fail", "reset")), (50, ("ok", None))])
async def test_what_mysql_did_not_say_to_its_end_is_not_waited_for(rows: int, found: Any) -> None:
    runner = Plain()
    async with serve_tcp(mysql_rows(rows)) as port:
        url = f"mysql://monitor@127.0.0.1:{port}/shop"
        result = await runner.run(Sql.model_validate({"url": url, "query": "select n from t", "rows_limit": 10}), 2.0)
    assert said(result)[:2] == found, result.sentence
    await runner.until_free()
    gc.collect()


@pytest.mark.parametrize("text", [None, "no certificate at all"])
async def test_a_file_of_ours_that_cannot_be_used_is_a_broken_check(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "ca.pem").write_text(text)
    url = f"mysql://u@127.0.0.1:1/shop?ssl_ca={tmp_path}/ca.pem"
    result = await run(Sql.model_validate({"url": url, "query": "select 1"}))
    assert said(result)[:2] == ("error", "config"), result.sentence
    assert "ssl_ca" in result.sentence


MYSQL = [
    (1045, "auth"), (1049, "absent"), (1054, "absent"), (1062, "content"), (1064, "config"), (1142, "auth"),
    (1146, "absent"), (1205, "timeout"), (1213, "status"), (1317, "reset"), (1792, "config"), (3024, "timeout"),
]  # fmt: skip


@pytest.mark.parametrize(("number", "reason"), MYSQL)
def test_what_mysql_says_is_sorted_by_its_number(number: int, reason: str) -> None:
    import pymysql

    package = Sql.__module__.rpartition(".")[0]
    _sql_mysql, _sql_session = (import_module(f"{package}.{name}") for name in ("_sql_mysql", "_sql_session"))
    place = _sql_session.Place("mysql", "db", "3306", "shop")
    session = _sql_mysql.Session(_sql_session.Order(place, "", "", True, 10, "", 0.0))
    trouble = session.explain(pymysql.err.OperationalError(number, "near 'a' /*traceparent='00-68"), "query")
    assert (trouble.reason, trouble.code) == (reason, str(number))
    assert "traceparent" not in trouble.sentence


def test_a_check_travels_between_processes(file: Path) -> None:
    check = sqlite_of(file, "select :a", parameters={"a": 1}, password=PASSWORD)
    assert pickle.loads(pickle.dumps(check)) == check
    assert PASSWORD not in repr(check)

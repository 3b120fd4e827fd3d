"""PostgreSQL, through psycopg 3: one connection, one statement, and what its errors mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import closing
from math import ceil
from time import perf_counter
from typing import Any

import psycopg

from heartbeat.databases import by_sqlstate, by_words, last_words

from ._sql_rows import Found, collect
from ._sql_session import READ_ONLY, Trouble, Wired, lead

MAY_STAND = 1.0
"""Seconds after our deadline at which the server ends a transaction of ours that we forgot, as we were suspended."""

UNASKED = "no password supplied"
RESULTLESS = "didn't produce a result"
"""What psycopg says of a statement that was executed and gives no rows; how many it changed is not told."""
SEVERAL = "cannot insert multiple commands"

NOBODY_THERE = re.compile(r"refused\n|unreachable|No route|timed out|timeout expired")
"""After these another address of the host is tried."""


class Session(Wired):
    """One connection to PostgreSQL."""

    errors = (psycopg.Error, UnicodeError)

    def open(self) -> None:
        """Try each address, as psql does; then begin a transaction that the server ends if nobody else does."""
        order = self._order
        for number, address in enumerate(order.addresses or ("",), start=1):
            try:
                self._connect(address)
                break
            except psycopg.OperationalError as error:
                is_last = number >= len(order.addresses) or perf_counter() > order.ends
                if is_last or not NOBODY_THERE.search(str(error)):
                    raise
        waits = ceil(order.servers_left * 1000)
        stands = ceil((order.left + MAY_STAND) * 1000)
        self._connection.execute(
            f"SET LOCAL statement_timeout = {waits}; SET LOCAL idle_in_transaction_session_timeout = {stands}"
        )

    def ask(self, statement: str, parameters: Mapping[str, Any], found: Found) -> None:
        """Stream what it reads, row by row. Both ways take one statement only: the server refuses a second."""
        cursor = self._connection.cursor()
        if not self._order.read_only:
            with self._connection.pipeline():
                cursor.execute(statement.encode(), parameters)
            names = [column.name for column in cursor.description or ()]
            collect(found, names, cursor if names else (), self._order.rows_limit)
            found.count = max(found.count, cursor.rowcount, 0)
            return
        rows: Any = cursor.stream(statement.encode(), parameters)  # a generator, which psycopg does not tell
        with closing(rows):
            try:
                first = next(rows, None)
            except psycopg.ProgrammingError as error:
                if error.sqlstate is None and RESULTLESS in str(error):
                    return
                raise
            if first is not None:
                names = [column.name for column in cursor.description or ()]
                collect(found, names, _chain(first, rows), self._order.rows_limit)

    def explain(self, error: Exception, doing: str) -> Trouble:
        """Sort by the server's code, and by its words where it gave none."""
        name, code = self._order.place, getattr(error, "sqlstate", None)
        said = self._order.quote(getattr(getattr(error, "diag", None), "message_primary", None) or last_words(error))
        if code is None:
            return _without_code(error, said, doing, str(name))
        shown = f"SQLSTATE {code} ({type(error).__name__})"
        if SEVERAL in said:
            return Trouble("config", "the query is more than one statement; a check sends one", shown)
        if code == "25006" and self._order.read_only:
            return Trouble("config", READ_ONLY, shown)
        if code == "25006":
            return Trouble("status", f"{name} takes no writes: {said}", shown)
        reason = by_sqlstate(code, said)
        return Trouble(reason, f"{lead(reason, doing, name)}: {said}", shown)

    def _connect(self, address: str) -> None:
        order, place = self._order, self._order.place
        given = {
            "host": place.host, "port": place.port, "dbname": place.database, "hostaddr": address,
            "user": order.user, "password": order.password, "application_name": order.label, "client_encoding": "utf8",
            **place.options,
        }  # fmt: skip
        wanted: dict[str, Any] = {name: value for name, value in given.items() if value}
        connection = psycopg.Connection.connect(**wanted, connect_timeout=ceil(order.left), prepare_threshold=None)
        self._connection = connection
        self.hold(connection.fileno())
        connection.read_only = order.read_only or None  # None: as the server has it, so a standby says what it is


def _chain(first: tuple[Any, ...], rest: Any) -> Any:
    yield first
    yield from rest


def _without_code(error: Exception, said: str, doing: str, name: str) -> Trouble:
    """Sort what psycopg found by itself, and what was said before there was a session."""
    if isinstance(error, (UnicodeError, psycopg.DataError)):
        return Trouble("config", f"a value cannot be read: {said}; let the query cast it to text")
    if UNASKED in said:
        return Trouble("config", f"{name} asks for a password, and the check has none; write it under password")
    if isinstance(error, (psycopg.ProgrammingError, psycopg.NotSupportedError)):
        reason = "config"
    else:
        reason = by_words(said, "connection failed" if doing == "connect" else "")
    return Trouble(reason, f"{lead(reason, doing, name)}: {said}")

"""PostgreSQL, through psycopg 3: one connection, one statement, and what its errors mean."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from contextlib import closing, suppress
from math import ceil
from time import perf_counter
from typing import Any

import psycopg
from psycopg import errors

from heartbeat.http.text import clean

from ._sql_rows import Found, collect
from ._sql_session import READ_ONLY, Order, Trouble, lead

MAY_STAND = 1.0
"""Seconds after our deadline at which the server ends a transaction of ours that we forgot, as we were suspended."""

# PostgreSQL's codes (appendix A of its manual); a class is its first two characters. What was there yesterday and is
# not there today is the target's fault, even though it may be a mistake in a query that never worked.
CODES = {
    "42P01": "absent", "42703": "absent", "3F000": "absent", "3D000": "absent",
    "42501": "auth",
    "55P03": "timeout", "57014": "reset",
    "57P01": "reset", "57P02": "reset", "57P05": "reset", "25P03": "reset", "25P04": "reset",
    "57P03": "connect", "53300": "connect",
    "08P01": "protocol",
    "08": "reset", "28": "auth",
    "22": "content", "23": "content", "P0": "content",
    "42": "config", "0A": "config", "25": "config", "2B": "config", "2D": "config", "34": "config", "54": "config",
}  # fmt: skip

UNASKED = "no password supplied"
RESULTLESS = "didn't produce a result"
"""What psycopg says of a statement that was executed and gives no rows; how many it changed is not told."""
SEVERAL = "cannot insert multiple commands"

# What is said before there is a session comes without a code, and in the server's language: known is the English one.
WORDS = tuple(
    (re.compile(words), reason)
    for words, reason in (
        (r"SSL negotiation|expected .*, but received|unexpected (message|response)|synchronization", "protocol"),
        (r"invalid \S+ value|file \"[^\"]*\" does not exist|could not (read|load|open|access) .*file", "config"),
        (r"[Tt]oo many open files|out of memory", "resource"),
        (r"could not translate host name", "resolve"),
        (r"too many (connections|clients)|connection slots are reserved", "connect"),
        (r"starting up|shutting down|recovery mode|accepting connections$", "connect"),
        (r"database \".*\" does not exist", "absent"),
        (r"authentication|pg_hba\.conf|not permitted to log in|permission denied|role \".*\" does not exist", "auth"),
        (r"session is (not )?read-only|hot standby", "status"),
        (r"timeout expired|timed out", "timeout"),
        (r"closed the connection|reset by peer|EOF|Broken pipe|terminating connection", "reset"),
        (r"certificate", "certificate"),
        (r"SSL|TLS", "tls"),
    )
)

NOBODY_THERE = re.compile(r"refused\n|unreachable|No route|timed out|timeout expired")
"""After these another address of the host is tried."""


class Session:
    """One connection to PostgreSQL."""

    errors = (psycopg.Error, UnicodeError)

    def __init__(self, order: Order) -> None:
        self._order = order
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._wire: socket.socket | None = None

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
        self._there().execute(
            f"SET LOCAL statement_timeout = {waits}; SET LOCAL idle_in_transaction_session_timeout = {stands}"
        )

    def ask(self, statement: str, parameters: Mapping[str, Any], found: Found) -> None:
        """Stream what it reads, row by row. Both ways take one statement only: the server refuses a second."""
        cursor = self._there().cursor()
        if not self._order.read_only:
            with self._there().pipeline():
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

    def commit(self) -> None:
        """Commit."""
        self._there().commit()

    def close(self) -> None:
        """Disconnect; the server undoes what was not committed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def abort(self) -> None:
        """Cut the wire: whoever waits for an answer sees its end. Its server's process sees it when it writes."""
        wire = self._wire
        if wire is not None:
            with suppress(OSError):  # it is cut already, or closed this moment
                wire.shutdown(socket.SHUT_RDWR)

    def explain(self, error: Exception, doing: str) -> Trouble:
        """Sort by the server's code, and by its words where it gave none."""
        name, code = self._order.place, getattr(error, "sqlstate", None)
        said = clean(getattr(getattr(error, "diag", None), "message_primary", None) or _last_words(error), 300)
        if code is None:
            return _without_code(error, said, doing, str(name))
        shown = f"SQLSTATE {code} ({type(error).__name__})"
        if SEVERAL in said:
            return Trouble("config", "the query is more than one statement; a check sends one", shown)
        if code == "25006" and self._order.read_only:
            return Trouble("config", READ_ONLY, shown)
        if code == "25006":
            return Trouble("status", f"{name} takes no writes: {said}", shown)
        reason = _by_code(code, said)
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
        self._wire = socket.socket(fileno=os.dup(connection.fileno()))
        connection.read_only = order.read_only or None  # None: as the server has it, so a standby says what it is

    def _there(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._connection is None:
            raise errors.ConnectionDoesNotExist("there is no connection")
        return self._connection


def _chain(first: tuple[Any, ...], rest: Any) -> Any:
    yield first
    yield from rest


def _by_code(code: str, said: str) -> str:
    if code == "57014" and "timeout" in said:
        return "timeout"
    return CODES.get(code) or CODES.get(code[:2]) or "status"


def _without_code(error: Exception, said: str, doing: str, name: str) -> Trouble:
    """Sort what psycopg found by itself, and what was said before there was a session."""
    if isinstance(error, (UnicodeError, psycopg.DataError)):
        return Trouble("config", f"a value cannot be read: {said}; let the query cast it to text")
    if UNASKED in said:
        return Trouble("config", f"{name} asks for a password, and the check has none; write it under password")
    if isinstance(error, (psycopg.ProgrammingError, psycopg.NotSupportedError)):
        reason = "config"
    else:
        known = (reason for words, reason in WORDS if words.search(said))
        reason = next(known, "connect" if doing == "connect" else "reset")
    return Trouble(reason, f"{lead(reason, doing, name)}: {said}")


def _last_words(error: Exception) -> str:
    """Return what libpq says of the last thing that it tried, without the addresses before it."""
    lines = [line for line in str(error).splitlines() if line and not line.startswith("\t")]
    tried = [line.rpartition(" failed: ")[2] for line in lines if " failed: " in line]
    return re.sub(r"^[A-Z]+: +", "", tried[-1] if tried else lines[0] if lines else type(error).__name__)

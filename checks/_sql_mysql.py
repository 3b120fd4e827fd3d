"""MySQL and MariaDB, through PyMySQL: one connection, one statement, and what its errors mean."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import struct
from collections.abc import Mapping
from contextlib import suppress
from math import ceil
from time import perf_counter
from typing import Any

import pymysql
from pymysql.cursors import SSCursor

from heartbeat.http.text import clean

from ._sql_rows import Found, collect
from ._sql_session import READ_ONLY, Order, Trouble, lead

# The servers' numbers, and from 2000 on those of clients. What was there yesterday is the target's, as in PostgreSQL.
CODES = {
    **dict.fromkeys((1044, 1045, 1130, 1142, 1143, 1227, 1370, 1698), "auth"),
    **dict.fromkeys((1049, 1054, 1109, 1146, 1305), "absent"),
    **dict.fromkeys((1040, 1129, 1203, 1226), "connect"),
    **dict.fromkeys((1053, 1317, 1927, 2006, 2013), "reset"),
    **dict.fromkeys((1205, 1969, 3024), "timeout"),
    **dict.fromkeys((1048, 1062, 1264, 1292, 1365, 1366, 1406, 1451, 1452, 1690, 3819, 4025), "content"),
    **dict.fromkeys((1064, 1065, 1149, 1210, 1222, 1251, 1582, 2059), "config"),
    **dict.fromkeys((2026, 3159), "tls"),
}
READS_ONLY = 1792
ERRNOS = {
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ETIMEDOUT: "timeout",
    errno.EMFILE: "resource",
    errno.ENFILE: "resource",
}
MISREAD = (struct.error, ValueError, LookupError, AssertionError)
"""What PyMySQL raises where the other side speaks something else."""


class Session:
    """One connection to MySQL or MariaDB."""

    errors = (pymysql.MySQLError, OSError, RuntimeError, *MISREAD)

    def __init__(self, order: Order) -> None:
        self._order = order
        self._connection: Any = None
        self._wire: socket.socket | None = None

    def open(self) -> None:
        """Connect over a socket of our own, log in, and let the server end what takes longer than we wait."""
        order, options = self._order, self._order.place.options
        self._connection = pymysql.connections.Connection(
            host=order.place.host,
            port=int(order.place.port),
            user=order.user,
            password=order.password,
            database=order.place.database,
            program_name=order.label,
            read_timeout=order.left,
            write_timeout=order.left,
            charset=options.get("charset", "utf8mb4"),
            cursorclass=SSCursor,
            defer_connect=True,
            **{name: _switch(value) for name, value in options.items() if name.startswith("ssl_")},
        )
        wire = self._reach()
        self._wire = socket.socket(fileno=os.dup(wire.fileno()))
        self._connection.connect(wire)
        is_mariadb = "MariaDB" in self._connection.server_version
        limit = order.servers_left
        cap = f"max_statement_time = {limit:.3f}" if is_mariadb else f"max_execution_time = {ceil(limit * 1000)}"
        with self._connection.cursor() as cursor:
            cursor.execute(f"SET SESSION {cap}, SESSION innodb_lock_wait_timeout = {ceil(limit)}")
            # of the session: what commits by itself, as CREATE does, ends the transaction before it begins
            cursor.execute(f"SET SESSION TRANSACTION READ {'ONLY' if order.read_only else 'WRITE'}")
            cursor.execute("START TRANSACTION")

    def ask(self, statement: str, parameters: Mapping[str, Any], found: Found) -> None:
        """Read row by row. A second statement is refused: the connection does not allow it."""
        cursor = self._connection.cursor()
        cursor.execute(statement, dict(parameters))
        names = [column[0] for column in cursor.description or ()]
        collect(found, names, cursor if names else (), self._order.rows_limit)
        if not names:
            found.count = max(cursor.rowcount, 0)
        elif not self._order.read_only:
            found.count += sum(1 for _ in cursor)
        elif found.count > self._order.rows_limit:
            self.abort()  # or closing the cursor would read the rest
        with suppress(pymysql.MySQLError):
            cursor.close()

    def commit(self) -> None:
        """Commit."""
        self._connection.commit()

    def close(self) -> None:
        """Disconnect; the server undoes what was not committed."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.open:
            connection.close()
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def abort(self) -> None:
        """Cut the wire."""
        wire = self._wire
        if wire is not None:
            with suppress(OSError):  # it is cut already, or closed this moment
                wire.shutdown(socket.SHUT_RDWR)

    def explain(self, error: Exception, doing: str) -> Trouble:
        """Sort by the number of the error, and by what lies beneath where there is none."""
        name, number = self._order.place, error.args[0] if error.args else None
        said = clean(error.args[1] if len(error.args) > 1 else error, 300)
        if isinstance(error, MISREAD) or type(error) is pymysql.InternalError:
            return Trouble("protocol", f"{name} does not speak as MySQL does: {said or type(error).__name__}")
        if isinstance(error, RuntimeError):
            return Trouble(
                "config", f"{lead('config', doing, name)}: {said}"
            )  # PyMySQL wants a library for this way to log in
        if not isinstance(number, int) or not isinstance(error, pymysql.MySQLError) or number == 2003:
            return _of_socket(error, doing, name)
        if number == READS_ONLY and self._order.read_only:
            return Trouble("config", READ_ONLY, str(number))
        reason = "timeout" if "timed out" in said else CODES.get(number, "status")
        return Trouble(reason, f"{lead(reason, doing, name)}: {said}", str(number))

    def _reach(self) -> socket.socket:
        """Connect to the first address at which somebody listens."""
        order = self._order
        for number, address in enumerate(order.addresses, start=1):
            try:
                return socket.create_connection((address, int(order.place.port)), order.left)
            except OSError:
                if number >= len(order.addresses) or perf_counter() > order.ends:
                    raise
        raise OSError("there is no address")


def _switch(value: str) -> str | bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    return words.get(value.lower(), value)


def _of_socket(error: Exception, doing: str, name: object) -> Trouble:
    beneath: Any = getattr(error, "original_exception", error)
    said = clean(getattr(beneath, "verify_message", "") or beneath, 300)
    if isinstance(beneath, ssl.SSLError):
        reason = "certificate" if isinstance(beneath, ssl.SSLCertVerificationError) else "tls"
    elif isinstance(beneath, OSError) and beneath.errno:
        reason, said = ERRNOS.get(beneath.errno, "connect"), os.strerror(beneath.errno).lower()
    else:
        reason = "timeout" if isinstance(beneath, TimeoutError) else "connect"
    return Trouble(reason, f"{lead(reason, doing, name)}: {said}")

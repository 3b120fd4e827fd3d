"""MySQL and MariaDB, through PyMySQL: one connection, one statement, and what its errors mean."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import struct
from collections.abc import Mapping
from math import ceil
from time import perf_counter
from typing import Any

import pymysql
from pymysql.cursors import SSCursor

from heartbeat.databases import by_number
from heartbeat.http.text import clean

from ._sql_rows import Found, collect
from ._sql_session import READ_ONLY, Trouble, Wired, lead

READS_ONLY = 1792
ERRNOS = {
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ETIMEDOUT: "timeout",
    errno.ENETUNREACH: "network",
    errno.EMFILE: "resource",
    errno.ENFILE: "resource",
}
MISREAD = (struct.error, ValueError, LookupError, AssertionError)
"""What PyMySQL raises where the other side speaks something else."""


class Session(Wired):
    """One connection to MySQL or MariaDB."""

    errors = (pymysql.MySQLError, OSError, RuntimeError, *MISREAD)

    def open(self) -> None:
        """Connect over a socket of our own, log in, and let the server end what takes longer than we wait."""
        order, options = self._order, self._order.place.options
        try:
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
        except (OSError, ValueError) as error:  # nothing has been sent: these are our own files
            raise RuntimeError(f"{error}; see ssl_ca, ssl_cert and ssl_key") from None
        wire = self._reach()
        self.hold(wire.fileno())
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
        try:
            cursor.execute(statement, dict(parameters))
            names = [column[0] for column in cursor.description or ()]
            collect(found, names, cursor if names else (), self._order.rows_limit)
            if not names:
                found.count = max(cursor.rowcount, 0)
            elif not self._order.read_only:
                found.count += sum(1 for _ in cursor)
        finally:
            self._leave_rest()

    def explain(self, error: Exception, doing: str) -> Trouble:
        """Sort by the number of the error, and by what lies beneath where there is none."""
        name, number = self._order.place, error.args[0] if error.args else None
        said = self._order.quote(error.args[1] if len(error.args) > 1 else error)
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
        reason = by_number(number, said)
        return Trouble(reason, f"{lead(reason, doing, name)}: {said}", str(number))

    def _leave_rest(self) -> None:
        """Keep PyMySQL from reading the rest of an answer when it forgets it; it has no other way of saying so."""
        answer = self._connection._result  # noqa: SLF001 - as above
        if answer is not None:
            answer.unbuffered_active = False

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

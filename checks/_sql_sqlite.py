"""SQLite, through Python's own library: one connection, one statement, and what its errors mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from time import perf_counter
from typing import Any
from urllib.parse import quote

from heartbeat.databases import by_name

from ._sql_rows import Found, collect
from ._sql_session import READ_ONLY, Order, Trouble, lead

STEPS = 10_000
"""After how many instructions SQLite asks whether to go on."""


class Session:
    """One connection to a file of SQLite. A file that is not there is not made."""

    errors = (sqlite3.Error, sqlite3.Warning, UnicodeError)

    def __init__(self, order: Order) -> None:
        self._order = order
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open the file, waiting for locks of others as long as there is time."""
        order = self._order
        address = f"file:{quote(order.place.database)}?mode={'ro' if order.read_only else 'rw'}"
        self._connection = sqlite3.connect(address, uri=True, timeout=order.servers_left, isolation_level=None)
        self._connection.set_progress_handler(lambda: perf_counter() > order.ends, STEPS)
        self._connection.execute("BEGIN" if order.read_only else "BEGIN IMMEDIATE")

    def ask(self, statement: str, parameters: Mapping[str, Any], found: Found) -> None:
        """Read row by row. The library takes one statement only."""
        with closing(self._there().execute(statement, dict(parameters))) as cursor:
            names = [column[0] for column in cursor.description or ()]
            collect(found, names, cursor if names else (), self._order.rows_limit)
            if not self._order.read_only:  # what was not looked at is to be written too
                found.count += sum(1 for _ in cursor) if names else max(cursor.rowcount, 0)

    def commit(self) -> None:
        """Commit."""
        self._there().execute("COMMIT")

    def close(self) -> None:
        """Close the file, which undoes what was not committed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def abort(self) -> None:
        """Interrupt the statement."""
        connection = self._connection
        if connection is not None:
            try:
                connection.interrupt()
            except sqlite3.ProgrammingError:  # closed this moment
                return

    def explain(self, error: Exception, doing: str) -> Trouble:
        """Sort by SQLite's code, and by its words where that says nothing."""
        said, name = self._order.quote(error), getattr(error, "sqlite_errorname", "")
        if name.startswith("SQLITE_READONLY") and self._order.read_only:
            return Trouble("config", READ_ONLY, name)
        reason = by_name(name, said)
        return Trouble(reason, f"{lead(reason, doing, self._order.place)}: {said}", name)

    def _there(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.ProgrammingError("there is no connection")
        return self._connection

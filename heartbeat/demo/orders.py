"""The shop's orders: they can be made, read and taken back; they are kept in SQLite, where others may look, too."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from time import time
from typing import Any

SHOWN_AFTER = 0.3
"""Seconds until a new order can be read: as in most shops, somebody else has to take note of it first."""
TABLE = "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, reference TEXT NOT NULL, created_at REAL NOT NULL)"


class Orders:
    """The orders in one file, or in memory. An order is ``id``, ``reference`` (the customer's) and ``created_at``."""

    def __init__(self, file: Path | None = None) -> None:
        self._store = sqlite3.connect(file or ":memory:", isolation_level=None, check_same_thread=False)
        self._run(TABLE)

    def make(self, reference: str) -> dict[str, Any]:
        """Take an order."""
        at = time()
        made = self._run("INSERT INTO orders (reference, created_at) VALUES (?, ?) RETURNING id", reference, at)
        return {"id": made[0][0], "reference": reference, "created_at": at}

    def all(self) -> list[dict[str, Any]]:
        """Return all orders, the oldest first."""
        rows = self._run("SELECT id, reference, created_at FROM orders ORDER BY id")
        return [{"id": number, "reference": reference, "created_at": at} for number, reference, at in rows]

    def find(self, number: int) -> dict[str, Any] | None:
        """Return an order that is shown by now."""
        found = [order for order in self.all() if order["id"] == number and order["created_at"] + SHOWN_AFTER <= time()]
        return found[0] if found else None

    def take_back(self, number: int) -> bool:
        """Forget an order; False where there is none of this number."""
        return bool(self._run("DELETE FROM orders WHERE id = ? RETURNING id", number))

    def _run(self, statement: str, *values: object) -> list[Any]:
        return self._store.execute(statement, values).fetchall()

    def close(self) -> None:
        """Let go of the file."""
        self._store.close()

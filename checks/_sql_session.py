"""What the databases have in common: where one is, what is asked of it, how far that came, what went wrong."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

from heartbeat import CheckBroken, CheckFailed
from heartbeat.http.text import clean

from ._sql_rows import Found

MARGIN = 0.1
"""Seconds before our own deadline at which the server gives up: then it says so itself, and is not left working."""
COMMENT = re.compile(r"\s*/\*traceparent='[-0-9a-f]*('\*/)?")
"""What we append to a statement; a server that repeats the end of one cuts it where it likes."""
READ_ONLY = "the query writes, and the check only reads; set read_only: false if it is meant to"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a database is.

    Attributes:
        kind: ``postgresql``, ``mysql`` or ``sqlite``.
        host: a name, an address, the folder of a socket, or several names with commas between them; empty for a file.
        port: a number; for several hosts, several.
        database: its name, or the path of the file.
        user: whom the URL names.
        options: what else the URL says, for the driver.
    """

    kind: str
    host: str = ""
    port: str = ""
    database: str = ""
    user: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.kind == "sqlite":
            return self.database
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if "," not in self.host and not host.startswith("/") else host


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked, and as whom.

    Attributes:
        place: of whom.
        addresses: of its host, where they were looked up.
        label: what the server is told of us.
        ends: when we stop waiting, by ``perf_counter``.
        hidden: what nobody is to be told, and what stands in its place.
    """

    place: Place
    user: str
    password: str = field(repr=False)
    read_only: bool
    rows_limit: int
    label: str
    ends: float
    addresses: tuple[str, ...] = ()
    hidden: Mapping[str, str] = field(default_factory=dict, repr=False)

    def quote(self, said: object) -> str:
        """Return what a server says as one line, without what it was given; hidden first, as a cut shows a part."""
        words = str(said)
        for value in sorted(self.hidden, key=len, reverse=True):
            words = words.replace(value, self.hidden[value])
        return clean(COMMENT.sub("", words), 300)

    @property
    def left(self) -> float:
        """Seconds until we stop waiting."""
        return max(0.001, self.ends - perf_counter())

    @property
    def servers_left(self) -> float:
        """Seconds that the server may take."""
        return max(0.001, self.left - min(MARGIN, self.left / 5))


@dataclass(slots=True)
class Course:
    """How far a run came. A thread writes it, and the loop reads it when it waits no longer."""

    doing: str = ""
    since: float = 0.0
    phases: dict[str, float] = field(default_factory=dict)
    session: Session | None = None
    found: Found | None = None
    trouble: Trouble | None = None
    is_over: bool = False
    is_given_up: bool = False
    """Nobody waits any more: nothing new begins."""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a part."""
        self.doing, self.since = name, perf_counter()
        try:
            yield
        finally:
            self.phases[name] = perf_counter() - self.since

    def times(self) -> dict[str, float]:
        """Return how long each part took, the one under way until now."""
        under_way = {} if self.doing in self.phases or not self.doing else {self.doing: perf_counter() - self.since}
        return {**self.phases, **under_way}


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a driver's exception means.

    Attributes:
        reason: a word of the closed list.
        sentence: for people.
        code: what the server calls it, for evidence.
    """

    reason: str
    sentence: str
    code: str = ""

    def fault(self) -> Exception:
        """Return what to raise: the check is bad where its options or its machine are."""
        if self.reason == "network":  # whose fault that is, is asked of this machine's routes
            return OSError(errno.ENETUNREACH, self.sentence)
        kind = CheckBroken if self.reason in {"config", "resource"} else CheckFailed
        return kind(self.sentence, reason=self.reason)


class Session(Protocol):
    """One connection, for one statement. All but ``abort`` is called in one thread."""

    errors: tuple[type[Exception], ...]
    """What the driver raises."""

    def __init__(self, order: Order) -> None: ...

    def open(self) -> None:
        """Connect, log in, and begin a transaction."""

    def ask(self, statement: str, parameters: Mapping[str, Any], found: Found) -> None:
        """Execute a statement, and collect what it gives."""

    def commit(self) -> None:
        """Make it last."""

    def close(self) -> None:
        """Undo what was not committed, and disconnect. Waits for nothing."""

    def abort(self) -> None:
        """End at once what another thread is doing here. Does nothing once it is closed."""

    def explain(self, error: Exception, doing: str) -> Trouble:
        """Say what an error means."""
        ...


class Wired:
    """What the sessions over a network have in common: another thread can cut the wire."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._connection: Any = None
        self._wire: socket.socket | None = None
        self._is_cut = False

    def hold(self, descriptor: int) -> None:
        """Keep a hand on the wire, which the driver may close meanwhile. Nobody may wait for it any more."""
        self._wire = socket.socket(fileno=os.dup(descriptor))
        if self._is_cut:
            self.abort()

    def commit(self) -> None:
        """Commit."""
        self._connection.commit()

    def close(self) -> None:
        """Disconnect; the server undoes what was not committed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def abort(self) -> None:
        """Cut the wire: whoever waits for an answer sees its end. The server's process sees it when it writes."""
        self._is_cut = True
        wire = self._wire
        if wire is not None:
            with suppress(OSError):  # it is cut already, or closed this moment
                wire.shutdown(socket.SHUT_RDWR)


def lead(reason: str, doing: str, name: object) -> str:
    """Return the beginning of a sentence about what went wrong; what the server says of it follows."""
    if reason == "config":
        return f"no connection to {name} is possible" if doing == "connect" else "the query cannot work"
    if doing == "connect":
        return f"{name} refused the login" if reason == "auth" else f"no connection to {name}"
    if reason == "reset":
        return f"{name} broke the {doing} off"
    return f"{name} did not finish the {doing} in time" if reason == "timeout" else f"{name} refused the {doing}"

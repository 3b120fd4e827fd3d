"""The check type `sql`: one statement to a database, and what it should give."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from importlib import import_module
from time import perf_counter
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from sqlalchemy import text
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import CompileError

from heartbeat import Answer, Check, CheckBroken, CheckFailed, Probe
from heartbeat.http import Expectation, resolve
from heartbeat.http.expect import Path, path
from heartbeat.http.expectation import MISSING, require
from heartbeat.http.stream import patience
from heartbeat.http.text import clean

from ._sql_rows import Found
from ._sql_session import Course, Order, Place, Session
from ._sql_url import read_url

ROWS_SHOWN = 5
VALUES = 1000  # that one path may give
LEAST_HIDDEN = 4
"""Shorter values of parameters are not taken out of what a server says: everything would be full of holes."""
STYLES = {"postgresql": "pyformat", "mysql": "pyformat", "sqlite": "named"}
Plain = str | int | float | bool | None


def _is_url(url: str) -> str:
    read_url(url)
    return url


def _or_null(value: Any) -> Any:
    return {"equals": None} if value is None else value


Wanted = Annotated[Expectation | None, BeforeValidator(_or_null)]
"""An expectation; ``null`` is a value to be expected."""


class Expect(BaseModel):
    """What the statement should give. Everything that is given must hold, else nothing is committed."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True)
    rows: Wanted = Field(
        None, description="how many rows it gives, or changes where it gives none: 1 or {above: 0, below: 9}"
    )
    value: Wanted = Field(None, description="the first column of the first row")
    json_: Mapping[Path, Expectation] = Field(
        default_factory=dict,
        alias="json",
        description="JSONPath over the list of rows ($[0].name) to expectation; with several values each must hold",
    )

    def hold(self, found: Found) -> None:
        """Hold what was found against this. Raises ``CheckFailed`` (absent, mismatch or content)."""
        if self.rows is not None:
            require(self.rows, found.count, "the number of rows")
        if self.value is not None:
            self._hold_value(self.value, found)
        if self.json_ and found.is_cut:
            raise CheckBroken(f"{_more_than(found)}, so what json expects cannot be told; add a LIMIT", reason="config")
        for words, expectation in self.json_.items():
            for value in _values(words, found.rows):
                require(expectation, value, f"{clean(words, 100)} in the rows")

    def _hold_value(self, value: Expectation, found: Found) -> None:
        if found.count and not found.rows:
            raise CheckBroken("the first row is too large to be looked at; name fewer columns", reason="config")
        name, seen = next(iter(found.rows[0].items()), ("", MISSING)) if found.rows else ("", MISSING)
        require(value, seen, f"{clean(name, 60)} in the first row" if name else "the value of the first row")


class Sql(Check):
    """Send one statement to a database over a fresh connection, and look at what it gives.

    It runs in a transaction that can only read, and that is never committed; with ``read_only: false`` it may write,
    and is committed once everything holds that is expected. It ends, here and at the server, with the check's time.

    Values are compared as JSON: dates and times are texts in ISO 8601 (in UTC, where they have a zone), intervals are
    seconds, bytes are hexadecimal digits. Reasons: ``absent`` a table, column, database or row that is not there;
    ``auth`` a refused login or a missing right; ``timeout`` also locks; ``status`` deadlocks and other refusals of a
    server; ``mismatch`` and ``content`` other values, broken constraints. A query that cannot work is a broken check.
    """

    literal: ClassVar[frozenset[str]] = frozenset({"query"})

    url: Annotated[str, AfterValidator(_is_url)] = Field(
        description="where to, without a password: postgresql://user@host:5432/database?sslmode=verify-full, "
        "mysql://user@host/database, or sqlite:////path/of/a/file"
    )
    user: str = Field("", description="as whom; else whom the url names")
    password: str = Field("", description="the user's password", repr=False)
    query: str = Field(description="one statement; :name stands for a parameter, and \\: for a colon", min_length=1)
    parameters: Mapping[str, Plain | list[Plain]] = Field(
        default_factory=dict, description="values by name, handed over beside the query", repr=False
    )
    expect: Expect = Field(Expect(), description="what it should give; that it works at all if left out")
    read_only: bool = Field(True, description="whether it only reads; false: it may write, and is committed")
    rows_limit: int = Field(
        1000,
        description="rows to read at most, of which 1 MiB is kept; PostgreSQL sends all where read_only is false",
        ge=1,
        le=100_000,
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Sql:
        if self.user and self.place.user not in ("", self.user):
            raise ValueError("the url names another user than user does; name one")
        wanted, given = set(self._compiled[1]), set(self.parameters)
        if wanted - given:
            name = min(wanted - given)
            raise ValueError(f"the query has :{name}, which parameters does not name; a mere colon is written \\:")
        if given - wanted:
            raise ValueError(f"the query has no :{clean(min(given - wanted), 60)}, which parameters names")
        if self.expect.rows is not None and self.read_only:
            for number in _numbers(self.expect.rows):
                if number > self.rows_limit:
                    raise ValueError(
                        f"{number:g} rows cannot be told with rows_limit: {self.rows_limit}; count(*) them"
                    )
        return self

    @cached_property
    def place(self) -> Place:
        """Where the database is."""
        return read_url(self.url)

    @cached_property
    def _compiled(self) -> tuple[str, tuple[str, ...]]:
        """The statement as the driver wants it, and the names of its parameters."""
        dialect = DefaultDialect(paramstyle=STYLES[self.place.kind])  # type: ignore[arg-type]  # one of its literals
        try:
            compiled = text(self.query.strip().rstrip(";")).compile(dialect=dialect)
        except CompileError as error:
            raise ValueError(f"the query cannot be read: {clean(error)}") from None
        return str(compiled), tuple(compiled.params)

    async def run(self, probe: Probe) -> None:
        """Look up the host, and leave the rest to a thread: connect, ask, hold, commit."""
        addresses = await self._look_up(probe)
        course, order = Course(), self._order(probe, addresses)
        probe.note("query", clean(self.query, 1000))
        probe.note("server", f"{self.place} {self.place.database}")
        try:
            await self._wait(probe, order, course)
        finally:
            course.is_given_up = True
            if course.session is not None:
                course.session.abort()
            self._record(probe, course)

    async def _wait(self, probe: Probe, order: Order, course: Course) -> None:
        started, comment = perf_counter(), comment_of(probe.marks, self.query)
        try:
            async with asyncio.timeout(patience(probe.remaining)) as limit:
                await probe.backing.in_thread(partial(self._visit, order, course, self._compiled[0] + comment))
        except TimeoutError:
            if not limit.expired():
                raise
            words = f"{self.place} did not finish the {course.doing or 'connect'} within"
            raise CheckFailed(f"{words} {perf_counter() - started:.3g} s", reason="timeout") from None
        if course.trouble is not None:
            raise course.trouble.fault()

    def _visit(self, order: Order, course: Course, statement: str) -> None:
        """Do it all, in a thread. Nothing is asked or committed once nobody waits."""
        kind = import_module(f"{__package__}._sql_{self.place.kind}").Session  # here, as drivers take long to import
        session: Session = kind(order)
        course.session = session
        try:
            with course.phase("connect"):
                session.open()
            if course.is_given_up:
                return
            found = Found()
            with course.phase("query"):
                session.ask(statement, self.parameters, found)
            course.found = found
            self.expect.hold(found)
            if not self.read_only and not course.is_given_up:
                with course.phase("commit"):
                    session.commit()
            course.is_over = True
        except session.errors as error:
            course.trouble = session.explain(error, course.doing)
        finally:
            session.close()

    def _record(self, probe: Probe, course: Course) -> None:
        for phase, seconds in course.times().items():
            probe.record_phase(phase, seconds)
        if course.is_over:
            probe.record_duration(sum(probe.phases.values()))
        if course.trouble is not None and course.trouble.code:
            probe.note("error", course.trouble.code)
        found = course.found
        if found is not None and course.trouble is None:
            probe.record("rows", found.count)
            probe.note("rows", lambda: _show(found))
            probe.answer(lambda: Answer(text=json.dumps(found.rows, ensure_ascii=False), value=found.rows))

    async def _look_up(self, probe: Probe) -> tuple[str, ...]:
        host = self.place.host
        if not host or "," in host or host.startswith(("/", "@")):  # a file, several hosts, a socket
            return ()
        with probe.phase("resolve"):
            return tuple(await resolve(host, timeout=patience(probe.remaining)))

    def _order(self, probe: Probe, addresses: tuple[str, ...]) -> Order:
        return Order(
            place=self.place,
            user=self.user or self.place.user,
            password=self.password,
            read_only=self.read_only,
            rows_limit=self.rows_limit,
            label=f"heartbeat {probe.run}" if probe.marks else "heartbeat",
            ends=perf_counter() + patience(probe.remaining),
            addresses=addresses,
            hidden={value: name for value, name in self._handed_over() if len(value) >= LEAST_HIDDEN},
        )

    def _handed_over(self) -> Iterator[tuple[str, str]]:
        """Yield what a server may repeat and nobody is to see, with what stands for it."""
        for name, value in self.parameters.items():
            for one in value if isinstance(value, list) else [value]:
                yield str(one), f":{name}"
        yield self.password, "***"


def comment_of(marks: tuple[tuple[str, str], ...], query: str) -> str:
    """Return a comment that ties a statement to its run, as sqlcommenter writes it; servers log it with the query."""
    parent = dict(marks).get("traceparent", "")
    gap = "\n" if "--" in query or "#" in query else " "  # the query may end in a comment of its own
    return f"{gap}/*traceparent='{parent}'*/" if parent else ""


def _numbers(expectation: Expectation) -> Iterator[float]:
    """Yield the numbers of an expectation of a number. Raises ``ValueError`` where there is anything else."""
    given = expectation.model_fields_set
    if given & {"matches", "contains", "exists"}:
        raise ValueError("rows is a number: equals, above, below, in and not will do")
    equal = [expectation.equals] if "equals" in given else []
    bounds = [bound for bound in (expectation.above, expectation.below) if bound is not None]
    for number in (*equal, *bounds, *(expectation.in_ or ())):
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise ValueError("rows is a number")  # noqa: TRY004 - pydantic wants this one
        yield number
    if expectation.not_ is not None:
        yield from _numbers(expectation.not_)


def _values(words: str, rows: list[dict[str, Any]]) -> list[Any]:
    """Return what a path leads to, or ``MISSING`` where it leads nowhere."""
    from jsonpath import JSONPathError  # noqa: PLC0415 - most checks need none of it

    found = []
    try:
        for node in path(words).finditer(rows):
            found.append(node.obj)
            if len(found) > VALUES:
                raise CheckFailed(f"{clean(words, 100)} gives more than {VALUES} values in the rows")
    except (JSONPathError, RecursionError) as error:
        raise CheckFailed(f"{clean(words, 100)} cannot be looked up in the rows: {clean(error)}") from None
    return found or [MISSING]


def _more_than(found: Found) -> str:
    return f"there are more rows than the {len(found.rows)} that are kept"


def _show(found: Found) -> str:
    lines = [clean(json.dumps(row, ensure_ascii=False), 700) for row in found.rows[:ROWS_SHOWN]]
    if found.count and not (found.rows or found.is_cut):
        return f"(changed: {found.count})"
    left = found.count - len(lines)
    return "\n".join([*lines, f"(and {left} more)"] if left > 0 else lines) or "(no rows)"

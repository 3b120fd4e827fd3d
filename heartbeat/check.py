"""The plugin contract: a check is a frozen pydantic model whose fields are its options, with one method that runs.

A check that waits to be told, instead of looking itself, is ``Reported``.

Errors a plugin raises on purpose:

    CheckFailed   the target is bad
    CheckBroken   the check is bad (its options, its account, its resources)

Everything else that a plugin lets through is sorted by one table, in ``faults``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

from heartbeat.core.model import BROKEN_REASONS, TARGET_REASONS, Reason
from heartbeat.core.units import DURATION_PATTERN, parse_duration, parse_size

Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {"type": "string", "pattern": DURATION_PATTERN, "examples": ["300ms", "30s", "5m"]}, mode="validation"
    ),
]
"""An option in seconds; written with a unit."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["64KiB", "256MiB"]}, mode="validation"),
]
"""An option in bytes; written with or without a unit."""


class CheckFailed(Exception):  # noqa: N818 - the word of the domain; "Error" would say that the check is at fault
    """The target is bad.

    Args:
        sentence: what is wrong, in one sentence that someone just woken understands.
        reason: one of the reasons for a bad target, as a word (``"content"``, ``"absent"``, ...).
        expected: what should have been seen.
        observed: what was seen instead.
    """

    allowed: ClassVar[frozenset[Reason]] = TARGET_REASONS

    def __init__(
        self, sentence: str, *, reason: str = "content", expected: object = None, observed: object = None
    ) -> None:
        super().__init__(sentence)
        if reason not in self.allowed:
            raise ValueError(f"{reason!r} is no reason here; use one of {', '.join(sorted(self.allowed))}")
        self.sentence = str(sentence)  # people write CheckFailed(error)
        self.reason = Reason(reason)
        self.expected = None if expected is None else str(expected)
        self.observed = None if observed is None else str(observed)


class CheckBroken(CheckFailed):
    """The check is bad, not the target: wrong options, a locked account, no resources."""

    allowed = BROKEN_REASONS

    def __init__(
        self, sentence: str, *, reason: str = "plugin", expected: object = None, observed: object = None
    ) -> None:
        super().__init__(sentence, reason=reason, expected=expected, observed=observed)


class Check(BaseModel):
    """One check type. Its fields are the options, its docstring is the documentation.

    A plugin writes ``async def run(self, probe)`` or a plain ``def run(self, probe)``, which then runs in a bounded
    pool of threads. It returns None when the round trip was true, and raises otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    fills: ClassVar[frozenset[str]] = frozenset()
    """What references begin with that this type fills in by itself while it runs (``steps``); see ``references``."""

    literal: ClassVar[frozenset[str]] = frozenset()
    """Options in which no references may stand: what a target chose must not become part of them, as of a query."""

    @abstractmethod
    def run(self, probe: Any) -> Any:
        """Do one round trip. Raises ``CheckFailed`` where the target is bad, ``CheckBroken`` where the check is."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Answer:
    """What a target answered, for who runs a check as a step and takes values from it.

    Attributes:
        text: as it came, decoded.
        headers: names and values, in order, names as they came.
        value: the answer where it is more than text (rows, lists, mappings); else what its text says as JSON.
    """

    text: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    value: Any = None


Kept = MutableMapping[str, Any]
"""What a check remembers from run to run, over restarts: whatever JSON can say."""


@dataclass(frozen=True, slots=True)
class Expected:
    """When reports are expected, by the check's ``every`` or ``cron``: call it with a time for the next one after that.

    Attributes:
        following: returns the next time after a time, of those that are not before another.
        listening: since when reports have been able to reach us without a break.
        fixed: whether the times are those of a clock; else each follows from the report before it, which may have been
            late, so that the next one may come before its time.
    """

    following: Callable[[float, float], float]
    listening: float = 0.0
    fixed: bool = False

    def __call__(self, after: float, not_before: float = 0.0) -> float:
        """Return when the next report is expected after a time; of those that are not before another, where given."""
        return self.following(after, not_before)


@dataclass(frozen=True, slots=True)
class Report:
    """A request that came in on a route of a check.

    Attributes:
        method: as in HTTP.
        rest: what follows the route in the path, without the slash between them.
        query: its parameters, the last of each name.
        body: at most 100,000 bytes; what was beyond is dropped.
        origin: the address that it came from.
    """

    method: str
    rest: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered to a report: an HTTP status, a text, and whether the check runs now to judge it."""

    status: int = 200
    text: str = "OK"
    runs: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)


class Reported(Check):
    """A check that others report to. It runs when a report has come in, and when one is overdue; else it costs nothing.

    Its ``every`` or ``cron`` say when reports are expected. ``take`` and ``due`` are quick, and never wait.
    """

    @abstractmethod
    def routes(self) -> Iterable[str]:
        """Return the paths it is reported to on, such as ``/ping/TOKEN``: one to three parts. They are secrets."""
        raise NotImplementedError

    @abstractmethod
    def take(self, report: Report, kept: Kept, now: float) -> Reply:
        """Note a report in what is kept. The run that follows reads it there (``probe.state``)."""
        raise NotImplementedError

    @abstractmethod
    def due(self, kept: Kept, expected: Expected, now: float) -> float:
        """Return when to run although nothing was reported; it may note in what is kept what it waits for.

        It is asked at the start, after each report and each run, and once more when the time has come: where it returns
        a time that is not after ``now`` the check runs, and finds in ``probe.state`` what was noted here.

        Args:
            kept: what the check remembers; empty for one that is new.
            expected: says when the next report is expected after a time, and since when reports can reach us.
            now: seconds since the epoch, as all times here.
        """
        raise NotImplementedError

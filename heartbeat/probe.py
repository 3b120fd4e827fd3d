"""What a run hands to the plugin: it takes measurements, phases and evidence as they happen."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from math import isfinite
from time import perf_counter
from typing import TYPE_CHECKING

from heartbeat.core.text import cut

if TYPE_CHECKING:
    import httpx

MEASUREMENTS_PER_RUN = 100
PHASES_PER_RUN = 50
EVIDENCE_PER_RUN = 20
EVIDENCE_CHARACTERS = 4096
RESERVED = frozenset({"duration", "up", "severity", "info", "broken", "availability", "runs", "failure_info"})
MEASUREMENT = re.compile(r"[a-z][a-z0-9_]{0,63}")
PHASE = re.compile(r"[a-z][a-z0-9_]{0,31}(\.[a-z][a-z0-9_]{0,31}){0,3}")
# What promtool's linter objects to on a gauge: a suffix that means another type, or a unit that is not a base unit.
BAD_SUFFIXES = ("_total", "_count", "_sum", "_bucket", "_info")
BAD_WORDS = re.compile(
    r"(^|_)(s|ms|us|ns|sec|b|kb|mb|gb|tb|pb|m|h|d|gauge|counter|histogram|summary|minutes|hours|days|weeks|bits"
    r"|(milli|micro|nano|kilo|mega)(seconds|bytes|bits|meters)|(ki|me|gi|te)bi(bytes|bits)|fahrenheit)(_|$)"
)


class Probe:
    """What a run hands to the plugin to record measurements, phases and evidence, as they happen.

    What was recorded before a timeout survives it. Once the runner has closed the probe, records are dropped and
    counted. Nothing here raises: a bad name or value is dropped, counted, and named in ``refused``, and makes the run
    an error when it ends (a typo in a plugin must not look like a bad target).
    """

    def __init__(self, *, check: str = "", run: str = "", timeout: float = 10.0) -> None:
        self.check = check
        self.run = run
        self.deadline = perf_counter() + timeout
        self.measurements: dict[str, float] = {}
        self.phases: dict[str, float] = {}
        self.evidence: dict[str, object] = {}
        self.took: float | None = None
        self.dropped = 0
        self.refused = ""
        self.closed = False
        self._path: tuple[str, ...] = ()
        self._http: httpx.AsyncClient | None = None

    @property
    def remaining(self) -> float:
        """Seconds until the deadline, never below zero."""
        return max(0.0, self.deadline - perf_counter())

    def record(self, name: str, value: float) -> None:
        """Record a measurement in base units (``queue_seconds``, ``body_bytes``, ``hit_ratio``); the last one wins."""
        if self.closed:
            self.dropped += 1
        elif problem := _objection(name, value, self.measurements):
            self._refuse(problem)
        else:
            self.measurements[name] = float(value)

    def record_phase(self, name: str, seconds: float) -> None:
        """Record how long a part of the run took, where someone else held the watch."""
        if self.closed:
            self.dropped += 1
        elif not _is_phase(str(name)):
            self._refuse(f"the phase {_short(name)} is no lower-case word")
        elif name not in self.phases and len(self.phases) >= PHASES_PER_RUN:
            self._refuse(f"more than {PHASES_PER_RUN} phases")
        elif not _is_number(seconds):
            self._refuse(f"the phase {name} lasted {_short(seconds)}")
        else:
            self.phases[name] = self.phases.get(name, 0.0) + max(0.0, float(seconds))

    def record_duration(self, seconds: float) -> None:
        """Record how long the round trip took, where someone else held the watch: it knows better than we do.

        Without it the run's duration is the time that the plugin took, which includes our own part in it. It is never
        more than that time.
        """
        if self.closed:
            self.dropped += 1
        elif not _is_number(seconds):
            self._refuse(f"the duration is {_short(seconds)}")
        else:
            self.took = max(0.0, float(seconds))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a part of the run, also when it fails. Nested phases are dotted: ``login.token``."""
        outer, self._path = self._path, (*self._path, str(name))
        dotted, started = ".".join(self._path), perf_counter()
        try:
            yield
        finally:
            self._path = outer
            self.record_phase(dotted, perf_counter() - started)

    def note(self, name: str, text: object) -> None:
        """Keep a piece of evidence, shown when the run fails; cut at 4,096 characters.

        A callable is kept as it is, and called for the text only when the run fails.
        """
        if self.closed or (name not in self.evidence and len(self.evidence) >= EVIDENCE_PER_RUN):
            self.dropped += 1
            return
        if not callable(text):
            whole = str(text)
            text = whole if len(whole) <= EVIDENCE_CHARACTERS else whole[:EVIDENCE_CHARACTERS] + "…"
        self.evidence[cut(str(name), 64)] = text

    @property
    def http(self) -> httpx.AsyncClient:
        """An ``httpx.AsyncClient`` of this run, on libcurl: fresh connections, ends with the run's deadline.

        It keeps cookies, and follows redirects only where told to (``follow_redirects=True``).
        """
        if self._http is None:
            from heartbeat.http.transport import CurlTransport, client  # noqa: PLC0415 - most runs need no httpx

            self._http = client(transport=CurlTransport(remaining=lambda: self.remaining), timeout=self.remaining)
        return self._http

    async def aclose(self) -> None:
        """Close what the run used; called by the runner when the plugin has ended."""
        made, self._http = self._http, None
        if made is not None:
            await made.aclose()

    def close(self) -> None:
        """Take nothing more; called by the runner at the deadline."""
        self.closed = True

    def _refuse(self, problem: str) -> None:
        self.dropped += 1
        self.refused = self.refused or problem


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and isfinite(value)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"


@lru_cache(maxsize=1024)
def _is_phase(name: str) -> bool:
    return PHASE.fullmatch(name) is not None


@lru_cache(maxsize=1024)
def _name_problem(name: str) -> str:
    """Say why a measurement cannot have this name, or nothing; the same few names come in every run."""
    if not MEASUREMENT.fullmatch(name):
        return f"the measurement {_short(name)} is no lower-case word"
    if name in RESERVED:
        return f"the measurement {name} has a reserved name"
    if name.endswith(BAD_SUFFIXES) or BAD_WORDS.search(name):
        return f"the measurement {name} must be in a base unit and not end like a counter (_seconds, _bytes, _ratio)"
    return ""


def _objection(name: object, value: object, taken: Mapping[str, float]) -> str:
    """Say why a measurement cannot be taken, or nothing."""
    if not isinstance(name, str):
        return f"the measurement {_short(name)} is no lower-case word"
    if problem := _name_problem(name):
        return problem
    if not _is_number(value):
        return f"the measurement {name} is {_short(value)}, not a finite number"
    if name not in taken and len(taken) >= MEASUREMENTS_PER_RUN:
        return f"more than {MEASUREMENTS_PER_RUN} measurements"
    return ""

"""What a run hands to the plugin: it takes measurements, phases and evidence as they happen, and offers the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

from heartbeat.backing import ALONE, Account, Backing, Memory, lent
from heartbeat.check import Answer, Check, CheckBroken, CheckFailed
from heartbeat.core.text import cut
from heartbeat.marks import marks_of
from heartbeat.records import MEASUREMENTS_PER_RUN, is_number, is_phase, objection, short
from heartbeat.stepping import run_step

if TYPE_CHECKING:
    import httpx

Cleanup = Callable[["Probe"], Awaitable[None]]
"""Tidies up after a run, with a probe of its own."""
NOTHING_ANSWERED = Answer()
PHASES_PER_RUN = 100
ROOM_FOR_STEPS = 20  # phases that are kept free for whole steps: their parts are left out before
EVIDENCE_PER_RUN = 20
EVIDENCE_CHARACTERS = 4096


class Probe:
    """What a run hands to the plugin to record measurements, phases and evidence, as they happen.

    What was recorded before a timeout survives it. Once the runner has closed the probe, records are dropped and
    counted. Nothing here raises: a bad name or value is dropped, counted, and named in ``refused``, and makes the run
    an error when it ends (a typo in a plugin must not look like a bad target).
    """

    caution: CheckFailed | None = None
    """What it warned of first."""
    where: str = ""
    """The step that is under way, or that failed."""
    asked: bool = False
    """Somebody takes values from the answer: ``answer`` is worth calling."""
    answered: Answer | None = None
    heard: Answer = NOTHING_ANSWERED
    """What the target of the last step answered, also where that failed."""
    whole: Probe | None = None  # that of the run, where this one is of a step or of the cleanup
    session: dict[str, Any] | None = None
    """What the steps of one run share, such as cookies; None where a check is no step."""
    marked: bool = False
    """Requests were marked with the ids of the run."""
    cleanups: tuple[tuple[Cleanup, float], ...] = ()
    """What runs after the run, the last first, each with its seconds."""
    lingering: tuple[asyncio.Future[Any], ...] = ()
    """What may go on after the run; the check is not run again before it has ended."""

    def __init__(
        self, *, check: str = "", run: str = "", timeout: float = 10.0, backing: Backing = ALONE, span: str = ""
    ) -> None:
        self.check = check
        self.run = run
        self.deadline = perf_counter() + timeout
        self.backing = backing
        self.span = span
        self.measurements: dict[str, float] = {}
        self.phases: dict[str, float] = {}
        self.evidence: dict[str, object] = {}
        self.took: float | None = None
        self.dropped = 0
        self.refused = ""
        self.closed = False
        self.concealed: list[tuple[str, str]] = []
        self._path: tuple[str, ...] = ()
        self._http: httpx.AsyncClient | None = None
        self._memory: Memory | None = None

    @property
    def remaining(self) -> float:
        """Seconds until the deadline, never below zero."""
        return max(0.0, self.deadline - perf_counter())

    def record(self, name: str, value: float) -> None:
        """Record a measurement in base units (``queue_seconds``, ``body_bytes``, ``hit_ratio``); the last one wins."""
        if self.closed:
            self.dropped += 1
        elif problem := objection(name, value, self.measurements):
            self._refuse(problem)
        else:
            self.measurements[name] = float(value)

    def record_phase(self, name: str, seconds: float) -> None:
        """Record how long a part of the run took, where someone else held the watch."""
        if self.closed:
            self.dropped += 1
        elif not is_phase(str(name)):
            self._refuse(f"the phase {short(name)} is no lower-case word")
        elif name not in self.phases and len(self.phases) >= PHASES_PER_RUN:
            self._refuse(f"more than {PHASES_PER_RUN} phases")
        elif not is_number(seconds):
            self._refuse(f"the phase {name} lasted {short(seconds)}")
        else:
            self.phases[name] = self.phases.get(name, 0.0) + max(0.0, float(seconds))

    def record_duration(self, seconds: float) -> None:
        """Record how long the round trip took, where someone else held the watch: it knows better than we do.

        Without it the run's duration is the time that the plugin took, which includes our own part in it. It is never
        more than that time.
        """
        if self.closed:
            self.dropped += 1
        elif not is_number(seconds):
            self._refuse(f"the duration is {short(seconds)}")
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
            from heartbeat.http.cookies import Cookies, cookies_of  # noqa: PLC0415 - most runs need no httpx
            from heartbeat.http.transport import CurlTransport, client  # noqa: PLC0415 - as above

            cookies = cookies_of(self.session) or Cookies()
            transport = CurlTransport(remaining=lambda: self.remaining, marks=self.marks, cookies=cookies)
            self._http = client(transport=transport, timeout=self.remaining, cookies=cookies.jar)
        return self._http

    @property
    def state(self) -> Memory:
        """What the check remembers from run to run, over restarts: a mapping of whatever JSON can say, 64 KiB at most.

        It is written when the run has ended; ``await probe.state.save()`` returns when it is safe on disk.
        """
        if self.whole is not None:
            return self.whole.state
        if self._memory is None:
            self._memory = self.backing.memory(self.check)
        return self._memory

    @property
    def remembers(self) -> bool:
        """Whether the check made use of its memory in this run."""
        return self._memory is not None

    @property
    def marks(self) -> tuple[tuple[str, str], ...]:
        """Headers that say that a request is synthetic, and of which run; none where that is switched off.

        Whoever speaks HTTP by other means than ``probe.http`` sends them along.
        """
        if not self.run or not self.backing.marks():
            return ()
        self.marked = True
        return marks_of(self.check, self.run, self.span)

    def account(self, name: str) -> AbstractAsyncContextManager[Account]:
        """Have a test account of the configuration to oneself: ``async with probe.account("shopper") as account:``.

        Raises ``CheckBroken`` where there is none of this name, or others keep it until the deadline.
        """
        return lent(self.backing.lease(name, self.remaining, self.conceal), self)

    def warn(self, sentence: str, *, reason: str = "content", expected: object = None, observed: object = None) -> None:
        """Say that all is not well, although the round trip was true: a warning. The first one counts.

        The arguments are those of ``CheckFailed``.
        """
        failed = CheckFailed(sentence, reason=reason, expected=expected, observed=observed)
        if self.closed:
            self.dropped += 1
        elif self.caution is None:
            self.caution = failed

    def answer(self, build: Callable[[], Answer]) -> None:
        """Offer what the target answered to who takes values from it; it is built only where somebody does."""
        if self.asked:
            self.answered = build()

    def conceal(self, name: str, value: str) -> None:
        """Keep a value that came up in this run, such as a token, out of all that is told of the run."""
        self.concealed.append((name, value))

    def on_cleanup(self, clean: Cleanup, *, timeout: float = 10.0) -> None:
        """Have something done after the run, however that ends: also after its deadline. The last comes first.

        Args:
            clean: gets a probe of its own; what it raises is a warning, and what it records belongs to the run.
            timeout: seconds that it may take.
        """
        self.cleanups = (*self.cleanups, (clean, timeout))

    def keep_busy(self, until: asyncio.Future[Any]) -> None:
        """Say that something of this run goes on: the check is not run again until it is done.

        For what cannot be stopped when the run is cancelled, such as a thread, or a process that hangs in the kernel.
        """
        self.lingering = (*self.lingering, until)

    async def step(self, name: str, check: Check, *, timeout: float | None = None, asks: bool = True) -> Answer:  # noqa: ASYNC109 - a step's
        """Run a check as a step of this one, and return what its target answered.

        Its time is the phase ``name``, its own phases are ``name.connect`` and so on, its measurements
        ``name_status_code`` and so on. What it raises is raised here, sorted, and the run says in which step.

        Args:
            name: a lower-case word.
            check: the check, of whatever type.
            timeout: seconds that it may take; no more than is left of the run.
            asks: whether the answer is looked at; else it costs nothing, and is empty.
        """
        child = self._child(name, timeout)
        child.asked = asks
        started, outer = perf_counter(), self.where
        self.where = child.where
        try:
            await run_step(check, child, timeout)
        except BaseException:
            self._merge(child, name, perf_counter() - started)
            raise
        finally:
            child.close()
            await child.aclose()
        self._merge(child, name, perf_counter() - started)
        if child.refused:
            raise CheckBroken(f"a record was refused: {child.refused}")
        self.where = outer
        return self.heard

    async def aclose(self) -> None:
        """Close what the run used; called by the runner when the plugin has ended."""
        made, self._http = self._http, None
        if made is not None:
            await made.aclose()

    def close(self) -> None:
        """Take nothing more; called by the runner at the deadline."""
        self.closed = True

    def _child(self, name: str, timeout: float | None) -> Probe:
        """Return the probe of a step."""
        seconds = self.remaining if timeout is None else min(timeout, self.remaining)
        child = Probe(check=self.check, run=self.run, timeout=seconds, backing=self.backing, span=f"{self.span}/{name}")
        if self.session is None:
            self.session = {}
        child.whole, child.session, child.concealed = self.whole or self, self.session, self.concealed
        child.where = f"{self.where}.{name}" if self.where else name
        return child

    def _merge(self, child: Probe, name: str, seconds: float) -> None:
        """Let what a step found be found by the run."""
        self.record_phase(name, seconds if child.took is None else min(seconds, child.took))
        for phase, lasted in child.phases.items():
            if len(self.phases) < PHASES_PER_RUN - ROOM_FOR_STEPS:
                self.record_phase(f"{name}.{phase}", lasted)
        for measurement, value in child.measurements.items():
            if len(self.measurements) < MEASUREMENTS_PER_RUN:
                self.record(f"{name}_{measurement}", value)
        for title, note in child.evidence.items():
            self.note(f"{name} {title}", note)
        if (said := child.caution) is not None:
            sentence = f"{name}: {said.sentence}"
            self.warn(sentence, reason=said.reason, expected=said.expected, observed=said.observed)
        self.heard = child.answered or NOTHING_ANSWERED
        self.where = child.where
        self.dropped += child.dropped
        self.marked = self.marked or child.marked
        self.cleanups += child.cleanups
        self.lingering += child.lingering

    def _refuse(self, problem: str) -> None:
        self.dropped += 1
        self.refused = self.refused or problem

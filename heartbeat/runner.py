"""One run with a deadline: the only place that catches every exception, and where each becomes a truthful result.

The runner owns the deadline. A plugin that swallows cancellation, hangs in a thread, or returns nonsense is reported
at its deadline all the same; what of it goes on is handed back as ``leftover``, and its check stays busy until then.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import partial
from inspect import iscoroutine
from random import Random
from time import perf_counter
from typing import Any

from heartbeat.backing import ALONE, Backing
from heartbeat.check import Check, CheckBroken
from heartbeat.cleanup import clean_up
from heartbeat.core.limits import show
from heartbeat.core.model import NOTHING, Caution, Outcome, Reason, Result, Run
from heartbeat.core.text import block, cut, plain, words_of
from heartbeat.faults import Fault, sort_fault
from heartbeat.lag import LagMeter
from heartbeat.pool import Pool, PoolExhausted
from heartbeat.probe import EVIDENCE_CHARACTERS, Probe
from heartbeat.redaction import concealer
from heartbeat.stepping import is_async
from heartbeat.waiting import wait_for_one

CANCEL_GRACE = 0.2
"""Seconds that a plugin has for its own tidying after its deadline, before it counts as left over."""
SENTENCE_CHARACTERS = 500
ROOM = 4
"""How many times as much text is looked through for secrets as is shown in the end."""

_FORKS = 0
"""How often a process was forked on the way to this one: asking the system for our id costs a call into it."""
_IDS = Random()  # noqa: S311 - ids need to differ, not to be secret; the system's own would be a call into it per run

CURRENT: ContextVar[str] = ContextVar("heartbeat_check", default="")
"""The name of the check whose code runs, in its task and its thread; empty elsewhere."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a run needs from the process around it."""

    pool: Pool
    lag: LagMeter
    redact: Callable[[str], str]
    backing: Backing = ALONE


@dataclass(slots=True)
class Finished:
    """A result, and what of the plugin still goes on (None: nothing)."""

    result: Result
    leftover: asyncio.Future[Any] | None = None


class _Stopwatch:
    """How long the plugin itself took: our own way to it and back is not the target's."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds = 0.0


@dataclass(slots=True)
class _Attempt:
    """A plugin under way: what it comes to, when it is really over, and how to give it up."""

    outcome: asyncio.Future[Any]
    ended: asyncio.Future[Any]
    give_up: Callable[[], object]
    clock: _Stopwatch


async def run_check(check: Check, run: Run, workshop: Workshop) -> Finished:
    """Run a check once under its deadline. Raises nothing but the cancellation of the caller."""
    probe = Probe(check=run.check, run=run.id, timeout=run.timeout, backing=workshop.backing)
    started = perf_counter()
    try:
        attempt = _start(check, probe, workshop.pool)
    except PoolExhausted as full:
        broken = CheckBroken(f"{full}; give the hanging checks' plugins timeouts of their own", reason="resource")
        return Finished(_conclude(probe, sort_fault(broken), 0.0, 0.0, workshop.redact))
    try:
        await wait_for_one(attempt.outcome, run.timeout)
        duration = attempt.clock.seconds or perf_counter() - started
        fault = _find_fault(attempt.outcome, probe, run.timeout, duration)
        if probe.took is not None and (fault is None or fault.reason is not Reason.TIMEOUT):
            duration = min(duration, probe.took)
    finally:
        probe.close()
        if not attempt.outcome.done():
            attempt.give_up()
    lag = workshop.lag.worst_since(started)
    await _tidy(attempt, probe)
    if probe.cleanups:
        await clean_up(probe)
    if probe.remembers:
        fault = await _remember(probe) or fault
    return Finished(_conclude(probe, fault, duration, lag, workshop.redact), _find_leftover(attempt, probe))


def _start(check: Check, probe: Probe, pool: Pool) -> _Attempt:
    clock = _Stopwatch()
    if is_async(type(check)):
        work = _run_here(check, probe, clock)
        task = asyncio.get_running_loop().create_task(work, name=f"run {probe.check}")
        return _Attempt(task, task, task.cancel, clock)
    context = copy_context()
    context.run(CURRENT.set, probe.check)
    call = pool.submit(partial(context.run, _run_there, check, probe, clock))
    return _Attempt(call.outcome, call.ended, partial(pool.give_up, call), clock)


def new_run_id() -> str:
    """Return an id for a run, unlike any other."""
    return f"run_{_IDS.getrandbits(64):016x}"


def _note_fork() -> None:
    global _FORKS  # noqa: PLW0603 - a fact about the process
    _FORKS += 1


os.register_at_fork(after_in_child=_note_fork)


def _run_there(check: Check, probe: Probe, clock: _Stopwatch) -> Any:
    started = perf_counter()
    try:
        return check.run(probe)
    finally:
        clock.seconds = perf_counter() - started


async def _run_here(check: Check, probe: Probe, clock: _Stopwatch) -> Any:
    CURRENT.set(probe.check)
    forks, started = _FORKS, perf_counter()
    try:
        return await check.run(probe)
    except (KeyboardInterrupt, SystemExit, GeneratorExit) as error:  # these would end the loop, not the run
        raise RuntimeError(f"the plugin raised {type(error).__name__}") from error
    finally:
        clock.seconds = perf_counter() - started
        if forks != _FORKS:  # the plugin forked, and this is the child: it must not go on as a second daemon
            os._exit(0)


def _find_fault(outcome: asyncio.Future[Any], probe: Probe, timeout: float, duration: float) -> Fault | None:
    """Say what was wrong with the run. Its deadline counts also where the plugin swallowed the cancellation."""
    if not outcome.done() or duration > timeout:
        return Fault(Outcome.FAIL, Reason.TIMEOUT, f"no result within {show(timeout, 's')}", None, None)
    if outcome.cancelled():
        return Fault(Outcome.ERROR, Reason.PLUGIN, "the plugin cancelled itself", None, None)
    if error := outcome.exception():
        return sort_fault(error)
    if (value := outcome.result()) is not None:
        if iscoroutine(value):
            value.close()
        sentence = f"run returned {plain(type(value).__name__, 80)}; it must return None, or raise CheckFailed"
        return Fault(Outcome.ERROR, Reason.PLUGIN, sentence, None, None)
    if probe.refused:
        return Fault(Outcome.ERROR, Reason.PLUGIN, f"a record was refused: {plain(probe.refused, 200)}", None, None)
    return None


async def _tidy(attempt: _Attempt, probe: Probe) -> None:
    """Give the plugin a moment to end."""
    if not attempt.ended.done():
        await wait_for_one(attempt.ended, CANCEL_GRACE)
    await probe.aclose()
    attempt.ended.add_done_callback(_read)


def _find_leftover(attempt: _Attempt, probe: Probe) -> asyncio.Future[Any] | None:
    """Return what goes on of the plugin, and of what it does after a run."""
    left = [one for one in (attempt.ended, *probe.lingering) if not one.done()]
    return asyncio.gather(*left, return_exceptions=True) if left[1:] else left[0] if left else None


async def _remember(probe: Probe) -> Fault | None:
    """Write what the check remembers; return what is wrong with that."""
    try:
        await probe.state.save()
    except CheckBroken as error:
        return sort_fault(error)
    return None


def _read(future: asyncio.Future[Any]) -> None:
    """Look at how a future ended, so that asyncio does not complain that nobody did."""
    if not future.cancelled():
        future.exception()


def _conclude(probe: Probe, fault: Fault | None, duration: float, lag: float, redact: Callable[[str], str]) -> Result:
    if fault is None and probe.caution is None:
        return Result(
            Outcome.OK,
            duration,
            measurements=probe.measurements,
            phases=probe.phases,
            lag=lag,
            dropped=probe.dropped,
            marked=probe.marked,
        )
    told = fault or _warned(probe)
    redact = _concealing(probe.concealed, redact)
    sentence = _tell(f"{probe.where}: {told.sentence}" if fault and probe.where else told.sentence, redact) or ""
    is_ok = fault is None
    return Result(
        told.outcome,
        duration,
        None if is_ok else told.reason,
        "" if is_ok else sentence,
        _tell(told.expected, redact),
        _tell(told.observed, redact),
        probe.measurements,
        probe.phases,
        _build_evidence(probe.evidence, redact),
        lag,
        probe.dropped,
        Caution(told.reason, sentence) if is_ok else None,
        probe.marked,
    )


def _warned(probe: Probe) -> Fault:
    """Return what a plugin warned of, in the form of a fault that is none."""
    said = probe.caution
    if said is None:
        raise ValueError("nothing was warned of")
    return Fault(Outcome.OK, said.reason, said.sentence, said.expected, said.observed)


def _concealing(values: Sequence[tuple[str, str]], redact: Callable[[str], str]) -> Callable[[str], str]:
    """Return a redaction that leaves out what came up in this run alone, too."""
    if not values:
        return redact
    conceal = concealer(values)
    return lambda text: redact(conceal(text))


def _tell(text: str | None, redact: Callable[[str], str]) -> str | None:
    return None if text is None else plain(redact(cut(text, ROOM * SENTENCE_CHARACTERS)), SENTENCE_CHARACTERS)


def _build_evidence(notes: Mapping[str, object], redact: Callable[[str], str]) -> Mapping[str, str]:
    if not notes:
        return NOTHING
    return {
        plain(redact(name), 64): block(
            redact(cut(_evidence_text(note), ROOM * EVIDENCE_CHARACTERS)), EVIDENCE_CHARACTERS
        )
        for name, note in notes.items()
    }


def _evidence_text(note: object) -> str:
    try:
        return str(note() if callable(note) else note)
    except Exception as error:  # noqa: BLE001 - evidence is the plugin's code too, and must not hide the failure itself
        return f"(this evidence could not be built: {type(error).__name__}: {words_of(error)})"

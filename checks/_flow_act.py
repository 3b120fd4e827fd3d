"""Doing one step of a flow: fill in, run, take; again and again where it may take a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from time import perf_counter
from typing import Any, TypeVar

from heartbeat import Answer, CheckBroken, CheckFailed, Part, Probe
from heartbeat.http.stream import patience

from ._flow_references import Scope, Unknown, fill_in, texts_in
from ._flow_step import Step
from ._flow_take import Found, take_all, take_some

TEXTS = 100
"""How many texts of one value are kept out of evidence."""
SHORTEST = 0.01
"""Seconds that a try has at least."""
LARGE = 64 * 1024
"""Characters of an answer from which on it is looked into in a thread: some paths take seconds for it."""


T = TypeVar("T")


async def act(probe: Probe, step: Step, scope: Scope, *, within: float | None = None) -> None:
    """Do a step, and put what it took into the scope. Raises what the last try raised.

    Args:
        probe: of the run, or of the cleanup.
        step: the step.
        scope: what references stand for.
        within: seconds that it may take, beside what it says itself.
    """
    if step.check is None:
        await _pause(probe, step, _less(step.wait, within) or 0.0)
        return
    outer = probe.where
    try:
        if step.until is None:
            await _try(probe, step, step.check, scope, _less(step.timeout, within))
        else:
            await _try_again(probe, step, step.check, scope, _less(step.until, within) or 0.0)
    except CheckFailed:
        probe.where = f"{outer}.{step.name}" if outer else step.name
        raise


async def _pause(probe: Probe, step: Step, seconds: float) -> None:
    started, outer = perf_counter(), probe.where
    probe.where = step.name
    try:
        await asyncio.sleep(seconds)
    finally:
        if not probe.closed:
            probe.record_phase(step.name, perf_counter() - started)
    probe.where = outer


async def _try(probe: Probe, step: Step, part: Part, scope: Scope, seconds: float | None) -> None:
    check = await fill_in(part, scope)
    answer = await probe.step(step.name, check, timeout=seconds, asks=bool(step.take))
    if step.take:
        take = partial(take_all, step.take, _found(probe, step, answer))
        scope.values[step.name] = await look_into(probe, answer, take)


async def look_into(probe: Probe, answer: Answer, work: Callable[[], T]) -> T:
    """Return what some work finds in an answer. With a large one it holds nobody up."""
    if len(answer.text) < LARGE:
        return work()
    found: T = await probe.backing.in_thread(work, probe.keep_busy)
    return found


async def _try_again(probe: Probe, step: Step, part: Part, scope: Scope, seconds: float) -> None:
    """Try until it is well; the pauses belong to the time of the step."""
    started, tries, paused = perf_counter(), 0, 0.0
    ends = started + min(seconds, patience(probe.remaining))
    try:
        while True:
            tries += 1
            try:
                left = max(SHORTEST, ends - perf_counter())
                return await _try(probe, step, part, scope, _less(step.timeout, left))
            except (CheckBroken, Unknown):  # these stay as they are
                raise
            except CheckFailed as failed:
                if failed.reason == "auth" and step.accounts:  # each further try could lock the account
                    raise
                if perf_counter() + step.every >= ends:
                    raise _over(failed, tries, perf_counter() - started) from failed
            paused += step.every
            await asyncio.sleep(step.every)
    finally:
        if paused and not probe.closed:
            probe.record_phase(step.name, paused)


def _over(failed: CheckFailed, tries: int, seconds: float) -> CheckFailed:
    often = "once" if tries == 1 else f"{tries} times"
    return CheckFailed(
        f"{failed.sentence} (tried {often} in {seconds:.3g} s)",
        reason=failed.reason,
        expected=failed.expected,
        observed=failed.observed,
    )


def warn_of(probe: Probe, sentence: str, failed: CheckFailed) -> None:
    """Warn of something that failed after the run, whoever is bad."""
    reason = failed.reason if failed.reason in CheckFailed.allowed else "content"
    probe.warn(f"{sentence}: {failed.sentence}", reason=reason, expected=failed.expected, observed=failed.observed)


def _less(one: float | None, other: float | None) -> float | None:
    given = [seconds for seconds in (one, other) if seconds is not None]
    return min(given) if given else None


def _found(probe: Probe, step: Step, answer: Answer) -> Found:
    return Found(answer, lambda name: probe.measurements.get(f"{step.name}_{name}"))


def conceal_values(probe: Probe, scope: Scope) -> None:
    """Keep what was taken out of what is told of the run."""
    for step, values in scope.values.items():
        _conceal_step(probe, step, values)


async def take_unread(probe: Probe, step: Step) -> dict[str, Any]:
    """Return what can be taken from the answer of a step that failed; it is kept out of what is told of the run."""
    if not step.take:
        return {}
    take = partial(take_some, step.take, _found(probe, step, probe.heard))
    values = await look_into(probe, probe.heard, take)
    _conceal_step(probe, step.name, values)
    return values


def _conceal_step(probe: Probe, step: str, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        for below, text in islice(texts_in(value), TEXTS):
            probe.conceal(f"steps.{step}.{name}{below}", text)

"""Doing one step of a flow: fill in, run, take; again and again where it may take a while."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from time import perf_counter

from heartbeat import Answer, CheckBroken, CheckFailed, Part, Probe
from heartbeat.http.stream import patience

from ._flow_references import Scope, Unknown, fill_in, texts_in
from ._flow_step import Step
from ._flow_take import Found, take_all

TEXTS = 100
"""How many texts of one step are kept out of evidence."""
SHORTEST = 0.01
"""Seconds that a try has at least."""


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
        scope.values[step.name] = dict(take_all(step.take, _found(probe, step, answer)))


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
        for name, value in values.items():
            _conceal(probe, f"steps.{step}.{name}", texts_in(value))


def conceal_unread(probe: Probe, step: Step) -> None:
    """Keep what would have been taken from the answer of a step that failed out of what is told of the run."""
    if step.take and probe.heard is not None:
        found = _found(probe, step, probe.heard)
        for name, take in step.take.items():
            try:
                value = take.from_(found)
            except CheckFailed:
                continue
            _conceal(probe, f"steps.{step.name}.{name}", texts_in(value))


def _conceal(probe: Probe, name: str, texts: Iterator[tuple[str, str]]) -> None:
    for number, (below, text) in enumerate(texts):
        if number >= TEXTS:
            break
        probe.conceal(name + below, text)

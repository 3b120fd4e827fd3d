"""Cleaning up after a run: what plugins asked for with ``probe.on_cleanup``, also past the deadline of the run."""

from __future__ import annotations

import asyncio
from time import perf_counter

from heartbeat.check import CheckFailed
from heartbeat.core.limits import show
from heartbeat.faults import sort_fault
from heartbeat.probe import Cleanup, Probe

AT_MOST = 60.0
"""Seconds that all of it may take: until then the result of the run is not told."""


async def clean_up(probe: Probe, ends: float | None = None) -> None:
    """Do what was asked for, the last first. What fails is a warning and stops nothing; its records are the run's."""
    ends = perf_counter() + AT_MOST if ends is None else ends
    for clean, timeout in reversed(probe.cleanups):
        await _clean(probe, clean, timeout, ends)


async def _clean(probe: Probe, clean: Cleanup, timeout: float, ends: float) -> None:  # noqa: ASYNC109 - a plugin's
    seconds = min(timeout, max(0.0, ends - perf_counter()))
    own = Probe(check=probe.check, run=probe.run, timeout=seconds, backing=probe.backing, span=f"{probe.span}/cleanup")
    own.whole, own.session, own.concealed = probe, probe.session, probe.concealed
    try:
        await _try(own, clean, seconds)
        if probe.whole is None:  # what a check asked for that was a step of the cleanup
            await clean_up(own, ends)
    finally:
        own.close()
        await own.aclose()
        probe.measurements.update(own.measurements)
        probe.evidence.update(own.evidence)
        probe.caution = probe.caution or own.caution
        probe.marked = probe.marked or own.marked
        probe.lingering += own.lingering


async def _try(probe: Probe, clean: Cleanup, seconds: float) -> None:
    """Do one thing that was asked for. That it was not done is told also where the run itself was well."""
    try:
        async with asyncio.timeout(seconds) as limit:
            await clean(probe)
    except Exception as error:  # noqa: BLE001 - a plugin's code, whose result must be told whatever happens here
        fault = sort_fault(error)
        is_late = isinstance(error, TimeoutError) and limit.expired()
        said = f"it was not done within {show(seconds, 's')}" if is_late else fault.sentence
        said += f" (in the step {probe.where})" if probe.where else ""
        probe.note("cleanup", said)
        reason = fault.reason if fault.reason in CheckFailed.allowed else "content"
        probe.warn(f"the cleanup failed: {said}", reason=reason)

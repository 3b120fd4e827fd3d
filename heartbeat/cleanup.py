"""Cleaning up after a run: what plugins asked for with ``probe.on_cleanup``, also past the deadline of the run."""

from __future__ import annotations

import asyncio
from time import perf_counter

from heartbeat.core.limits import show
from heartbeat.core.text import words_of
from heartbeat.probe import Cleanup, Probe

AT_MOST = 60.0
"""Seconds that all of it may take: until then the result of the run is not told."""


async def clean_up(probe: Probe) -> None:
    """Do what was asked for, the last first. What fails is evidence and stops nothing; its records are the run's."""
    ends = perf_counter() + AT_MOST
    for clean, timeout in reversed(probe.cleanups):
        await _clean(probe, clean, min(timeout, max(0.0, ends - perf_counter())))


async def _clean(probe: Probe, clean: Cleanup, seconds: float) -> None:
    own = Probe(check=probe.check, run=probe.run, timeout=seconds, backing=probe.backing, span=f"{probe.span}/cleanup")
    own.whole, own.session, own.concealed = probe, probe.session, probe.concealed
    try:
        async with asyncio.timeout(seconds):
            await clean(own)
    except TimeoutError:
        own.note("cleanup", f"it was not done within {show(seconds, 's')}{_at(own)}")
    except Exception as error:  # noqa: BLE001 - a plugin's code, whose result must be told whatever happens here
        own.note("cleanup", f"{type(error).__name__}: {words_of(error)}{_at(own)}")
    finally:
        own.close()
        await own.aclose()
        probe.measurements.update(own.measurements)
        probe.evidence.update(own.evidence)
        probe.caution = probe.caution or own.caution


def _at(probe: Probe) -> str:
    return f" (in the step {probe.where})" if probe.where else ""

"""Running a check as a step of another: its own deadline, and what it raises, sorted by the table of faults."""

from __future__ import annotations

import asyncio
from functools import cache, partial
from inspect import iscoroutinefunction
from typing import Any, Protocol

from heartbeat.backing import Backing
from heartbeat.check import Check, CheckBroken, CheckFailed
from heartbeat.core.limits import show
from heartbeat.faults import sort_fault


class Timed(Protocol):
    """What is known of the probe of a step."""

    backing: Backing

    @property
    def remaining(self) -> float:
        """Seconds until its deadline."""
        ...


async def run_step(check: Check, probe: Timed, seconds: float | None) -> None:
    """Run a check with the probe of a step. Raises ``CheckFailed`` or ``CheckBroken``, whatever the check raised.

    Args:
        check: the check, of whatever type.
        probe: the probe of the step.
        seconds: how long it may take, None for no deadline but that of the run.
    """
    limit: asyncio.Timeout | None = None
    try:
        if seconds is None:
            await perform(check, probe)
        else:
            async with asyncio.timeout(probe.remaining) as limit:
                await perform(check, probe)
    except CheckFailed:
        raise
    except Exception as error:
        if isinstance(error, TimeoutError) and limit is not None and limit.expired():
            raise CheckFailed(f"no result within {show(seconds or 0.0, 's')}", reason="timeout") from None
        fault = sort_fault(error)
        kind = CheckFailed if fault.reason in CheckFailed.allowed else CheckBroken
        raise kind(fault.sentence, reason=fault.reason, expected=fault.expected, observed=fault.observed) from error


async def perform(check: Check, probe: Any) -> Any:
    """Let a check do its work with a probe: here, or in a thread where it is a plain function."""
    if is_async(type(check)):
        return await check.run(probe)
    return await probe.backing.in_thread(partial(check.run, probe), probe.keep_busy)


@cache
def is_async(kind: type[Check]) -> bool:
    """Say whether a type of check runs on the loop."""
    return iscoroutinefunction(kind.run)

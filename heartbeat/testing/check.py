"""Run a check in a test as the daemon runs it: loaded from its file, with a deadline, every exception sorted.

check = load_check(Path("checks.d/queue.py")).model_validate({"host": "127.0.0.1", "port": port})
result = await run_once(check)
assert (result.outcome, result.reason) == ("fail", "reset")
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import time

from heartbeat import http
from heartbeat.check import Check
from heartbeat.core.model import Result, Run
from heartbeat.lag import LagMeter
from heartbeat.plugins import PluginError, discover, load_type
from heartbeat.pool import Pool
from heartbeat.redaction import Redactor
from heartbeat.runner import Workshop, run_check

__all__ = ["Result", "load_check", "run_once"]


def load_check(file: Path) -> type[Check]:
    """Return the check type in a file, loaded as the daemon loads it. Raises ``PluginError`` with what is wrong."""
    file = file.resolve()
    found = discover([file.parent])
    for fault in found.faults:
        if fault.file in (file, file.parent):
            raise fault
    source = found.sources.get(file.stem)
    if source is None or source.path != file:
        raise PluginError(f"there is no plugin in {file}", file=file)
    return load_type(source)


async def run_once(check: Check, timeout: float = 5.0) -> Result:  # noqa: ASYNC109 - it is the check's deadline, as in a configuration
    """Run a check once on the daemon's own path, one after another, and return what it would be judged by.

    ``outcome`` is ``ok``, ``fail`` or ``error`` (the check itself is at fault), ``reason`` one of the closed list;
    beside them are ``sentence``, ``expected``, ``observed``, ``measurements``, ``phases`` and ``evidence``.

    Args:
        check: the check, with its options.
        timeout: its deadline, in seconds.
    """
    lag = LagMeter()
    lag.start()
    try:
        now = time()
        finished = await run_check(
            check, Run("run_test", "test", now, 0, now, timeout), Workshop(Pool(), lag, Redactor())
        )
        if finished.leftover is not None:
            finished.leftover.cancel()
        return finished.result
    finally:
        lag.stop()
        http.close()
        await asyncio.sleep(0)  # what was closed lets go of its sockets in the next turn of the loop

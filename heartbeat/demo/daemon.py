"""The real daemon as a child process: started as an operator would, stopped by its own process id."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import cast

GRACE_SECONDS = 12.0
"""More than the daemon gives what is in flight, so that it ends by itself."""
LONGEST_LINE = 1 << 20


def daemon(
    config: Path, environment: Mapping[str, str], say: Callable[[str], None]
) -> AbstractAsyncContextManager[Process]:
    """Run ``heartbeat run -c CONFIG`` for as long as the block lasts; every line it writes goes to ``say``."""
    return child((sys.executable, "-m", "heartbeat", "run", "-c", str(config)), environment, say)


@asynccontextmanager
async def child(
    command: Sequence[str], environment: Mapping[str, str], say: Callable[[str], None]
) -> AsyncIterator[Process]:
    """Run a command for as long as the block lasts: then SIGTERM, and after a grace SIGKILL."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        stdout=PIPE,
        stderr=STDOUT,
        limit=LONGEST_LINE,
        start_new_session=True,  # Ctrl-C is for the demo, which then stops the daemon in good order
    )
    relay = asyncio.create_task(_relay(cast("asyncio.StreamReader", process.stdout), say))
    try:
        yield process
    finally:
        await _stop(process)
        await relay


async def _relay(lines: asyncio.StreamReader, say: Callable[[str], None]) -> None:
    async for line in lines:
        say(line.decode(errors="replace"))


async def _stop(process: Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(GRACE_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()

"""The real daemon as a process of its own."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from heartbeat.testing.daemon import DaemonProcess


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[DaemonProcess]:
    daemon = DaemonProcess(tmp_path)
    yield daemon
    if daemon.started and not daemon.over:
        await daemon.stop(signal.SIGKILL)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack

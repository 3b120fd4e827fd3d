from __future__ import annotations

import os
import signal
import sys

import pytest

from heartbeat.demo import daemon
from heartbeat.demo.arrivals import Arrivals
from heartbeat.demo.daemon import child

SPEAKS = "import signal, sys; print('one', flush=True); print('two', file=sys.stderr, flush=True); signal.pause()"
DEAF = "import signal as s; s.signal(15, s.SIG_IGN); print('deaf', flush=True); s.pause(); s.pause()"


async def test_every_line_is_passed_on_and_the_child_is_asked_to_end() -> None:
    lines = Arrivals[str]()
    async with child((sys.executable, "-c", SPEAKS), os.environ, lines.add) as process:
        await lines.first("line", lambda line: line == "one\n")
        await lines.first("line of the other kind", lambda line: line == "two\n")
    assert process.returncode == -signal.SIGTERM


async def test_a_child_that_does_not_listen_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "GRACE_SECONDS", 0.05)
    lines = Arrivals[str]()
    async with child((sys.executable, "-c", DEAF), os.environ, lines.add) as process:
        await lines.first("line", lambda line: line == "deaf\n")
    assert process.returncode == -signal.SIGKILL


async def test_a_child_that_has_ended_is_left_alone() -> None:
    async with child((sys.executable, "-c", "raise SystemExit(3)"), os.environ, print) as process:
        assert await process.wait() == 3
    assert process.returncode == 3

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from textwrap import dedent

import pytest

from heartbeat.lag import LagMeter
from heartbeat.selfwatch.watchdog import Watchdog

PRELUDE = """
    import asyncio, json, os, sys, time
    import structlog
    from heartbeat.lag import LagMeter
    from heartbeat.runner import CURRENT
    from heartbeat.selfwatch.watchdog import Watchdog, guard_exit

    structlog.configure(
        processors=[structlog.processors.JSONRenderer()], logger_factory=structlog.PrintLoggerFactory(sys.stderr)
    )

    def blame(name, why):
        print(json.dumps([name, why]), flush=True)

    async def watched(limit, body, blame=blame):
        lag = LagMeter()
        lag.start()
        watchdog = Watchdog(lag, asyncio.get_running_loop(), limit, blame)
        watchdog.start()
        await asyncio.create_task(body(), name="run shop")
        watchdog.stop()
"""


def start(body: str) -> subprocess.Popen[str]:
    script = dedent(PRELUDE) + dedent(body)
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(body: str) -> tuple[int, str, str]:
    process = start(body)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def test_a_loop_that_is_held_for_too_long_ends_the_process_and_names_the_check() -> None:
    code, out, err = run("""
        async def body():
            time.sleep(30)

        asyncio.run(watched(0.5, body))
    """)
    assert code == 70
    name, why = json.loads(out)
    assert name == "shop"
    assert "held the main loop" in why
    lost = json.loads(err.splitlines()[-1])
    assert lost["check"] == "shop"
    assert "in body" in lost["stack"]


def test_a_loop_that_comes_back_in_time_is_reported_once_and_goes_on() -> None:
    code, out, err = run("""
        async def body():
            time.sleep(3.2)
            await asyncio.sleep(0.2)

        asyncio.run(watched(60, body))
    """)
    assert (code, out) == (0, "")
    (line,) = [json.loads(line) for line in err.splitlines()]
    assert line["check"] == "shop"
    assert 2 <= line["seconds"] < 3.2


def test_a_loop_that_breathes_is_left_in_peace() -> None:
    assert run("""
        async def body():
            await asyncio.sleep(1)

        asyncio.run(watched(0.4, body))
    """) == (0, "", "")


def test_the_process_ends_also_when_nobody_can_be_blamed() -> None:
    code, _, _ = run("""
        def full(name, why):
            raise OSError("no space left on device")

        async def body():
            time.sleep(30)

        asyncio.run(watched(0.5, body, full))
    """)
    assert code == 70


class Over(Exception):  # noqa: N818 - what stands for the end of the process
    pass


def watch(monkeypatch: pytest.MonkeyPatch, looks: list[tuple[float, float]]) -> None:
    """Let a watchdog with a limit of 10 s look at these times (monotonic, the loop's last beat), and then stop."""
    now = iter(looks)

    class Clockwork(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            at, beat = next(now, (None, None))
            if at is None or beat is None:
                return True
            monkeypatch.setattr("heartbeat.selfwatch.watchdog.monotonic", lambda: at)
            lag.beat = beat
            return False

    def end(status: int) -> None:
        raise Over(status)

    monkeypatch.setattr("heartbeat.selfwatch.watchdog.really_exit", end)
    monkeypatch.setattr("heartbeat.selfwatch.watchdog.monotonic", lambda: 0.0)
    lag = LagMeter()
    with closing(asyncio.new_event_loop()) as loop:
        dog = Watchdog(lag, loop, 10.0, lambda *_: None)
        dog._stopped = Clockwork()
        dog._watch()


def test_a_silent_loop_is_lost_after_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Over):
        watch(monkeypatch, [(float(second), 0.0) for second in range(11)])
    watch(monkeypatch, [(float(second), 0.0) for second in range(10)])


def test_when_the_watchdog_stood_still_as_well_the_loop_gets_a_new_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    watch(monkeypatch, [(1.0, 0.9), (100.0, 0.9), (101.0, 0.9), (102.0, 101.9)])
    with pytest.raises(Over):
        watch(monkeypatch, [(1.0, 0.9), *((100.0 + second, 0.9) for second in range(11))])


def test_a_process_that_was_stopped_and_goes_on_is_no_lost_loop() -> None:
    process = start("""
        async def body():
            print("ready", flush=True)
            await asyncio.sleep(3)

        asyncio.run(watched(0.5, body))
    """)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for _ in range(3):
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.8)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.2)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")


@pytest.mark.parametrize("blame", ["blame", "lambda name, why: 1 / 0"])
def test_a_check_that_ends_the_process_is_named(blame: str) -> None:
    code, out, _ = run(f"""
        guard_exit({blame})
        CURRENT.set("shop")
        os._exit(7)
    """)
    assert code == 7
    assert ("os._exit(7)" in out) == (blame == "blame")


def test_our_own_exit_and_that_of_a_forked_child_blame_nobody() -> None:
    assert run("""
        guard_exit(blame)
        if not (child := os.fork()):
            CURRENT.set("shop")
            os._exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        os._exit(5)
    """) == (5, "", "")


def test_the_guard_is_on_in_no_test() -> None:
    assert os._exit.__module__ == "posix"

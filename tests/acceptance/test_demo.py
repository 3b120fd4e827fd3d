"""The demo as a newcomer sees it: one command, the whole story, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

DEMO = (sys.executable, "-m", "heartbeat", "demo")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder whose path leaves room for a unix socket's name; pytest's own are too long."""
    with tempfile.TemporaryDirectory(prefix="hb-", dir="/tmp") as made:
        yield Path(made)


@pytest.fixture
def environment(folder: Path) -> dict[str, str]:
    """Return an environment that leads nowhere: no home, a folder of its own, and variables that the example knows."""
    elsewhere = {"MAIL_SERVER": "smtp://192.0.2.1:25", "HEARTBEAT_STORE": "sqlite:////nowhere/heartbeat.db"}
    return {"PATH": os.environ["PATH"], "TMPDIR": str(folder), "HOME": "/nowhere", "COLUMNS": "80", **elsewhere}


@pytest.fixture
def demo(environment: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a demo that goes on forever."""
    with subprocess.Popen(
        [*DEMO, "--forever"], env=environment, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        yield process
        process.kill()


def daemon_of(demo: subprocess.Popen[str]) -> int:
    """Return the daemon's process id, as soon as the demo has told it."""
    assert demo.stdout is not None
    for line in demo.stdout:
        if found := re.search(r"The daemon is starting \(process (\d+)\)", line):
            return int(found[1])
    raise AssertionError("the demo did not start a daemon")


def is_alive(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


@pytest.mark.timeout(120)
def test_the_whole_story_is_told_within_ninety_seconds(environment: dict[str, str], folder: Path) -> None:
    started = time.monotonic()
    done = subprocess.run(DEMO, env=environment, cwd=folder, capture_output=True, text=True, timeout=110, check=False)
    told = done.stdout
    assert done.returncode == 0, told + done.stderr
    assert time.monotonic() - started < 90
    steps = [
        r"A small shop is open at http://127\.0\.0\.1:\d+",
        r"its metrics: http://127\.0\.0\.1:\d+/metrics",
        r'heartbeat_check_up\{check="shop-products".*\} 1',
        r"The shop loses its database",
        r"X-Heartbeat-Kind: raised",
        r"cannot reach the product database",
        r'heartbeat_check_failure_info\{check="shop-products".*reason="status"\} 1',
        r"The shop is repaired",
        r"X-Heartbeat-Kind: resolved",
        r"The shop gets slow",
        r"X-Heartbeat-Kind: raised",
        r'heartbeat_check_severity\{check="shop-products".*\} 1',
        r"X-Heartbeat-Kind: resolved",
        r"That was the whole story",
    ]
    assert re.search(".*?".join(steps), told, re.DOTALL), told
    assert told.count("the signature is right") >= 4
    assert "THE SIGNATURE IS WRONG" not in told
    assert list(folder.iterdir()) == []
    found = re.search(r"\(process (\d+)\)", told)
    assert found
    assert not is_alive(int(found[1]))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_goes_on_until_a_signal_and_leaves_nothing_behind(
    demo: subprocess.Popen[str], folder: Path, number: signal.Signals
) -> None:
    daemon = daemon_of(demo)
    assert is_alive(daemon)
    demo.send_signal(number)
    rest, _ = demo.communicate(timeout=20)
    assert demo.returncode == 0, rest
    assert not is_alive(daemon)
    assert list(folder.iterdir()) == []


def test_a_daemon_that_dies_ends_the_story_with_one(demo: subprocess.Popen[str], folder: Path) -> None:
    os.kill(daemon_of(demo), signal.SIGKILL)
    rest, _ = demo.communicate(timeout=20)
    assert demo.returncode == 1, rest
    assert "The story breaks off: the daemon ended by itself, with exit code -9" in rest
    assert list(folder.iterdir()) == []

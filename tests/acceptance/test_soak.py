"""A short soak in each run of the tests; ``make soak`` is the long one."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest


@pytest.mark.timeout(180)
def test_a_crash_loop_with_misbehaving_receivers_loses_nothing_and_keeps_order() -> None:
    options = {"KILLS": "16", "DAEMONS": "2", "SEED": "4711"}
    done = subprocess.run(
        [sys.executable, "-m", "heartbeat.testing.soak"],
        env=os.environ | options,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stdout
    found = re.findall(
        r"events created (\d+), acknowledged (\d+)(?:, passed on (\d+))?.*, lost 0$", done.stdout, re.MULTILINE
    )
    assert len(found) == 2 * 4, done.stdout
    for created, acknowledged, passed_on in found:
        assert int(created) == int(acknowledged) + int(passed_on or 0) >= 8, done.stdout

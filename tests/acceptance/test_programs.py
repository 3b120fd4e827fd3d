"""Foreign programs and functions under the real process: plugins of Nagios as they are, a hanging one, a script."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from heartbeat.testing.daemon import DaemonProcess, until

PLUGIN = Path("/usr/lib/nagios/plugins/check_disk")
needs_plugins = pytest.mark.skipif(
    not PLUGIN.exists() and "HEARTBEAT_REQUIRE_SYSTEM" not in os.environ, reason="needs monitoring-plugins-basic"
)


def programs_of(mark: str) -> list[int]:
    """Return the processes that carry a mark on their command line."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes()
            except OSError:  # it has just ended
                continue
            if mark.encode() in line and int(folder.name) != os.getpid():
                found.append(int(folder.name))
    return found


@needs_plugins
async def test_a_plugin_of_nagios_runs_unchanged_and_its_performance_data_are_metrics(daemon: DaemonProcess) -> None:
    daemon.write(f"  disk:\n    exec: {{command: [{PLUGIN}, -w, '1', -c, '1', -p, /]}}\n")
    await daemon.start()
    await daemon.run("disk")
    used = await daemon.sample("heartbeat_probe_root_bytes", check="disk")
    most = await daemon.sample("heartbeat_probe_root_max_bytes", check="disk")
    assert used is not None
    assert most is not None
    assert 0 < used <= most
    assert await daemon.sample("heartbeat_check_up", check="disk") == 1


async def test_a_plugin_that_forks_and_hangs_leaves_no_process_behind(daemon: DaemonProcess, tmp_path: Path) -> None:
    mark = f"hanging-{os.getpid()}"
    script = tmp_path / f"{mark}.sh"
    script.write_text(
        f"#!/bin/sh\n(setsid sh -c 'trap \"\" TERM; exec sleep 600 # {mark}' &)\ntrap '' TERM\nsleep 600\n"
    )
    script.chmod(0o755)

    async def gone() -> bool:
        return not programs_of(mark)

    daemon.write(f"  hangs:\n    every: 60s\n    exec: {{command: [/bin/sh, {script}]}}\n")
    await daemon.start()
    (found,) = await daemon.run("hangs")
    assert (found["outcome"], found["reason"]) == ("fail", "timeout")
    await until(gone)
    assert await daemon.stop() == 0
    assert programs_of(mark) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_whatever_ends_the_daemon_ends_the_programs_that_run(
    daemon: DaemonProcess, tmp_path: Path, number: int
) -> None:
    mark = f"running-{os.getpid()}"
    script = tmp_path / f"{mark}.sh"
    script.write_text(
        f"trap '' TERM HUP\n(trap '' TERM HUP; setsid sleep 600.{os.getpid()} &)\nsleep 600.{os.getpid()}\n"
    )
    marks = (mark, f"600.{os.getpid()}")

    async def running() -> bool:
        return len(programs_of(marks[1])) == 2

    async def gone() -> bool:
        return not any(programs_of(one) for one in marks)

    daemon.write(f"  hangs:\n    every: 60s\n    timeout: 50s\n    exec: {{command: [/bin/sh, {script}]}}\n")
    await daemon.start()
    await until(running)
    assert await daemon.stop(number) == (0 if number == signal.SIGTERM else -number)
    await until(gone)


async def test_a_changed_script_is_taken_over_by_a_reload(daemon: DaemonProcess, tmp_path: Path) -> None:
    script = tmp_path / "fresh.py"
    script.write_text("def check():\n    return {'rows': 1}\n")
    daemon.write(f"  fresh:\n    script: {{file: {script}}}\n")
    await daemon.start()
    await daemon.run("fresh")
    assert await daemon.sample("heartbeat_probe_rows", check="fresh") == 1
    script.write_text("def check():\n    assert False, 'no rows at all'\n")
    (found, *_) = await daemon.run("fresh", outcome="fail")
    assert found["sentence"] == "no rows at all"

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

UNUSED = {
    "alembic", "apprise", "aiosmtplib", "heartbeat.config.reader", "httpx", "jinja2", "jsonpath", "mako", "pygments",
    "rich", "yaml",
}  # fmt: skip
"""What a daemon needs only for more than plain http checks, or never: together more than what it is itself."""
CODE = """
import atexit, sys
atexit.register(lambda: print(" ".join(sys.modules), file=sys.__stdout__))
sys.argv[0] = "heartbeat"
from heartbeat.cli import main
sys.exit(main())
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(
        f"store: sqlite:///{tmp_path}/heartbeat.db\ncontrol: {tmp_path}/heartbeat.sock\n"
        "web: {listen: 127.0.0.1:0}\nlog: {format: json}\nplugins: [./checks.d]\n"
        "checks: {shop: {every: 1s, timeout: 1s, http: {url: 'http://127.0.0.1:9/'}}}\n"
    )
    (tmp_path / "checks.d").mkdir()
    return path


async def modules_of(command: Sequence[str], until: bytes) -> set[str]:
    """Return what the process has imported when it is stopped after it has logged a word."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CODE, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr
    async with asyncio.timeout(30):
        while until not in (line := await process.stderr.readline()):
            assert line, "it ended before"
        process.send_signal(signal.SIGTERM)
        said, _ = await process.communicate()
    assert process.returncode == 0
    return set(said.decode().split())


@pytest.mark.parametrize("start", ["first", "second"])
async def test_a_daemon_has_imported_nothing_that_it_does_not_use(start: str, config: Path) -> None:
    if start == "second":
        await modules_of(["run", "-c", str(config)], b'"serving"')
    found = await modules_of(["run", "-c", str(config)], b'"raised"')
    assert "heartbeat.daemon" in found
    assert found & UNUSED == set()


@pytest.mark.parametrize("command", ["--version", "validate --help", "status --help"])
def test_other_commands_import_no_daemon(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, *command.split()], capture_output=True, text=True, timeout=30, check=True
    )
    assert "heartbeat.cli" in done.stdout.split()
    assert {"heartbeat.daemon", "sqlalchemy", "httpx", "rich"} & set(done.stdout.split()) == set()


def run(config: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "heartbeat", "run", "-c", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_wrong_configuration_is_told_on_its_lines_and_nothing_else(config: Path) -> None:
    config.write_text(config.read_text().replace("url:", "ulr:").replace("every: 1s", "every: 1x"))
    done = run(config)
    assert done.returncode == 78
    assert done.stdout == ""
    assert [line.removeprefix(f"{config}:").split(":")[0] for line in done.stderr.splitlines()] == ["6", "6", "6"]


def test_a_plugin_that_ends_the_process_that_reads_is_named(config: Path) -> None:
    (config.parent / "checks.d" / "wild.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    done = run(config)
    assert done.returncode == 78
    assert "loading the plugin" in done.stderr
    assert "wild.py was killed by SIGKILL" in done.stderr


async def test_an_interrupt_while_the_configuration_is_read_ends_both(config: Path) -> None:
    reading = config.parent / "reading"
    (config.parent / "checks.d" / "slow.py").write_text(
        f"import os, time\nopen({str(reading)!r}, 'w').write(str(os.getpid()))\ntime.sleep(15)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "heartbeat", "run", "-c", str(config), stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(30):
        while not (reading.exists() and reading.read_text()):  # noqa: ASYNC110 - it is another process's
            await asyncio.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = await process.communicate()
    assert (process.returncode, said) == (130, b"")
    assert not Path(f"/proc/{reading.read_text()}").exists()  # noqa: ASYNC240 - as above

"""Every example of the plugin guide is executed, as someone who reads it would."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from heartbeat import Answer, Check, Probe
from heartbeat.backing import Backing
from heartbeat.cli import main
from heartbeat.testing import http, tcp
from heartbeat.testing.tcp import hang_up_after, serve_tcp

GUIDE = (Path(__file__).parents[1] / "checks/README.md").read_text()
FILES = dict(re.findall(r"^<!-- file: (\S+) -->\n```python\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE))
CONFIG = next(text for text in re.findall(r"^```yaml\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE) if "cache" in text)
COMMANDS = [
    line.partition("#")[0].strip()
    for block in re.findall(r"^```console\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]
NAMED = re.findall(r"`(heartbeat [^`]+)`", GUIDE)
NEEDS_A_DAEMON = ("heartbeat run-now", "heartbeat reload")


def column(marker: str, number: int) -> list[str]:
    rows = GUIDE.split(marker)[1].split("\n\n")[0].splitlines()
    cells = [row.strip("|").split("|")[number] for row in rows if row.startswith("| ")][1:]
    return [found for cell in cells for found in re.findall(r"`([^`]+)`", cell)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader has come to: the files of the guide in checks.d, and the configuration of the first example."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "checks.d").mkdir()
    for name, source in FILES.items():
        (tmp_path / "checks.d" / name).write_text(source)
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


def run_pytest(folder: Path, *words: str) -> str:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-W",
        "error",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:asyncio",
        *words,
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def heartbeat(monkeypatch: pytest.MonkeyPatch, command: str) -> int:
    monkeypatch.setattr(sys, "argv", shlex.split(command.partition(">")[0]))
    return main()


def test_every_piece_of_python_is_a_file_that_is_tested() -> None:
    assert len(FILES) == GUIDE.count("```python\n")
    plugins = {name for name in FILES if not name.startswith("test_")}
    assert {f"test_{name}" for name in plugins} == set(FILES) - plugins


def test_the_three_commands_work_one_after_another(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(COMMANDS) == 4
    for command in COMMANDS:
        if command.startswith("pytest"):
            assert len(re.findall("^def test_", "".join(FILES.values()), re.MULTILINE)) >= 6
            assert " passed" in run_pytest(folder, *shlex.split(command)[1:])
        else:
            assert heartbeat(monkeypatch, command) == 0, command
    assert (folder / "checks.d/test_queue.py").is_file()
    printed = capsys.readouterr().out
    assert "what to send, on one line" in printed  # of `heartbeat types queue`
    assert "type.cache" in json.loads(printed[printed.index('{\n  "$schema"') :])["$defs"]


@pytest.mark.parametrize("command", list(dict.fromkeys(one for one in NAMED if not one.startswith(NEEDS_A_DAEMON))))
def test_commands_named_in_the_text_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    if command == "heartbeat new check":
        command += " other"
    if "once" in command:
        pytest.fail("needs a target") if "session-cache" not in command else None
        return  # below
    assert heartbeat(monkeypatch, command) == 0, capsys.readouterr().err


@pytest.mark.parametrize("command", list(dict.fromkeys(one for one in NAMED if one.startswith(NEEDS_A_DAEMON))))
def test_commands_that_need_a_daemon_are_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert heartbeat(monkeypatch, " ".join([*command.split()[:2], "--help"])) == 0


async def test_once_runs_the_first_example_against_its_target(folder: Path) -> None:
    (command,) = {one for one in NAMED if one.startswith("heartbeat once")}
    async with serve_tcp(hang_up_after(b"+OK\r\n$4\r\nping\r\n")) as port:
        target = f"{{host: 127.0.0.1, port: {port}}}"
        (folder / "config.yaml").write_text(CONFIG.replace("{host: redis.example.com}", target))
        once = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *shlex.split(command), cwd=folder, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        said, _ = await once.communicate()
    assert once.returncode == 0, said.decode()
    assert "session-cache: ok" in said.decode()
    assert "value_bytes 4" in said.decode()


@pytest.mark.parametrize("code", column("| what the probe has | is |", 0))
async def test_what_the_probe_has_it_has(code: str) -> None:
    @asynccontextmanager
    async def lease(name: str, _: float, _conceal: object = None) -> AsyncIterator[Any]:
        yield {"user": name}

    class Fine(Check):
        def run(self, probe: Probe) -> None:
            """Find nothing wrong."""

    probe = Probe(backing=Backing(lease=lease))
    names = {"probe": probe, "text": "x", "check": Fine(), "tidy": lambda _: None, "Answer": Answer, "token": "abc"}
    names["future"] = asyncio.get_running_loop().create_future()
    exec(f"async def use():\n    {code}{' pass' * code.endswith(':')}", names)
    await names["use"]()  # type: ignore[operator]  # made by the line above
    assert (probe.refused, probe.dropped) == ("", 0)
    await probe.aclose()


@pytest.mark.parametrize(
    "code", list(dict.fromkeys([*column("<!-- misbehaviour -->", 1), *column("<!-- misbehaviour -->", 2)]))
)
def test_servers_that_misbehave_are_there(code: str) -> None:
    if code in ("serve_tcp(...)", "serve(...)", "http"):
        return
    found: Any = eval(code, {"tcp": tcp, "http": http})
    if "port" in code:
        with found as port:
            assert port > 0
        return
    assert inspect.iscoroutinefunction(found)
    assert len(inspect.signature(found).parameters) == (2 if code.startswith("tcp.") else 3)


def yaml_blocks() -> Iterator[str]:
    yield from re.findall(r"^```yaml\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("text", list(yaml_blocks()))
def test_configurations_load(folder: Path, text: str) -> None:
    from heartbeat.config import load

    (folder / "config.yaml").write_text(text if "checks:" in text else f"{text}checks: {{}}\n")
    load([folder / "config.yaml"], {"SHOP_TOKEN": "open-sesame"})

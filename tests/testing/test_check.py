from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from heartbeat.plugins import PluginError, discover, load_type
from heartbeat.testing.check import load_check, run_once
from heartbeat.testing.tcp import serve_tcp, silent

PLUGIN = '''
from . import _shared
from heartbeat import Check


class Queue(Check):
    """Send a message and receive it back."""

    size: int = 1

    def run(self, probe):
        probe.record("size_bytes", self.size * _shared.FACTOR)
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "queue.py").write_text(PLUGIN)
    (tmp_path / "_shared.py").write_text("FACTOR = 8\n")
    (tmp_path / "test_queue.py").write_text("raise RuntimeError('a test is no plugin')\n")
    (tmp_path / "conftest.py").write_text("raise RuntimeError('neither is this')\n")
    return tmp_path


async def test_a_check_is_loaded_from_its_file_and_run_as_the_daemon_runs_it(folder: Path) -> None:
    check = load_check(folder / "queue.py").model_validate({"size": 2})
    result = await run_once(check)
    assert (result.outcome, result.measurements) == ("ok", {"size_bytes": 16})


def test_tests_beside_plugins_are_no_plugins(folder: Path) -> None:
    found = discover([folder])
    assert found.faults == ()
    assert {name for name, source in found.sources.items() if not source.bundled} == {"queue"}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("every", PLUGIN, "which is a key of every check"),
        ("Queue", PLUGIN, "is no name for a check type"),
        ("http", PLUGIN, "there are two check types"),
        ("wild", "1 / 0\n", "ZeroDivisionError"),
    ],
)
def test_a_file_that_the_daemon_would_not_load_is_refused_with_its_words(
    folder: Path, name: str, text: str, said: str
) -> None:
    (folder / f"{name}.py").write_text(text)
    with pytest.raises(PluginError, match=said):
        load_check(folder / f"{name}.py")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="there is no plugin in"):
        load_check(tmp_path / "queue.py")


async def test_a_deadline_ends_the_run(folder: Path) -> None:
    tcp: Any = load_type(discover().sources["tcp"])
    async with serve_tcp(silent) as port:
        result = await run_once(tcp(host="127.0.0.1", port=port, expect={"contains": "x"}), timeout=0.2)
    assert (result.outcome, result.reason) == ("fail", "timeout")


def test_it_works_without_a_plugin_of_pytest(folder: Path) -> None:
    check = load_check(folder / "queue.py").model_validate({})
    assert asyncio.run(run_once(check)).outcome == "ok"


async def test_what_is_wrong_with_the_check_is_told_apart(folder: Path) -> None:
    (folder / "broken_account.py").write_text(
        "from heartbeat import Check, CheckBroken\n\n\nclass Account(Check):\n    async def run(self, probe):\n"
        "        raise CheckBroken('locked', reason='account')\n"
    )
    result = await run_once(load_check(folder / "broken_account.py").model_validate({}))
    assert (result.outcome, result.reason, result.sentence) == ("error", "account", "locked")


async def test_an_http_client_leaves_nothing_behind(folder: Path, recwarn: pytest.WarningsRecorder) -> None:
    from heartbeat.testing.http import answer, serve

    (folder / "page.py").write_text(
        "from heartbeat import Check\n\n\nclass Page(Check):\n    url: str\n\n    async def run(self, probe):\n"
        "        answer = await probe.http.get(self.url)\n        probe.record('body_bytes', len(answer.content))\n"
    )
    async with serve(answer(body=b"hello")) as server:
        result = await run_once(load_check(folder / "page.py").model_validate({"url": server.url}))
    assert (result.outcome, result.measurements) == ("ok", {"body_bytes": 5})
    assert list(recwarn) == []

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from heartbeat.cli import main
from heartbeat.cli.new import class_name, new_check
from heartbeat.config import load
from heartbeat.plugins import discover, load_type

PYTEST = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:asyncio"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def heartbeat(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["heartbeat", *words])
    return main()


def passes(folder: Path, *files: Path) -> str:
    done = subprocess.run(
        [*PYTEST, *map(str, files)], cwd=folder, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_is_written_loads_and_its_test_passes_as_it_stands(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert heartbeat(monkeypatch, "new", "check", "mail_queue") == 0

    assert sorted(path.name for path in Path("checks.d").iterdir()) == ["mail_queue.py", "test_mail_queue.py"]
    found = discover([Path("checks.d")])
    assert not found.faults
    kind = load_type(found.sources["mail_queue"])
    assert kind.__name__ == "MailQueue"
    assert all(field.description for field in kind.model_fields.values())
    assert "6 passed" in passes(folder, Path("checks.d"))


def test_the_test_fails_where_the_plugin_is_wrong(folder: Path) -> None:
    new_check("queue")
    plugin = Path("checks.d/queue.py")
    plugin.write_text(plugin.read_text().replace("answer != self.line", "False"))

    with pytest.raises(AssertionError, match="2 failed"):
        passes(folder, Path("checks.d"))


def test_the_three_next_steps_are_printed_and_work(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new_check("mail_queue") == 0

    out = capsys.readouterr().out
    assert re.findall(r"^([0-9])\. ", out, re.MULTILINE) == ["1", "2", "3"]
    assert "       pytest checks.d/test_mail_queue.py\n" in out
    snippet = re.findall(r"^       ((?:plugins|checks):.*|  +.*)$", out, re.MULTILINE)
    Path("config.yaml").write_text("\n".join(snippet) + "\n")
    assert list(load([Path("config.yaml")], {}).checks) == ["my-mail-queue"]
    assert "heartbeat once my-mail-queue -c config.yaml" in out


def test_the_house_has_no_objection_to_what_is_written(folder: Path) -> None:
    new_check("queue")
    root = Path(__file__).parents[2]
    shutil.copytree(folder / "checks.d", folder / "checks")
    for command in (["check", "--ignore", "INP001,S101"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--config", str(root / "pyproject.toml"), "--no-cache"]
        done = subprocess.run([*ruff, "checks"], cwd=folder, capture_output=True, text=True, timeout=50, check=False)
        found = [line for line in done.stdout.splitlines() if "D103" not in line]  # tests need no docstrings
        assert done.returncode == 0 or not re.search(r"^[A-Z]+[0-9]+ ", "\n".join(found), re.MULTILINE), done.stdout


def test_another_folder_can_be_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert heartbeat(monkeypatch, "new", "check", "queue", "--in", "deep/own") == 0
    assert Path("deep/own/test_queue.py").is_file()


@pytest.mark.parametrize("there", ["queue.py", "test_queue.py"])
def test_nothing_is_overwritten(folder: Path, there: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("checks.d").mkdir()
    (Path("checks.d") / there).write_text("# mine\n")

    assert new_check("queue") == 65

    assert capsys.readouterr().err == f"checks.d/{there} is already there; nothing was written\n"
    assert [(path.name, path.read_text()) for path in Path("checks.d").iterdir()] == [(there, "# mine\n")]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Queue", "is no name for a check type"),
        ("mail-queue", "is no name for a check type"),
        ("../queue", "is no name for a check type"),
        ("", "is no name for a check type"),
        ("9lives", "is no name for a check type"),
        ("every", "is a key of every check"),
        ("escalate", "is a key of every check"),
        ("http", 'there is already a check type "http": the bundled http'),
        ("test_queue", "files of that name are tests"),
        ("conftest", "files of that name are tests"),
    ],
)
def test_a_name_that_cannot_be_is_refused(
    folder: Path, name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new_check(name) == 64

    assert said in capsys.readouterr().err
    assert not Path("checks.d").exists()


@pytest.mark.parametrize("name", ["check", "probe", "none", "field", "class"])
def test_a_name_that_python_or_the_contract_has_works_all_the_same(folder: Path, name: str) -> None:
    assert new_check(name) == 0
    assert load_type(discover([Path("checks.d")]).sources[name]).__name__ == class_name(name)


def test_files_are_such_that_the_daemon_loads_them_whatever_the_umask(folder: Path) -> None:
    before = os.umask(0)
    try:
        assert new_check("queue") == 0
    finally:
        os.umask(before)
    found = discover([Path("checks.d")])
    assert (found.faults, "queue" in found.sources) == ((), True)


def test_a_folder_that_cannot_be_made_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("")
    assert new_check("queue", Path("file/own")) == 65
    assert "file" in capsys.readouterr().err

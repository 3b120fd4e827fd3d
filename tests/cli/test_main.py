from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from heartbeat import __version__
from heartbeat.cli import main

COMMANDS = {"run", "validate", "once", "demo", "types", "status", "reload", "run-now"}


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(
        f"store: sqlite:///{tmp_path}/heartbeat.db\ncontrol: {tmp_path}/heartbeat.sock\n"
        "checks: {shop: {tcp: {host: 127.0.0.1, port: 9}}}\n"
    )
    return str(path)


@pytest.fixture
def wrong(tmp_path: Path) -> str:
    path = tmp_path / "wrong.yaml"
    path.write_text("chekcs: {}\n")
    return str(path)


def heartbeat(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["heartbeat", *words])
    return main()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rnu"], "rnu"),
        (["--verbose"], "--verbose"),
        (["run", "--verbose"], "--verbose"),
        (["run"], "--config"),
        (["once"], "NAME"),
        (["once", "shop"], "--config"),
        (["run-now"], "name"),
        (["validate", "-c"], "-c"),
        (["status", "more", "-c", "x"], "more"),
    ],
)
def test_a_wrong_command_line_is_64_and_says_what_is_wrong(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert heartbeat(monkeypatch, *words) == 64
    out, err = capsys.readouterr()
    assert said in err
    assert out == ""


def test_without_a_word_the_commands_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert heartbeat(monkeypatch) == 64
    out, err = capsys.readouterr()
    assert not COMMANDS - set((out + err).split())


def test_help_is_no_mistake(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert heartbeat(monkeypatch, "--help") == 0
    assert not COMMANDS - set(capsys.readouterr().out.split())


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_each_command_has_help_that_says_what_it_does(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert heartbeat(monkeypatch, command, "--help") == 0
    out = capsys.readouterr().out
    assert re.search(rf"Usage: heartbeat {command}\b", out)
    assert len(out.splitlines()) > 5


def test_an_unknown_check_is_64_with_the_nearest_name(
    config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert heartbeat(monkeypatch, "once", "shopp", "shop", "x", "-c", config) == 64
    err = capsys.readouterr().err
    assert 'there is no check "shopp"; did you mean "shop"?' in err
    assert 'there is no check "x"' in err


@pytest.mark.parametrize(
    "words", [["run"], ["validate"], ["once", "shop"], ["status"], ["reload"], ["run-now", "shop"]]
)
def test_a_wrong_configuration_is_78_with_its_place(
    words: list[str], wrong: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert heartbeat(monkeypatch, *words, "-c", wrong) == 78
    out, err = capsys.readouterr()
    assert f'{wrong}:1:1: unknown key "chekcs"; did you mean "checks"?' in err
    assert out == ""


def test_a_missing_configuration_is_78(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert heartbeat(monkeypatch, "validate", "-c", str(tmp_path / "none.yaml")) == 78
    assert "none.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["status"], ["reload"], ["run-now", "shop"]])
@pytest.mark.parametrize("socket", ["", "other.sock"])
def test_without_a_daemon_to_ask_it_is_69(
    words: list[str], socket: str, config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(config).parent
    given = ["--socket", str(folder / socket)] if socket else []
    assert heartbeat(monkeypatch, *words, "-c", config, *given) == 69
    out, err = capsys.readouterr()
    assert f"no daemon listens on {folder}/{socket or 'heartbeat.sock'}" in err
    assert out == ""


def test_an_interrupted_command_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(**_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("heartbeat.cli.app", interrupt)
    assert heartbeat(monkeypatch, "status") == 130
    assert capsys.readouterr() == ("", "interrupted\n")


SCRIPT = shutil.which("heartbeat", path=str(Path(sys.executable).parent))


def test_the_script_is_installed() -> None:
    assert SCRIPT is not None


@pytest.mark.parametrize("command", [[sys.executable, "-m", "heartbeat"], [SCRIPT or "heartbeat"]])
def test_the_module_and_the_script_are_the_same_command(command: list[str]) -> None:
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"heartbeat {__version__}\n", "")
    done = subprocess.run([*command, "rnu"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 64


@pytest.mark.parametrize(
    ("words", "completed"),
    [("heartbeat sim", "simulate"), ("heartbeat validate --for", "--format"), ("heartbeat silence e", "end")],
)
def test_the_shell_completes_commands_and_options(words: str, completed: str) -> None:
    environ = {**os.environ, "_HEARTBEAT_COMPLETE": "complete_bash", "COMP_WORDS": words}
    environ["COMP_CWORD"] = str(len(words.split()) - 1)
    program = Path(sys.executable).with_name("heartbeat")  # the shell asks the program of that name
    done = subprocess.run([program], env=environ, capture_output=True, text=True, check=False)
    assert completed in done.stdout.split()

from __future__ import annotations

import json
from pathlib import Path

import pytest

from heartbeat.cli import main

CONFIG = """
receivers:
  team: [{webhook: {url: "https://team.example.com/"}}]
checks:
  shop:
    every: 30s
    tcp: {host: shop.example.com, port: 443}
    notify: [team]
    limits: {duration: {warn: 800ms}}
"""


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["heartbeat", "simulate", *arguments])
    return main()


def test_a_policy_without_a_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "shop", "ok fail*2 ok", "--policy", "raise: 2, clear: 1", "--every", "30s") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Mon 5 Jan 2026, UTC"
    assert [line[:8] for line in lines[1:]] == ["12:00:00", "12:00:30", "12:01:00", "12:01:00", "12:01:30", "12:01:30"]
    assert [line.split("(")[0].strip() for line in lines if "->" in line] == [
        "12:01:00  -> oncall/webhook: FAILING: shop: connection refused",
        "12:01:30  -> oncall/webhook: RESOLVED: shop: works again after 1m",
    ]


def test_the_configuration_says_who_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    file = str(tmp_path / "config.yaml")
    assert run(monkeypatch, "shop", "warn ok", "-c", file, "--json", "--at", "2026-11-22T22:00") == 0
    notes = json.loads(capsys.readouterr().out)
    assert [note["at"] for note in notes] == ["2026-11-22T22:00:00.000Z"] * 2 + ["2026-11-22T22:00:30.000Z"] * 2
    assert [note["channel"] for note in notes if "channel" in note] == ["team/webhook"] * 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("shop", "oops"), "there is no such word"),
        (("shop", "gateway:fail"), "there is no check gateway in this story"),
        (("shop", "ok", "--every", "soon"), "must be a duration"),
        (("shop", "ok", "--every", "1ms"), "at least 1s"),
        (("shop", "ok", "--at", "noon"), "must be a time such as"),
        (("shop", "warn"), "no limit of this check only warns"),
        (("shop", "ok", "--policy", "{"), "cannot be read"),
        (("shop", "ok", "--policy", "raise: 1", "-c", "x.yaml"), "leave out one or the other"),
    ],
)
def test_what_cannot_be_simulated_is_said(
    arguments: tuple[str, ...], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *arguments) == 64
    assert sentence in capsys.readouterr().err


def test_a_wrong_policy_is_a_wrong_configuration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "shop", "ok", "--policy", "rise: 2") == 78
    assert 'checks.shop.policy: unknown key "rise"; did you mean "raise"?' in capsys.readouterr().err


def test_a_check_that_is_not_there_is_no_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    assert run(monkeypatch, "shp", "ok", "-c", str(tmp_path / "config.yaml")) == 64
    assert 'there is no check "shp"; did you mean "shop"?' in capsys.readouterr().err

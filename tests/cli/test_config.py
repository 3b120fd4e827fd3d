from __future__ import annotations

from pathlib import Path

import pytest

from heartbeat.cli.config import validate
from heartbeat.cli.types import type_name, types

PLUGIN = '''
from pydantic import Field
from heartbeat import Check


class Queue(Check):
    """Send a message and receive it back.

    The message is small.
    """

    url: str = Field(description="where the queue is [amqp]")
    size: int = Field(7, alias="bytes")

    async def run(self, probe): ...
'''


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "checks.d").mkdir()
    (tmp_path / "checks.d" / "queue.py").write_text(PLUGIN)
    (tmp_path / "config.yaml").write_text(
        "plugins: [checks.d]\nchecks: {a: {queue: {url: x}}, b: {queue: {url: x}}}\n"
        "receivers: {ops: [webhook: {url: 'https://hook.example.com/x'}]}\n"
        "self_notify: [ops]\ndefaults: {notify: [ops]}\n"
    )
    return tmp_path / "config.yaml"


def test_a_good_configuration_is_counted(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert validate([config]) == 0

    assert capsys.readouterr() == (f"{config}: ok, 2 checks, 1 receiver\n", "")


def test_all_mistakes_are_printed_one_on_a_line(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("chekcs: {}\nlog: {level: loud}\nchecks: {}\n")

    assert validate([config]) == 78

    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f'{config}:1:1: unknown key "chekcs"; did you mean "checks"?\n'
        f"{config}:2:14 log.level: must be one of debug, info, warning, error\n"
    )


def test_what_is_hardly_meant_is_a_warning_and_no_mistake(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("checks: {}\n")

    assert validate([config]) == 0

    assert capsys.readouterr().err == "warning: there are no checks\n"


def test_types_are_listed_with_their_first_line(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert types(config=[config]) == 0

    out = capsys.readouterr().out
    assert "queue  Send a message and receive it back." in out
    assert "http  " in out


def test_a_type_is_described_with_its_options(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert types("queue", [config]) == 0

    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "The message is small." in lines
    assert "url text (required) where the queue is [amqp]" in lines
    assert "bytes whole number 7" in lines


def test_an_unknown_type_is_a_usage_error_with_the_nearest_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert types("htpp") == 64

    assert 'did you mean "http"' in capsys.readouterr().err


def test_types_of_a_wrong_configuration_are_not_listed(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("checks: []\n")

    assert types(config=[config]) == 78
    assert "checks: must be a mapping" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (str | None, "text"),
        (dict[str, int], "mapping to whole number"),
        (tuple[str, ...], "list of text"),
        (object, "object"),
    ],
)
def test_types_of_options_are_named_as_yaml_knows_them(annotation: object, words: str) -> None:
    assert type_name(annotation) == words

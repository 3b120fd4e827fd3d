"""``heartbeat types``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from heartbeat.cli.types import types
from heartbeat.cli.wording import type_name
from heartbeat.plugins import discover

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


def test_types_are_listed_with_their_first_line(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert types(config=[config]) == 0

    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "queue Send a message and receive it back." in lines
    assert lines[0] == "Check types"
    assert "http Send one HTTP request over a fresh connection, and look at the answer." in lines
    assert "slack Messages in a channel of Slack." in lines[lines.index("Channels") :]


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


def rows(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_a_channel_is_described_like_a_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert types("email") == 0

    found = rows(capsys)
    assert found[0] == "email (the channel email)"
    assert any(line.startswith("group_wait duration, 0ms to 1h 10s Seconds that a first piece") for line in found)
    assert "from text The address that the mails come from." in found


def test_units_ranges_and_defaults_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert types("http") == 0

    found = rows(capsys)
    assert "max_redirects whole number, 0 to 50 10 how many redirects may follow each other" in found
    statuses = "whole number or text or list of whole number or text"
    assert any(line.startswith(f"status {statuses} status of the final answer") for line in found)
    assert any(line.startswith("body_limit whole number, 0 to 67,108,864 1048576") for line in found)


def test_markdown_has_a_table_of_the_options(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert types("queue", [config], markdown=True) == 0

    assert capsys.readouterr().out == (
        "## `queue`\n\nSend a message and receive it back.\n\nThe message is small.\n\n"
        "| option | type | default | description |\n| --- | --- | --- | --- |\n"
        "| `url` | text | (required) | where the queue is [amqp] |\n"
        "| `bytes` | whole number | `7` |  |\n\n"
    )


def test_markdown_without_a_name_has_all_of_them(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert types(config=[config], markdown=True) == 0

    headings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("#")]
    names = sorted([*discover().sources, "queue"])
    assert headings[: len(names) + 1] == ["# Check types", *(f"## `{name}`" for name in names)]
    assert headings[len(names) + 1 :][:2] == ["# Channels", "## `email`"]


def test_programs_get_the_options_as_json(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert types("queue", [config], as_json=True) == 0

    (found,) = json.loads(capsys.readouterr().out)
    assert (found["name"], found["what"]) == ("queue", "check")
    assert found["options"] == [
        {"name": "url", "type": "text", "default": "(required)", "description": "where the queue is [amqp]",
         "required": True},
        {"name": "bytes", "type": "whole number", "default": "7", "description": "", "required": False},
    ]  # fmt: skip


def test_every_option_of_every_type_and_channel_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert types(as_json=True) == 0

    found = json.loads(capsys.readouterr().out)
    assert len(found) > 15
    for entry in found:
        for option in (*entry["options"], *(one for part in entry["parts"].values() for one in part)):
            assert option["description"], (entry["name"], option["name"])


def test_a_type_that_does_not_load_says_why(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.d").mkdir()
    (tmp_path / "other.d/wild.py").write_text("import nothing_like_this\n")
    config.write_text("plugins: [other.d]\nchecks: {}\n")

    assert types("wild", [config]) == 78
    assert "nothing_like_this" in capsys.readouterr().err


def test_a_check_within_is_shown_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert types("flow") == 0
    rows = {line.split()[0]: " ".join(line.split()) for line in capsys.readouterr().out.splitlines() if line}
    assert rows["list"].startswith("list a check (required)")
    assert rows["TYPE"] == "TYPE options of the type any check type, such as http, with its options"
    assert rows["until"].startswith("until duration")

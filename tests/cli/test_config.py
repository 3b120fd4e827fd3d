from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from jsonschema import Draft7Validator

from heartbeat.cli.config import schema, validate
from heartbeat.cli.remarks import Format

GOOD = (
    "receivers: {ops: [webhook: {url: 'https://hook.example.com/x'}]}\n"
    "self_notify: [ops]\ndefaults: {notify: [ops]}\n"
    "checks: {a: {tcp: {host: target.example.com, port: 1}}, b: {tcp: {host: target.example.com, port: 2}}}\n"
)
HARDLY_MEANT = f"{GOOD}watchdog: {{url: 'https://hc-ping.com/hunter2'}}\n"
WRONG = "chekcs: {}\nlog: {level: loud}\nchecks: {}\n"
KEPT = "a secret stands here for all to read: write ${secret:NAME} or ${file:PATH}"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(GOOD)
    return Path("config.yaml")


def output(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


# validate


def test_a_good_configuration_is_counted(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert validate([config]) == 0

    assert capsys.readouterr() == ("config.yaml: ok, 2 checks, 1 receiver\n", "")


def test_no_target_is_asked_anything(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        pytest.fail("validate reached for the network")

    for name in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert validate([config]) == 0


def test_all_mistakes_are_printed_one_on_a_line(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(WRONG)

    assert validate([config]) == 78

    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        'config.yaml:1:1: unknown key "chekcs"; did you mean "checks"?\n'
        "config.yaml:2:14 log.level: must be one of debug, info, warning, error\n"
    )


def test_what_is_hardly_meant_is_a_warning_and_no_mistake(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(HARDLY_MEANT)

    assert validate([config]) == 0

    out, err = capsys.readouterr()
    assert out == "config.yaml: ok, 2 checks, 1 receiver\n"
    assert err == f"config.yaml:5:12: warning: watchdog.url: {KEPT}\n"


@pytest.mark.parametrize("form", Format)
def test_strict_makes_mistakes_of_warnings(config: Path, form: Format, capsys: pytest.CaptureFixture[str]) -> None:
    assert validate([config], strict=True, form=form) == 0
    config.write_text(HARDLY_MEANT)

    assert validate([config], strict=True, form=form) == 78

    out, err = capsys.readouterr()
    if form is Format.TEXT:
        assert err == f"config.yaml:5:12 watchdog.url: {KEPT}\n"
    assert "warning" not in out + err


def test_programs_get_json(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(HARDLY_MEANT)

    assert validate([config], form=Format.JSON) == 0

    remark = {"level": "warning", "rule": "secret-inline", "file": "config.yaml", "line": 5, "column": 12,
              "path": "watchdog.url", "message": KEPT}  # fmt: skip
    counts = {"files": ["config.yaml"], "checks": 2, "receivers": 1}
    assert output(capsys) == {"ok": True, **counts, "remarks": [remark]}


def test_programs_get_mistakes_as_json_too(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(WRONG)

    assert validate([config], form=Format.JSON) == 78

    found = output(capsys)
    assert not found["ok"]
    assert [(one["level"], one["rule"], one["line"]) for one in found["remarks"]] == [
        ("error", "mistake", 1),
        ("error", "mistake", 2),
    ]


def test_github_gets_workflow_commands_with_paths_from_the_folder_it_runs_in(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a, b:c").mkdir()
    odd = tmp_path / "a, b:c" / "config.yaml"
    odd.write_text("checks: {'100%': {tcp: {host: x, port: 1}}}\nlog: {level: loud}\n")

    assert validate([odd], form=Format.GITHUB) == 78

    path = "file=a%2C b%3Ac/config.yaml"
    name = '"100%25" is no name: use letters, digits, _ . - (at most 100, a letter or digit first)'
    assert capsys.readouterr().out.splitlines() == [
        f"::error {path},line=1,col=18,title=mistake::checks.100%25: {name}",
        f"::error {path},line=2,col=14,title=mistake::log.level: must be one of debug, info, warning, error",
    ]


def test_github_gets_warnings_and_the_counts(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(HARDLY_MEANT)

    assert validate([config], form=Format.GITHUB) == 0

    assert capsys.readouterr().out.splitlines() == [
        f"::warning file=config.yaml,line=5,col=12,title=secret-inline::watchdog.url: {KEPT}",
        "config.yaml: ok, 2 checks, 1 receiver",
    ]


TEXT = {"type": "string", "minLength": 1}
MESSAGE = {"type": "object", "required": ["text"], "additionalProperties": False, "properties": {"text": TEXT}}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
AT_LEAST_1 = {"type": "integer", "minimum": 1}


def closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "additionalProperties": False, "properties": properties}


SARIF = closed(
    ["$schema", "version", "runs"],
    **{"$schema": {"const": "https://json.schemastore.org/sarif-2.1.0.json"}},
    version={"const": "2.1.0"},
    runs={"type": "array", "minItems": 1, "items": closed(
        ["tool", "results"],
        tool=closed(["driver"], driver=closed(
            ["name", "rules"], name=TEXT, version=TEXT,
            semanticVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+"},
            rules={"type": "array", "items": closed(
                ["id", "shortDescription"], id=TEXT, name=TEXT, shortDescription=MESSAGE,
                defaultConfiguration=closed(["level"], level=LEVEL))})),
        columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
        originalUriBaseIds={"type": "object", "additionalProperties": closed(
            ["uri"], uri={"type": "string", "pattern": "^file:///.*/$"})},
        results={"type": "array", "items": closed(
            ["ruleId", "message", "level", "locations"],
            ruleId=TEXT, ruleIndex={"type": "integer", "minimum": 0}, level=LEVEL, message=MESSAGE,
            locations={"type": "array", "minItems": 1, "maxItems": 1, "items": closed(
                ["physicalLocation"],
                logicalLocations={"type": "array", "items": closed([], fullyQualifiedName=TEXT)},
                physicalLocation=closed(
                    ["artifactLocation", "region"],
                    artifactLocation=closed(["uri"], uri={"type": "string", "pattern": r"^[!-~]+$"}, uriBaseId=TEXT),
                    region=closed(["startLine"], startLine=AT_LEAST_1, startColumn=AT_LEAST_1)))})})},
)  # fmt: skip
"""What SARIF 2.1.0 (OASIS) says of the parts that we use, and what GitHub's code scanning wants to be there."""


@pytest.mark.parametrize("text", [GOOD, HARDLY_MEANT, WRONG, "", "checks: [\n"])
def test_code_scanning_gets_sarif(config: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(text)

    validate([config], form=Format.SARIF)

    found = output(capsys)
    jsonschema.validate(found, SARIF, cls=Draft7Validator)
    (run,) = found["runs"]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["locations"][0]["physicalLocation"]["artifactLocation"] == {
            "uri": "config.yaml",
            "uriBaseId": "%SRCROOT%",
        }


def test_sarif_names_the_level_and_the_place(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(HARDLY_MEANT)

    assert validate([config], form=Format.SARIF) == 0

    (result,) = output(capsys)["runs"][0]["results"]
    assert (result["ruleId"], result["level"]) == ("secret-inline", "warning")
    assert result["message"] == {"text": f"watchdog.url: {KEPT}"}
    assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": 5, "startColumn": 12}


def test_a_file_that_is_not_there_is_told_in_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form in Format:
        assert validate([tmp_path / "none.yaml"], form=form) == 78
        out, err = capsys.readouterr()
        assert "cannot be read" in out + err


# schema

PLUGIN = '''
from pydantic import Field
from heartbeat import Check


class Queue(Check):
    """Send a message and receive it back."""

    url: str = Field(description="where the queue is")

    async def run(self, probe): ...
'''


def test_the_schema_of_a_configuration_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert schema() == 0

    printed = output(capsys)
    Draft7Validator.check_schema(printed)
    assert Draft7Validator(printed).is_valid({"checks": {"a": {"tcp": {"host": "x", "port": 1}}}})
    assert not Draft7Validator(printed).is_valid({"checks": {"a": {"queue": {"url": "x"}}}})


@pytest.mark.parametrize("by", ["configuration", "folder"])
def test_own_check_types_are_in_the_schema(config: Path, by: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("checks.d").mkdir()
    Path("checks.d/queue.py").write_text(PLUGIN)
    config.write_text("plugins: [./checks.d]\nchecks: {a: {queue: {url: x}}}\n")

    assert (schema([config]) if by == "configuration" else schema(plugins=[Path("checks.d")])) == 0

    found = output(capsys)
    assert Draft7Validator(found).is_valid({"checks": {"a": {"queue": {"url": "x"}}}})
    assert not Draft7Validator(found).is_valid({"checks": {"a": {"queue": {"ulr": "x"}}}})
    assert found["$defs"]["type.queue"]["properties"]["url"]["description"] == "where the queue is"


def test_a_plugin_that_does_not_load_is_named_and_the_rest_is_printed(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("checks.d").mkdir()
    Path("checks.d/queue.py").write_text("1 / 0\n")

    assert schema(plugins=[Path("checks.d")]) == 78

    out, err = capsys.readouterr()
    assert "queue.py" in err
    assert "ZeroDivisionError" in err
    assert Draft7Validator(json.loads(out)).is_valid({"checks": {"a": {"queue": {"url": "x"}}}})


def test_there_is_no_schema_of_a_wrong_configuration(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(WRONG)

    assert schema([config]) == 78
    assert capsys.readouterr().out == ""

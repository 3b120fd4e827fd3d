"""How ``validate`` says what it found: for people, for programs, for GitHub's workflows, and as SARIF 2.1.0."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import quote

from heartbeat import __version__
from heartbeat.config.review import MISTAKE, Remark


class Format(StrEnum):
    """The words of ``--format``."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    SARIF = "sarif"


@dataclass(frozen=True, slots=True)
class Report:
    """What there is to say of files, and how many checks and receivers they have, where they can be used."""

    paths: Sequence[Path]
    remarks: Sequence[Remark]
    strict: bool = False
    checks: int = 0
    receivers: int = 0

    @property
    def is_good(self) -> bool:
        """Say whether the configuration passes."""
        return all(self.level(remark) == "warning" for remark in self.remarks)

    def level(self, remark: Remark) -> str:
        """Return ``warning`` or ``error``."""
        return "warning" if remark.is_warning and not self.strict else "error"


def write_text(report: Report) -> None:
    """Write a line for each remark, and what was counted where all is well."""
    for remark in report.remarks:
        one = remark.problem
        line = str(one)
        if report.level(remark) == "warning":
            line = f"{one.file}:{one.line}:{one.column}: warning: {_sentence(remark)}"
        print(line, file=sys.stderr)  # noqa: T201 - a command's output
    if report.is_good:
        counts = f"{_count(report.checks, 'check')}, {_count(report.receivers, 'receiver')}"
        print(f"{', '.join(map(str, report.paths))}: ok, {counts}")  # noqa: T201 - a command's output


def write_json(report: Report) -> None:
    """Write one object: whether it is good, and all remarks."""
    remarks = [
        {
            "level": report.level(remark),
            "rule": remark.rule,
            "file": remark.problem.file,
            "line": remark.problem.line,
            "column": remark.problem.column,
            "path": remark.problem.path,
            "message": remark.problem.message,
        }
        for remark in report.remarks
    ]
    counted = {"checks": report.checks, "receivers": report.receivers}
    _print({"ok": report.is_good, "files": list(map(str, report.paths)), **counted, "remarks": remarks})


def write_github(report: Report) -> None:
    """Write workflow commands, which GitHub shows beside the lines that they are about; then the same for people.

    docs.github.com/actions/reference/workflow-commands-for-github-actions has the syntax and what it escapes.
    """
    for remark in report.remarks:
        one = remark.problem
        given = {"file": _relative(one.file), "line": one.line or 1, "col": one.column or 1, "title": remark.rule}
        properties = ",".join(f"{key}={_escape(str(value), ':,')}" for key, value in given.items())
        print(f"::{report.level(remark)} {properties}::{_escape(_sentence(remark))}")  # noqa: T201 - a command's output
    if report.is_good:
        write_text(Report(report.paths, (), report.strict, report.checks, report.receivers))


def write_sarif(report: Report) -> None:
    """Write SARIF 2.1.0 (OASIS), with all that GitHub's code scanning asks for."""
    rules = sorted({remark.rule for remark in report.remarks})
    driver = {
        "name": "heartbeat",
        "version": __version__,
        "semanticVersion": __version__,
        "rules": [_rule(rule, report) for rule in rules],
    }
    results = [_result(remark, rules.index(remark.rule), report) for remark in report.remarks]
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"%SRCROOT%": {"uri": f"{Path.cwd().as_uri()}/"}},
        "results": results,
    }
    _print({"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]})


def _rule(rule: str, report: Report) -> Mapping[str, Any]:
    first = next(remark for remark in report.remarks if remark.rule == rule)
    words = "the configuration cannot be used" if rule == MISTAKE else rule.replace("-", " ")
    return {
        "id": rule,
        "name": rule,
        "shortDescription": {"text": words},
        "defaultConfiguration": {"level": report.level(first)},
    }


def _result(remark: Remark, index: int, report: Report) -> Mapping[str, Any]:
    one = remark.problem
    path = _relative(one.file)
    artifact = (
        {"uri": Path(path).as_uri()} if Path(path).is_absolute() else {"uri": quote(path), "uriBaseId": "%SRCROOT%"}
    )
    return {
        "ruleId": remark.rule,
        "ruleIndex": index,
        "level": report.level(remark),
        "message": {"text": _sentence(remark)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": artifact,
                    "region": {"startLine": one.line or 1, "startColumn": one.column or 1},
                },
                **({"logicalLocations": [{"fullyQualifiedName": one.path}]} if one.path else {}),
            }
        ],
    }


def _sentence(remark: Remark) -> str:
    one = remark.problem
    return f"{one.path}: {one.message}" if one.path else one.message


def _relative(file: str) -> str:
    """Return a path from the folder that we are in where it is below it, as GitHub wants it."""
    path = Path(file).absolute()
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else str(path)


def _escape(text: str, more: str = "") -> str:
    return "".join(f"%{ord(one):02X}" if one in f"%\r\n{more}" else one for one in text)


def _print(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))  # noqa: T201 - a command's output


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


FORMATS: Mapping[Format, Callable[[Report], None]] = {
    Format.TEXT: write_text,
    Format.JSON: write_json,
    Format.GITHUB: write_github,
    Format.SARIF: write_sarif,
}

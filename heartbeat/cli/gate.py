"""What ``heartbeat verify`` is asked for: the command line, held against the configuration before anything runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from heartbeat.config import CheckConfig, Config, load
from heartbeat.config.problem import quoted
from heartbeat.config.requirement import read_required
from heartbeat.core.baseline import ENOUGH
from heartbeat.core.model import NOTHING
from heartbeat.core.units import parse_duration
from heartbeat.verification import Terms, choose, untouched
from heartbeat.verification.records import read_baseline
from heartbeat.verification.summary import Baseline

PATIENCE = 300.0
"""Seconds to wait until checks are healthy, where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The command line, as written."""

    config: list[Path]
    names: list[str]
    tags: list[str]
    targets: list[str]
    require: list[str]
    seconds: str
    runs: int | None
    every: str
    deadline: str
    wait: bool
    junit: Path | None
    json: Path | None
    markdown: Path | None
    baseline: Path | None
    save: Path | None
    concurrency: int
    strict: bool
    no_color: bool


@dataclass(frozen=True, slots=True)
class Gate:
    """What is to be verified, and all that was read for it."""

    asked: Asked
    config: Config
    checks: list[CheckConfig]
    terms: Terms
    targets: Mapping[str, str]
    elsewhere: tuple[str, ...] = ()
    baseline: Baseline | None = None
    off: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    """The checks that are left out as they are switched off, and why."""
    faults: tuple[str, ...] = ()


def prepare(asked: Asked) -> Gate:
    """Return what is to be verified. Raises ``ConfigError``, or ``ValueError`` with a sentence."""
    targets = _targets(asked.targets)
    terms = _terms(asked)
    baseline = read_baseline(asked.baseline) if asked.baseline else None
    config = load(asked.config, os.environ, targets=targets)
    checks = choose(config, asked.names, asked.tags)
    elsewhere = untouched(config, targets, checks)
    for file in (asked.junit, asked.json, asked.markdown, asked.save):
        if file is not None:
            _try_to_write(file)
    checks = [replace(check, runbook=config.redactor(check.runbook)) for check in checks]
    return Gate(asked, config, checks, terms, targets, elsewhere, baseline)


def leave_out(gate: Gate, off: Mapping[str, str]) -> Gate:
    """Return what is to be verified without the checks that are off, and with what is not proven for that."""
    if not off:
        return gate
    checks = [check for check in gate.checks if check.name not in off]
    elsewhere = tuple(name for name in gate.elsewhere if name not in off)
    if not checks:
        named = next(iter(off)) if len(off) == 1 else f"all {len(off)} checks that were chosen"
        verb = "is" if len(off) == 1 else "are"
        return replace(gate, checks=[], off=off, faults=(f"{named} {verb} switched off: nothing was verified",))
    try:
        untouched(gate.config, gate.targets, checks)
    except ValueError as error:
        faults = (f"{error}: the checks that do so are switched off",)
        return replace(gate, checks=checks, elsewhere=elsewhere, off=off, faults=faults)
    return replace(gate, checks=checks, elsewhere=elsewhere, off=off)


def _terms(asked: Asked) -> Terms:
    if asked.seconds and asked.runs:
        raise ValueError("--for and --runs exclude each other")
    if (asked.baseline or asked.save) and not asked.seconds and (asked.runs or 1) < ENOUGH:
        raise ValueError(f"a baseline needs at least {ENOUGH} runs of each check: add --runs {ENOUGH}, or --for")
    return Terms(
        runs=asked.runs or 1,
        seconds=_duration("--for", asked.seconds),
        every=_duration("--every", asked.every) or None,
        patience=_duration("--deadline", asked.deadline) or (PATIENCE if asked.wait else 0.0),
        concurrency=asked.concurrency,
        required=read_required(asked.require),
    )


def _duration(option: str, text: str) -> float:
    try:
        seconds = parse_duration(text) if text else 0.0
    except ValueError as error:
        raise ValueError(f"{option} {error}, not {quoted(text)}") from None
    if text and not seconds:
        raise ValueError(f"{option} must be longer than nothing")
    return seconds


def _targets(given: list[str]) -> dict[str, str]:
    targets: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ValueError(
                f"--target must be NAME=VALUE, such as base=https://canary.example.com, not {quoted(text)}"
            )
        if name in targets:
            raise ValueError(f"--target {quoted(name)} is given twice")
        targets[name] = value
    return targets


def _try_to_write(file: Path) -> None:
    """Find out now, not when all is done, whether a report can be written."""
    is_new = not file.exists()
    try:
        with file.open("a", encoding="utf-8"):
            pass
        if is_new:
            file.unlink()
    except OSError as error:
        raise ValueError(f"cannot write {file}: {error.strerror or error}") from None

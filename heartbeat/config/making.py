"""Checks made of options that were read before: what the process that runs them needs, and nothing that reads YAML."""

from __future__ import annotations

from typing import Any

from heartbeat.check import Check
from heartbeat.filled import ROOTS, Filled
from heartbeat.references import references
from heartbeat.steps import Part, Reading, reading


def make_check(kind: str, found: type[Check], options: dict[str, Any], around: Reading) -> Check:
    """Return the check of options that were read before. Raises ``ValidationError`` where they are right no more."""
    roots = {reference.root for reference in references(options)}
    if roots & ROOTS - found.fills:
        return fill_late(kind, found, options, around)
    with reading(around):
        return found.model_validate(options)


def fill_late(kind: str, found: type[Check], options: dict[str, Any], around: Reading) -> Filled:
    """Return a check whose references are filled in anew for each run."""
    return Filled(check=Part(kind, found, options, None, around))

"""Labels in the configuration: they become labels of metrics, so their names must be legal and ours must stay ours."""

from __future__ import annotations

import re

from heartbeat.config.problem import quoted
from heartbeat.config.reading import Spot, Wrong, attempt, text

LABEL_CHARACTERS = 200
LABELS = 20
RESERVED = frozenset(
    [
        "check",
        "type",
        "location",
        "le",
        "quantile",
        "phase",
        "reason",
        "outcome",
        "instance",
        "job",
        "receiver",
        "channel",
        "kind",
        "version",
    ]
)
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,99}")


def labels(spot: Spot) -> dict[str, str]:
    """Read labels and their values."""
    found = {}
    entries = spot.entries()
    if len(entries) > LABELS:
        raise Wrong(f"must be at most {LABELS} labels: each is on every series of the check")
    for name, child in entries.items():
        if problem := objection(name):
            child.wrong(problem, child.key)
        elif (value := attempt(child, _value)) is not None:
            found[name] = value
    return found


def objection(name: str) -> str:
    """Return why this is no name for a label, or nothing."""
    if name in RESERVED or name.startswith("__"):
        return f'the label "{name}" is reserved; use another name'
    return "" if _NAME.fullmatch(name) else f"{quoted(name)} is no name for a label: use letters, digits and _"


def _value(spot: Spot) -> str:
    value = text(spot)
    if len(value) > LABEL_CHARACTERS:
        raise Wrong(f"must have at most {LABEL_CHARACTERS} characters")
    if spot.node.secret:
        raise Wrong("must not be a secret: labels are shown on the metrics page")
    return value

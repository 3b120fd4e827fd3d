"""What a configuration says, as plain data: what the process that reads YAML hands to the one that runs checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heartbeat.check import Check
from heartbeat.core.limits import Limit
from heartbeat.core.objectives import Objective
from heartbeat.core.policy import Policy, Routes
from heartbeat.core.schedule import Schedule
from heartbeat.core.switches import ON, Switch
from heartbeat.plugins import Source
from heartbeat.plugins.source import digest_of


@dataclass(frozen=True, slots=True)
class Draft:
    """One check as configured, with its options expanded.

    ``model`` is the plugin's own, where it was built here. ``digest`` comes with a draft that was sent: two drafts
    with the same one say the same.
    """

    name: str
    type: str
    options: dict[str, Any]
    fingerprint: str
    schedule: Schedule
    timeout: float
    policy: Policy
    limits: tuple[Limit, ...]
    notify: Routes
    labels: dict[str, str]
    runbook: str
    was: str
    depends_on: tuple[str, ...] = ()
    objective: Objective | None = None
    family: str = ""
    tags: tuple[str, ...] = ()
    enabled: Switch = ON
    folder: Path = Path()
    """What paths in the options are relative to."""
    uses: tuple[str, ...] = ()
    """The names of the types in the options."""
    modules: tuple[Path, ...] = ()
    """The Python files that the options name."""
    model: Check | None = field(default=None, compare=False)
    digest: bytes = b""


@dataclass(frozen=True, slots=True)
class Way:
    """One channel of a receiver: its identity, its kind and its options, expanded."""

    key: str
    kind: str
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a configuration says, checked, as plain data that can be sent to another process.

    Attributes:
        settings: the arguments of ``Config`` that need no building.
        receivers: the channels of each receiver.
        checks: the checks; their models are not sent.
        sources: the check types in use.
        secrets: name and value of each.
    """

    settings: dict[str, Any]
    receivers: dict[str, tuple[Way, ...]]
    checks: list[Draft]
    sources: dict[str, Source]
    secrets: tuple[tuple[str, str], ...]


def digest(draft: Draft) -> bytes:
    """Return what changes with anything about a check; the fingerprint stands for its type and options."""
    told = (draft.name, draft.fingerprint, draft.schedule, draft.timeout, draft.policy, draft.limits)
    rest = (draft.notify, draft.labels, draft.runbook, draft.was, draft.depends_on, draft.objective, draft.family)
    return bytes.fromhex(digest_of(repr((told, *rest, draft.tags, draft.enabled))))

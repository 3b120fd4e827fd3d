"""Checks whose code ended the daemon: remembered in a file, and not run again until they change.

Written at the last moment of a dying process, so plainly: one JSON object, replaced as a whole.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from heartbeat.check import Check, CheckBroken
from heartbeat.probe import Probe


@dataclass(frozen=True, slots=True)
class Case:
    """Why a check is in quarantine. It holds as long as the check has this fingerprint."""

    fingerprint: str
    why: str


class Quarantined(Check):
    """Stands in for a check that ended the daemon: every run says why it does not run."""

    name: str
    why: str

    async def run(self, probe: Probe) -> None:  # noqa: ARG002 - the contract of a check
        """Say why, and how to go on."""
        raise CheckBroken(
            f"in quarantine, because it {self.why}; mend the check or its plugin, "
            f"or try again with 'heartbeat run-now {self.name}'",
            reason="plugin",
        )


def load_cases(path: Path) -> dict[str, Case]:
    """Read the cases by name of the check. An unreadable file is no reason not to start: nothing is in quarantine."""
    try:
        return {name: Case(**case) for name, case in json.loads(path.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def save_cases(path: Path, cases: dict[str, Case]) -> None:
    """Write the cases, all at once."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(
        json.dumps({name: {"fingerprint": case.fingerprint, "why": case.why} for name, case in cases.items()})
    )
    draft.replace(path)

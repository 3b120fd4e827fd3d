"""Checks whose code ended the daemon: remembered in a file, and not run again until they change.

Written at the last moment of a dying process, so plainly: one JSON object, replaced as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from heartbeat.check import Check, CheckBroken
from heartbeat.config.model import CheckConfig
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


class Quarantine:
    """The cases, in memory and in the file. Each start takes up what the last end left behind."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cases = load_cases(path)
        self.checks: Mapping[str, CheckConfig] = {}
        """As they are configured now, by name; kept up to date by the daemon."""

    def blame(self, name: str, why: str) -> None:
        """Remember that a check ended the daemon; called as the last thing, from any thread."""
        if name in self.checks:
            self._cases[name] = Case(self.checks[name].fingerprint, why)
            save_cases(self._path, self._cases)

    def keep_apart(self, config: CheckConfig) -> CheckConfig:
        """Return the configuration, with a stand-in for a check that is in quarantine and has not changed since."""
        case = self._cases.get(config.name)
        if case is None or case.fingerprint != config.fingerprint:
            return config
        return replace(config, check=Quarantined(name=config.name, why=case.why))

    def stand_ins(self, checks: Mapping[str, CheckConfig]) -> dict[str, CheckConfig]:
        """Return what takes the place of those checks that are in quarantine, by name."""
        return {name: self.keep_apart(checks[name]) for name in self._cases if name in checks}

    def lift(self, name: str) -> bool:
        """Let a check run again; say whether it was in quarantine."""
        if name not in self._cases:
            return False
        del self._cases[name]
        save_cases(self._path, self._cases)
        return True


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

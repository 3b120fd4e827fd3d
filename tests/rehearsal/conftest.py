from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import structlog
import yaml

from heartbeat.clock import Reading
from heartbeat.config import Config, load

NOON = 1_800_000_000.0
PLUGIN = """
    from pathlib import Path
    from heartbeat import Check, CheckBroken, CheckFailed, Probe

    class Told(Check):
        says: str = ""
        broken: str = ""

        async def run(self, probe: Probe) -> None:
            with Path(__file__).with_name("runs").open("a") as runs:
                runs.write(f"{probe.check}\\n")
            probe.record("depth", 7)
            if self.broken:
                raise CheckBroken(self.broken, reason="account")
            if self.says:
                raise CheckFailed(self.says, reason="content", expected="an order", observed="nothing")
"""

Make = Callable[..., Config]


@pytest.fixture(autouse=True)
def _quiet_log() -> Any:
    """Leave the log as it was: the daemon sets it up for the process."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return what loads a configuration of checks of the type ``told``, and of receivers."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "told.py").write_text(dedent(PLUGIN))

    def load_it(checks: dict[str, Any], channels: list[dict[str, Any]] | None = None, **top: Any) -> Config:
        whole = {
            "store": f"sqlite:///{tmp_path}/heartbeat.db",
            "plugins": ["plugins"],
            "receivers": {"oncall": channels or [{"command": {"command": ["cat"]}}]},
            "self_notify": ["oncall"],
            "defaults": {"every": "1m", "notify": ["oncall"]},
            "checks": checks,
            **top,
        }
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(whole))
        return load([path], {})

    return load_it


def still() -> Reading:
    """Read clocks that stand still."""
    return Reading(NOON, 1000.0, 1000.0)


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Reading]:
    """Let all ids and times be the same in every run, by the names through which they come in."""

    class Noon:
        @staticmethod
        def time() -> float:
            return NOON

    monkeypatch.setattr("heartbeat.line.new_run_id", lambda: "run_0000000000000000")
    monkeypatch.setattr("heartbeat.runner.perf_counter", lambda: 5.0)
    monkeypatch.setattr("heartbeat.channels.webhook.time", Noon)
    return still


@pytest.fixture
def runs(tmp_path: Path) -> Callable[[], list[str]]:
    """Return what tells which checks' plugins ran, in order."""
    return lambda: (tmp_path / "plugins" / "runs").read_text().split()

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from heartbeat import Check, Probe
from heartbeat.config.model import CheckConfig
from heartbeat.core.model import Outcome, Reason, Result, Run, Severity, Verdict
from heartbeat.core.policy import Policy
from heartbeat.core.schedule import Interval
from heartbeat.state import Live

BUCKETS = (0.05, 0.25, 1.0, 5.0)


class Quiet(Check):
    async def run(self, probe: Probe) -> None:
        """Do nothing."""


def make_live(name: str = "shop", labels: Mapping[str, str] | None = None) -> Live:
    """Return a check that has not run."""
    config = CheckConfig(name, "http", Quiet(), "print", Interval(30), 10.0, Policy(), labels=labels or {})
    return Live(config)


def ran(live: Live, result: Result, at: float = 1000.5, bounds: tuple[float, ...] = BUCKETS) -> Live:
    """Let the check have run."""
    run = Run("run_1", live.config.name, 1000.0, 0, 1000.0, 10.0)
    severity = Severity.FAIL if result.outcome is Outcome.FAIL else Severity.OK
    verdict = Verdict(run, at, result.outcome, severity, result.reason, result.sentence)
    live.observe(verdict, result, live.status, bounds)
    return live


@pytest.fixture
def make() -> Callable[..., Live]:
    return make_live


@pytest.fixture
def run() -> Callable[..., Live]:
    return ran


@pytest.fixture
def good() -> Result:
    phases = {"resolve": 0.001, "connect": 0.002, "tls": 0.01, "wait": 0.02, "transfer": 0.0005}
    measured = {"response_status": 200.0, "body_bytes": 5120.0, "certificate_expiry_seconds": 1e6}
    return Result(Outcome.OK, 0.123, measurements=measured, phases=phases)


@pytest.fixture
def bad() -> Result:
    return Result(Outcome.FAIL, 0.5, Reason.CONNECT, "nobody listens")

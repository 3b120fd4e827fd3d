from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp

from heartbeat import Check, Probe
from heartbeat.config.model import CheckConfig, Config, Web
from heartbeat.core.model import Finding, Outcome, Result, Run, Severity, Verdict
from heartbeat.core.policy import Policy
from heartbeat.core.schedule import Interval
from heartbeat.metrics.instruments import Instruments
from heartbeat.quiet.surroundings import Surroundings
from heartbeat.quiet.times import Quiet
from heartbeat.redaction import Redactor
from heartbeat.state import Live, State
from heartbeat.web.app import View
from heartbeat.web.serve import open_port, serving

Serve = Callable[[ASGIApp], Awaitable[httpx.AsyncClient]]


class Nothing(Check):
    async def run(self, probe: Probe) -> None:
        """Do nothing."""


def make_live(name: str, result: Result | None = None, labels: Mapping[str, str] | None = None) -> Live:
    live = Live(CheckConfig(name, "http", Nothing(), "", Interval(30), 10.0, Policy(), labels=labels or {}))
    if result:
        run = Run("run_1", name, 1000.0, 0, 1000.0, 10.0)
        findings = (Finding("duration", Severity.FAIL, "at most 1 s", "hunter2-hunter2"),) if result.reason else ()
        verdict = Verdict(run, 1000.5, result.outcome, Severity.OK, result.reason, result.sentence, findings)
        live.observe(verdict, result, live.status, (0.05, 0.25, 1.0, 5.0))
    return live


@pytest.fixture
def make() -> Callable[..., Live]:
    return make_live


@pytest.fixture
def view() -> Callable[..., View]:
    def make_view(*lives: Live, host: str = "127.0.0.1", unhealthy: str = "", unready: str = "") -> View:
        config = Config(
            files=(),
            store=Path("unused"),
            control=Path("unused"),
            checks={},
            receivers={},
            redactor=Redactor({"TOKEN": "hunter2-hunter2"}),
            location="eu",
            web=Web(host=host),
        )
        state = State({live.config.name: live for live in lives})
        return View(
            state,
            Instruments(),
            Surroundings(state, Quiet()),
            lambda: config,
            lambda: unhealthy,
            lambda: unready,
            lambda: 2000.0,
            lambda name: 1234.5 if name == "shop" else None,
        )

    return make_view


@pytest.fixture
def ok() -> Result:
    return Result(Outcome.OK, 0.125, measurements={"body_bytes": 5.0}, phases={"wait": 0.1})


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:

        async def start(app: ASGIApp) -> httpx.AsyncClient:
            address = await stack.enter_async_context(serving(app, open_port("127.0.0.1", 0), grace=1))
            return await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://{address}", trust_env=False))

        yield start
    await asyncio.sleep(0)  # let transports finish closing

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from heartbeat.config.model import CheckConfig, Config, Receiver
from heartbeat.core.limits import Bound, Limit
from heartbeat.core.model import DeliveryState, Severity
from heartbeat.core.policy import Latch, Policy
from heartbeat.explaining import Explanation, data_of, gather, text_of
from heartbeat.line import run_slot
from heartbeat.orders.asking import Ask
from heartbeat.orders.deploying import Deploying
from heartbeat.orders.given import Orders
from heartbeat.orders.upkeep import Upkeep
from heartbeat.redaction import Redactor
from heartbeat.state import Live
from heartbeat.testing.bench import NOON, ONCALL, Bench, Kept, a_check, bench, broken, down, ok

POLICY = Policy(warn=Latch(2, 3, 2), fail=Latch(2, 3, 2), remind=3600.0, escalate=900.0, interval=60.0)
SLOW = Limit("duration", (Bound(Severity.WARN, above=0.8), Bound(Severity.FAIL, above=2.0)), "s")


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as on:
        yield on


def config_of(on: Bench, *checks: CheckConfig) -> Config:
    return Config(
        files=(),
        store=on.store.path,
        control=Path("unused"),
        checks={check.name: check for check in checks},
        receivers={"oncall": Receiver("oncall", {ONCALL.channel: Kept(inbox=None)})},
        redactor=Redactor({"TOKEN": "hunter2-hunter2"}),
    )


async def run(on: Bench, live: Live, behave: Any, times: int = 1) -> None:
    for _ in range(times):
        live.config = replace(live.config, check=a_check(behave=behave).check)
        await run_slot(on.line, live, on.line.clock.now())
        on.time.pass_by(60.0)


async def explained(on: Bench, config: Config | None, check: str = "shop", at: float | None = None) -> Explanation:
    await on.store.flush()
    now = on.line.clock.now()
    return await on.store.ask(lambda reading: gather(reading, check, at or now, config, is_past=at is not None))


def lines(found: Explanation) -> list[str]:
    return list(text_of(found, Redactor({"TOKEN": "hunter2-hunter2"})))


async def test_why_it_fails_who_was_told_and_what_comes_next(on: Bench) -> None:
    live = on.enlist(a_check(policy=POLICY, limits=(SLOW,)))
    await run(on, live, ok)
    await run(on, live, down)
    await run(on, live, broken)
    await run(on, live, down)
    await on.inbox.wait(1)
    while not await on.store.deliveries(state=DeliveryState.ACKNOWLEDGED):  # noqa: ASYNC110 - the outbox tells nobody
        await asyncio.sleep(0)
    told = lines(await explained(on, config_of(on, live.config)))
    text = "\n".join(told)
    assert told[0] == "shop fails since Fri 15 Jan 2027 08:03:00 UTC (1 min): the shop is down"
    assert "nobody has acknowledged it; oncall/kept first heard of it at Fri 15 Jan 2027 08:03:00 UTC" in told[1]
    assert "08:02:00 UTC  error: the account is locked (says nothing about the target)" in text
    assert (
        "fail: set by 2 of the last 3 runs that reach it, and 2 did; "
        "cleared by 2 in a row below it, of which there are 0" in text
    )
    assert "broken: set by 3 runs in a row that cannot be carried out, and 1 of the last 3 could not" in text
    assert "  duration: warn above 800 ms, fail above 2 s; the latest: " in text
    assert "  Fri 15 Jan 2027 08:03:00 UTC  raised: the shop is down\n      oncall/kept has it at" in text
    assert text.endswith(
        "What stands against telling now:\n  nothing\n\nWhat comes next:\n"
        "  a reminder, or calling in others, is due at Fri 15 Jan 2027 08:18:00 UTC, "
        "unless it ends or somebody acknowledges it"
    )


async def test_why_nobody_was_told_and_what_still_stands_against_it(on: Bench) -> None:
    live = on.enlist(a_check())
    orders = Orders(Upkeep(on.dispatch, on.scheduler, on.surroundings.quiet))
    silence = {"by": "alice", "reason": "hunter2-hunter2", "checks": ["*"], "lasts": 600}
    await orders.silence("", Ask.model_validate(silence))
    await run(on, live, down)
    for config in (config_of(on, live.config), None):
        text = "\n".join(lines(await explained(on, config)))
        said = "silenced by alice until Fri 15 Jan 2027 08:10:00 UTC: <redacted:TOKEN>"
        assert f"raised: the shop is down\n      nobody was told: {said}" in text
        assert f"its latest news were told to nobody: {said}" in text
        assert f"What stands against telling now:\n  {said}" in text
        assert "what was kept back is told as soon as nothing stands against it any more" in text
        assert "hunter2" not in text
    assert "no configuration was given that has it" in text


async def test_a_deployment_and_a_parent_that_hold_it_back_are_named(on: Bench) -> None:
    parent, child = on.enlist(a_check("db")), on.enlist(a_check(depends_on=("db",)))
    config = config_of(on, parent.config, child.config)
    on.surroundings.adopt(config.checks, None)
    deploying = Deploying(on.dispatch, on.surroundings.quiet)
    await run(on, parent, ok)
    await run(on, child, ok)
    await deploying.start_deployment("", {"name": "shop", "by": "ci", "hold": "1h", "checks": ["db"]})
    await run(on, parent, down)
    await run(on, child, down)
    assert "held during a deployment of shop by ci" in "\n".join((await explained(on, config, "db")).against)
    assert "db" in "\n".join((await explained(on, config)).against)


async def test_who_takes_care_is_named(on: Bench) -> None:
    live = on.enlist(a_check(policy=POLICY))
    orders = Orders(Upkeep(on.dispatch, on.scheduler, on.surroundings.quiet))
    await run(on, live, down, 2)
    await orders.acknowledge("shop", Ask(by="anna", reason="on it"))
    told = lines(await explained(on, config_of(on, live.config)))
    assert "acknowledged by anna at Fri 15 Jan 2027 08:02:00 UTC (on it)" in told[1]
    assert "What comes next:" not in told


async def test_of_a_time_that_is_past_it_says_what_was_open_then(on: Bench) -> None:
    live = on.enlist(a_check())
    await run(on, live, ok)
    await run(on, live, down)
    await run(on, live, ok)
    config = config_of(on, live.config)
    then = lines(await explained(on, config, at=NOON + 90))
    assert then[0] == (
        "shop failed at Fri 15 Jan 2027 08:01:30 UTC since Fri 15 Jan 2027 08:01:00 UTC (30 s): the shop is down"
    )
    assert then[1].startswith("  open then: Fri 15 Jan 2027 08:01:00 UTC  raised")
    assert "resolved" not in "\n".join(then)
    before = lines(await explained(on, config, at=NOON + 30))
    assert before[0] == "shop was well at Fri 15 Jan 2027 08:00:30 UTC, as far as its events say"
    after = lines(await explained(on, config, at=NOON + 150))
    assert after[0].startswith("shop was well at Fri 15 Jan 2027 08:02:30 UTC since Fri 15 Jan 2027 08:02:00 UTC")


async def test_a_daemon_that_no_longer_runs_is_suspected(on: Bench) -> None:
    live = on.enlist(a_check(policy=POLICY))
    await run(on, live, ok)
    on.time.pass_by(600.0)
    told = lines(await explained(on, config_of(on, live.config)))
    assert "  its latest run was 11 min ago: is the daemon running? heartbeat status" in told
    assert "  nothing; there is nothing to tell, either" in told
    never = lines(await explained(on, config_of(on, a_check("new")), "new"))
    assert never[:2] == [
        "new: nothing is recorded of it",
        "  no run of it is in the store: it has not run yet, or the runs were let go of",
    ]


async def test_machines_get_the_same(on: Bench) -> None:
    live = on.enlist(a_check(policy=POLICY, limits=(SLOW,)))
    await run(on, live, down, 2)
    data = json.loads(json.dumps(data_of(await explained(on, config_of(on, live.config)), str)))
    assert (data["check"], data["severity"], data["since"]) == ("shop", "fail", NOON + 60)
    assert [one["counts"] for one in data["runs"]] == [True, True]
    assert [one["kind"] for one in data["events"]] == ["raised"]
    assert [one["state"] for one in data["deliveries"]] in (["pending"], ["leased"], ["acknowledged"])
    assert data["summary"][0].startswith("shop fails since")

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from heartbeat import CheckBroken, CheckFailed, Probe
from heartbeat.config.model import CheckConfig
from heartbeat.core.model import Address, Delivery, Event, Kind, Severity
from heartbeat.line import run_slot
from heartbeat.store import StoreFailed
from heartbeat.testing.bench import Bench, a_check, bench
from heartbeat.vitals import EVERY, Vitals, self_checks


@dataclass
class Ward:
    on: Bench
    checks: dict[str, CheckConfig]
    config_problems: list[str]
    """What is wrong with the configuration, told from the last to the first."""

    async def problem(self, name: str) -> str:
        try:
            await self.checks[name].check.run(Probe())
        except CheckFailed as failed:
            return failed.sentence
        return ""


@pytest.fixture
async def ward(tmp_path: Path) -> AsyncIterator[Ward]:
    async with bench(tmp_path) as on:
        problems = [""]
        vitals = Vitals(
            on.state, on.store, on.outbox, on.dispatch, on.line.clock.now, problems.pop, on.surroundings.storms
        )
        yield Ward(on, {check.name: check for check in self_checks(vitals)}, problems)


async def test_all_is_well_at_first(ward: Ward) -> None:
    assert set(ward.checks) == {
        "heartbeat.config", "heartbeat.store", "heartbeat.outbox", "heartbeat.network", "heartbeat.scheduler"
    }  # fmt: skip
    assert {name: await ward.problem(name) for name in ward.checks} == dict.fromkeys(ward.checks, "")


async def test_they_are_checks_like_all_others(ward: Ward) -> None:
    for check in ward.checks.values():
        assert check.name.startswith("heartbeat.")
        assert check.policy.interval == EVERY
        await run_slot(ward.on.line, ward.on.enlist(check), 0.0)
        assert ward.on.state.checks[check.name].up is True


async def test_a_bad_configuration_is_told_in_its_own_words(ward: Ward) -> None:
    ward.config_problems.append("the changed configuration is invalid")
    assert await ward.problem("heartbeat.config") == "the changed configuration is invalid"


async def test_a_store_that_fails_is_told_until_it_works_again(ward: Ward) -> None:
    with ward.on.locked_store(), pytest.raises(StoreFailed):
        await ward.on.store.forget("nobody")
    assert "another program holds a lock" in await ward.problem("heartbeat.store")
    await ward.on.store.forget("nobody")
    assert await ward.problem("heartbeat.store") == ""


async def test_a_message_that_waits_for_five_minutes_is_told(ward: Ward) -> None:
    at = ward.on.line.clock.now()
    event = Event("evt_1", Kind.RAISED, "shop", "inc_1", 1, at, Severity.OK, Severity.FAIL, at, None, "down")
    ward.on.outbox.accept([Delivery("dlv_1", event, Address("oncall", "oncall/unplugged"))])
    ward.on.time.pass_by(300.0)
    assert await ward.problem("heartbeat.outbox") == ""
    ward.on.time.pass_by(1.0)
    assert await ward.problem("heartbeat.outbox") == "a message has been waiting for 301 s to be delivered"


async def test_a_message_that_was_given_up_is_told(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ward.on.outbox, "dead_lately", lambda now: "a message about shop was given up")
    assert await ward.problem("heartbeat.outbox") == "a message about shop was given up"


async def test_no_network_is_told_with_the_first_that_found_none(ward: Ward) -> None:
    async def cut_off(_: Probe) -> None:
        raise CheckBroken("there is no network", reason="network")

    for name in ("one", "two"):
        await run_slot(ward.on.line, ward.on.enlist(a_check(name, cut_off)), 0.0)
    await run_slot(ward.on.line, ward.on.enlist(a_check("three")), 0.0)
    assert await ward.problem("heartbeat.network") == "this machine seems cut off: 2 checks found no network, one first"


async def test_a_storm_is_told_before_anything_else_with_what_its_checks_say(ward: Ward) -> None:
    async def down(_: Probe) -> None:
        raise CheckFailed("no route to host", reason="connect")

    on, vitals = ward.on, ward.on.surroundings.storms
    for name in "abcde":
        await run_slot(on.line, on.enlist(a_check(name)), 0.0)
    on.time.pass_by(61.0)
    for name in "abcde":
        live = on.state.checks[name]
        live.config = a_check(name, down)
        await run_slot(on.line, live, 0.0)
    assert vitals.look(on.line.clock.now())
    probe = Probe()
    with pytest.raises(
        CheckFailed, match=r"5 of the 5 unrelated checks that ran since .* went bad: a, b, c and 2 more"
    ):
        await ward.checks["heartbeat.network"].check.run(probe)
    assert str(probe.evidence["failing"]).splitlines() == [f"{name}: no route to host" for name in "abcde"]


async def test_runs_that_are_skipped_are_told_for_a_minute(ward: Ward) -> None:
    ward.on.dispatch.overloaded_at = ward.on.line.clock.now()
    assert "'concurrency'" in await ward.problem("heartbeat.scheduler")
    ward.on.time.pass_by(60.0)
    assert await ward.problem("heartbeat.scheduler") == ""


async def test_runs_that_start_late_are_told(ward: Ward) -> None:
    ward.on.dispatch.late = 5.0
    assert await ward.problem("heartbeat.scheduler") == ""
    ward.on.dispatch.late = 7.5
    assert await ward.problem("heartbeat.scheduler") == "runs start 7.5 s late: this machine is too busy"

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from heartbeat import CheckBroken, CheckFailed, Probe
from heartbeat.accounts import Accounts
from heartbeat.backing import Memory
from heartbeat.config.credentials import AccountConfig, Credentials
from heartbeat.config.model import CheckConfig
from heartbeat.core.model import Address, Delivery, Event, Kind, Severity
from heartbeat.line import run_slot
from heartbeat.selfwatch.vitals import EVERY, KNOWN, Vitals, self_checks
from heartbeat.store import StoreFailed
from heartbeat.testing.bench import Bench, a_check, bench


@dataclass
class Ward:
    on: Bench
    checks: dict[str, CheckConfig]
    config_problems: list[str]
    """What is wrong with the configuration, told from the last to the first."""
    accounts: Accounts

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
        accounts, storms = Accounts(on.line.clock.now), on.surroundings.storms
        vitals = Vitals(on.state, on.store, on.outbox, on.dispatch, on.line.clock.now, problems.pop, storms, accounts)
        yield Ward(on, {check.name: check for check in self_checks(vitals)}, problems, accounts)


async def test_all_is_well_at_first(ward: Ward) -> None:
    assert set(ward.checks) == {
        "heartbeat.config", "heartbeat.store", "heartbeat.outbox", "heartbeat.network", "heartbeat.scheduler",
        "heartbeat.accounts",
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


def account(name: str, following: str | None = None, current: str = "red") -> dict[str, AccountConfig]:
    later = Credentials("synthetic", SecretStr(following)) if following else None
    return {name: AccountConfig(name, Credentials("synthetic", SecretStr(current)), later)}


async def refuse(accounts: Accounts, *names: str) -> None:
    for name in names:
        async with accounts.lease(name, 0.0) as leased:
            if await leased.refuse():
                leased.accept()


async def test_credentials_that_are_refused_while_the_next_ones_work_warn_and_do_not_fail(ward: Ward) -> None:
    check, accounts = ward.checks["heartbeat.accounts"], ward.accounts
    accounts.adopt(account("shopper", "green") | account("editor", "blue"))
    live = ward.on.enlist(check)
    await run_slot(ward.on.line, live, 0.0)
    assert live.verdict
    assert live.verdict.severity is Severity.OK
    await refuse(accounts, "shopper", "editor")
    await run_slot(ward.on.line, live, 10.0)
    assert (live.verdict.severity, live.up) == (Severity.WARN, True)
    assert live.verdict.sentence == (
        "account editor: its password is refused since Fri 15 Jan 2027 08:00:00 UTC; the one under next works: "
        "put it in its place (and 1 more)"
    )
    assert live.result
    listed = [line.partition(":")[0] for line in live.result.evidence["accounts"].splitlines()]
    assert listed == ["account editor", "account shopper"]
    accounts.adopt(account("shopper", current="green") | account("editor", current="blue"))
    await run_slot(ward.on.line, live, 20.0)
    assert live.verdict.severity is Severity.OK


async def test_an_account_of_which_all_is_refused_is_an_error_before_all_warnings(ward: Ward) -> None:
    ward.accounts.adopt(account("shopper") | account("editor", "blue"))
    await refuse(ward.accounts, "shopper", "editor")
    with pytest.raises(CheckBroken, match=r"account shopper: it is refused since .* \(and 1 more\)") as caught:
        await ward.checks["heartbeat.accounts"].check.run(Probe())
    assert caught.value.reason == "account"


async def test_what_is_known_of_accounts_is_remembered_without_their_values(ward: Ward) -> None:
    memory = Memory()
    ward.accounts.adopt(account("shopper", "hunter2-next"))
    await refuse(ward.accounts, "shopper")
    probe = Probe()
    probe._memory = memory
    await ward.checks["heartbeat.accounts"].check.run(probe)
    again = Accounts(ward.on.line.clock.now)
    again.adopt(account("shopper", "hunter2-next"))
    await again.recall(memory[KNOWN])
    assert again.troubles() == ward.accounts.troubles() != []
    assert "hunter2" not in str(memory)

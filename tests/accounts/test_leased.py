from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pydantic import SecretStr

from heartbeat.accounts import Accounts
from heartbeat.backing import Backing
from heartbeat.check import Check, CheckBroken, CheckFailed
from heartbeat.config.credentials import AccountConfig, Credentials
from heartbeat.core.model import Run
from heartbeat.lag import LagMeter
from heartbeat.pool import Pool
from heartbeat.probe import Probe
from heartbeat.runner import Workshop, run_check


@pytest.fixture
def accounts() -> Accounts:
    accounts = Accounts(lambda: 0.0)
    accounts.adopt({"shopper": AccountConfig("shopper", Credentials("synthetic", SecretStr("hunter2")))})
    return accounts


async def test_a_probe_leases_it_for_the_time_that_is_left(accounts: Accounts) -> None:
    probe = Probe(timeout=5.0, backing=Backing(lease=accounts.lease))
    async with probe.account("shopper") as account:
        assert (account["user"], account["password"]) == ("synthetic", "hunter2")
        late = Probe(timeout=0.0, backing=Backing(lease=accounts.lease))
        with pytest.raises(CheckBroken, match="not free"):
            async with late.account("shopper"):
                pass


async def test_what_it_hands_out_is_kept_out_of_what_is_told_of_the_run() -> None:
    accounts = Accounts(lambda: 0.0)
    totp = SecretStr("JBSWY3DPEHPK3PXP")
    accounts.adopt({"shopper": AccountConfig("shopper", Credentials("synthetic", SecretStr("hunter2"), totp=totp))})

    class Careless(Check):
        async def run(self, probe: Probe) -> None:
            async with probe.account("shopper") as account:
                said = f"{account['user']} {account['password']} {account['totp']}"
            probe.note("said", said)
            raise CheckFailed(f"refused: {said}", reason="auth")

    workshop = Workshop(Pool(), LagMeter(), str, Backing(lease=accounts.lease))
    result = (await run_check(Careless(), Run("run_1", "shop", 0.0, 0, 0.0, 5.0), workshop)).result
    hidden = "synthetic <redacted:accounts.shopper.password> <redacted:accounts.shopper.totp>"
    assert (result.sentence, result.evidence["said"]) == (f"refused: {hidden}", hidden)


async def test_an_account_is_kept_until_nothing_of_the_run_goes_on(accounts: Accounts) -> None:
    probe = Probe(timeout=5.0, backing=Backing(lease=accounts.lease))
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with probe.account("shopper"):
        probe.keep_busy(over)
    assert next(accounts.uses()).is_taken
    over.set_result(None)
    await asyncio.wait(probe.lingering)
    assert not next(accounts.uses()).is_taken


async def test_it_shows_no_value_of_its_own_accord(accounts: Accounts) -> None:
    async with accounts.lease("shopper", 1.0) as account:
        assert f"{account} {account!r} {[account]}" == "<account shopper> <account shopper> [<account shopper>]"
        with pytest.raises(TypeError):
            json.dumps(account)
        with pytest.raises(TypeError):
            vars(account)


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        ("token", "the account shopper has no token: add it under accounts:"),
        ("totp", "the account shopper has no totp: add it under accounts:"),
        ("pin", "an account has user, password, token, totp, but no 'pin'"),
    ],
)
async def test_a_field_that_is_not_there_is_a_mistake_of_the_configuration(
    accounts: Accounts, field: str, sentence: str
) -> None:
    async with accounts.lease("shopper", 1.0) as account:
        with pytest.raises(CheckBroken) as caught:
            account[field]
        await account.fresh()  # there is nothing to wait for
    assert (caught.value.sentence, caught.value.reason) == (sentence, "config")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("shoper", "; did you mean shopper?"), ("admin", ": name it under accounts: in the configuration")],
)
async def test_an_account_that_is_not_there_is_a_mistake_of_the_configuration(
    accounts: Accounts, name: str, hint: str
) -> None:
    with pytest.raises(CheckBroken) as caught:
        async with accounts.lease(name, 1.0):
            pass
    assert (caught.value.sentence, caught.value.reason) == (f"there is no account {name!r}{hint}", "config")


async def test_what_was_given_back_is_of_no_use_any_more(accounts: Accounts) -> None:
    async with accounts.lease("shopper", 1.0) as account:
        pass
    with pytest.raises(CheckBroken, match="was given back already: lease it again"):
        account["password"]
    assert not await account.refuse()


async def test_it_is_given_back_whatever_the_run_raises(accounts: Accounts) -> None:
    for error in (ValueError, KeyboardInterrupt, GeneratorExit):
        with pytest.raises(error):
            await _raise_within(accounts, error)
    assert not next(accounts.uses()).is_taken


async def _raise_within(accounts: Accounts, error: type[BaseException]) -> Any:
    async with accounts.lease("shopper", 1.0):
        raise error

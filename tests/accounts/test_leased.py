from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr

from heartbeat.accounts import Accounts
from heartbeat.backing import Backing
from heartbeat.check import CheckBroken
from heartbeat.config.credentials import AccountConfig, Credentials
from heartbeat.probe import Probe


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

"""One-time codes: those of RFC 6238, each handed out once."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from heartbeat.accounts import Accounts
from heartbeat.accounts.codes import Codes, code_of
from heartbeat.check import CheckBroken
from heartbeat.config.credentials import AccountConfig, Credentials

Play = Callable[[Coroutine[Any, Any, Any]], Any]
SECRET = SecretStr("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")  # the one of the RFC: "12345678901234567890"
NOON = 1_800_000_000.0  # a multiple of 30


def enrolled(now: Callable[[], float], **more: Any) -> Accounts:
    accounts = Accounts(now)
    accounts.adopt(
        {"shopper": AccountConfig("shopper", Credentials("synthetic", SecretStr("red"), totp=SECRET), **more)}
    )
    return accounts


def on_loop() -> Accounts:
    loop = asyncio.get_running_loop()
    return enrolled(lambda: NOON + loop.time())


@pytest.mark.parametrize(
    ("at", "code"), [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")]
)
def test_the_codes_are_those_of_the_rfc(at: float, code: str) -> None:
    assert Codes().draw(SECRET, at) == code  # appendix B: the last six of its eight digits


def test_a_short_secret_as_most_services_hand_it_out_will_do() -> None:
    assert Codes().draw(SecretStr("JBSWY3DPEHPK3PXP"), NOON) == "309848"  # 80 bits, where the RFC asks for 128


@pytest.fixture
def berlin() -> Any:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Berlin"
    time.tzset()
    yield
    os.environ.pop("TZ")
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


def test_the_hour_that_comes_twice_in_autumn_has_its_own_codes(berlin: None) -> None:
    end = 1_792_893_600.0  # Sun 25 Oct 2026 03:00 in Berlin, when it becomes 02:00 again
    codes = {Codes().draw(SECRET, end + seconds) for seconds in (-1800, 1800)}
    assert len(codes) == 2


@given(moves=st.lists(st.floats(-200, 200) | st.just(0.0) | st.just(30.0), max_size=60))
def test_no_code_is_handed_out_twice_also_where_the_clock_is_set_back(moves: list[float]) -> None:
    codes, now, drawn = Codes(), NOON, list[str]()
    for move in moves:
        now += move
        wait = codes.wait(SECRET, now)
        assert 0 <= wait <= 30
        code = codes.draw(SECRET, now)
        assert (code is None) == (wait > 0)
        drawn += [code] if code else []
    # Codes of six digits may be the same by chance, so they are counted by their time, too.
    assert len(drawn) == len(codes._used) == len(set(codes._used))


ATTEMPTS = st.lists(st.tuples(st.sampled_from(["shop", "blog"]), st.integers(0, 70), st.booleans()), max_size=8)


@given(attempts=ATTEMPTS)
def test_runs_that_share_an_account_never_send_the_same_code(play: Play, attempts: list[tuple[str, int, bool]]) -> None:
    async def story() -> None:
        loop, accounts, sent = asyncio.get_running_loop(), on_loop(), list[tuple[str, int]]()

        async def run(at: int, twice: bool) -> None:
            await asyncio.sleep(at)
            async with accounts.lease("shopper", 1000.0) as account:
                for _ in range(2 if twice else 1):
                    await account.fresh()
                    sent.append((account["totp"], int((NOON + loop.time()) // 30)))
                    await asyncio.sleep(1)

        runs = [asyncio.create_task(run(at, twice), name=f"line {name}") for name, at, twice in attempts]
        await asyncio.gather(*runs)
        assert len({counter for _, counter in sent}) == len(sent) == sum(1 + twice for *_, twice in attempts)
        for code, counter in sent:
            assert code == code_of(SECRET.get_secret_value(), counter)

    play(story())


def test_a_check_that_asked_for_a_code_before_waits_for_the_next_one_without_being_told_to(play: Play) -> None:
    async def story() -> list[float]:
        loop, accounts, at = asyncio.get_running_loop(), on_loop(), list[float]()
        for _ in range(3):
            async with accounts.lease("shopper", 40.0) as account:
                assert len(account["totp"]) == 6
                at.append(loop.time())
            await asyncio.sleep(5)
        return at

    assert play(story()) == pytest.approx([0.0, 30.0, 60.0])


def test_a_check_that_needs_no_code_does_not_wait_for_one(play: Play) -> None:
    async def story() -> float:
        accounts = on_loop()

        async def run(*fields: str) -> None:
            async with accounts.lease("shopper", 1.0) as account:
                assert all(account[field] for field in fields)

        await asyncio.create_task(run("totp"), name="line one")
        await asyncio.create_task(run("password"), name="line two")
        return asyncio.get_running_loop().time()

    assert play(story()) == 0.0


def test_a_second_code_within_its_time_is_refused_and_can_be_waited_for(play: Play) -> None:
    async def story() -> None:
        async with on_loop().lease("shopper", 40.0) as account:
            first = account["totp"]
            with pytest.raises(CheckBroken, match=r"was used already: `await account.fresh\(\)`") as caught:
                account["totp"]
            assert caught.value.reason == "account"
            await account.fresh()
            assert account["totp"] != first

    play(story())


def test_a_run_that_ends_before_the_next_code_is_told_so_at_once(play: Play) -> None:
    async def story() -> float:
        accounts = on_loop()
        async with accounts.lease("shopper", 10.0) as account:
            assert account["totp"]
        with pytest.raises(CheckBroken, match="comes after the end of this run: give it a longer timeout") as caught:
            async with accounts.lease("shopper", 10.0):
                pass
        assert caught.value.reason == "account"
        assert not next(accounts.uses()).is_taken
        return asyncio.get_running_loop().time()

    assert play(story()) == 0.0


def test_after_a_refusal_there_is_a_new_code_or_no_other_try(play: Play) -> None:
    later = Credentials("synthetic", SecretStr("green"), totp=SECRET)

    async def story(within: float) -> bool:
        loop = asyncio.get_running_loop()
        accounts = enrolled(lambda: NOON + loop.time(), following=later)
        async with accounts.lease("shopper", within) as account:
            first = account["totp"]
            can_go_on = await account.refuse()
            assert not can_go_on or (account["password"] == "green" and account["totp"] != first)
            return can_go_on

    assert play(story(40.0))
    assert not play(story(20.0))


async def test_where_codes_are_refused_our_clock_is_among_the_suspects() -> None:
    accounts = enrolled(lambda: NOON)
    async with accounts.lease("shopper", 1.0) as account:
        assert not await account.refuse()
    (trouble,) = accounts.troubles()
    assert trouble.is_lost
    assert trouble.sentence.endswith(
        "it may be locked, or have other credentials now, or the clock of this machine is wrong"
    )


@pytest.mark.parametrize(("later", "waits"), [(5.0, 25.0), (30.0, 0.0), (-10.0, 0.0)])
async def test_a_code_that_was_used_before_a_restart_is_not_used_again(later: float, waits: float) -> None:
    before = enrolled(lambda: NOON)
    async with before.lease("shopper", 1.0) as account:
        assert account["totp"]
    written = json.loads(json.dumps(await before.write()))
    after = enrolled(lambda: NOON + later)
    await after.recall(written)
    assert next(iter(after._desks.values())).codes.wait(SECRET, NOON + later) == waits


async def test_of_codes_only_the_time_of_a_recent_one_is_kept() -> None:
    now = NOON
    accounts = enrolled(lambda: now)
    async with accounts.lease("shopper", 1.0) as account:
        assert account["totp"]
    assert await accounts.write() == {"shopper": {"code": int(NOON // 30)}}
    now += 30
    assert await accounts.write() == {}


async def test_what_was_kept_of_codes_and_cannot_be_read_is_as_if_nothing_were_known() -> None:
    accounts = enrolled(lambda: NOON)
    await accounts.recall({"shopper": {"code": "never"}})
    async with accounts.lease("shopper", 1.0) as account:
        assert account["totp"]

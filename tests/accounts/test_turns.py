"""Who has an account when: over schedules that Hypothesis makes up, with cancellations and reloads anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from heartbeat.accounts import Accounts
from heartbeat.accounts.turns import Turns
from heartbeat.backing import Backing
from heartbeat.check import Check, CheckBroken
from heartbeat.config.credentials import AccountConfig, Credentials
from heartbeat.core.model import Run
from heartbeat.lag import LagMeter
from heartbeat.pool import Pool
from heartbeat.probe import Probe
from heartbeat.redaction import Redactor
from heartbeat.runner import Workshop, run_check

Play = Callable[[Coroutine[Any, Any, Any]], Any]
NAME = "shopper"
TIMES = st.integers(0, 12)
TINY = 1e-6


def configured(password: str = "first", **more: Any) -> dict[str, AccountConfig]:
    return {NAME: AccountConfig(NAME, Credentials("synthetic", SecretStr(password), **more))}


@dataclass(frozen=True)
class Plan:
    """One run: when it asks, how long it waits at most, how long it keeps the account, when it is cancelled."""

    asks: float
    within: float
    keeps: float
    cancelled: float | None


@dataclass
class Diary:
    """What became of it."""

    plan: Plan
    granted: float | None = None
    returned: float | None = None
    gave_up: float | None = None


@dataclass
class Story:
    diaries: list[Diary]
    asked: list[int] = field(default_factory=list)
    granted: list[int] = field(default_factory=list)
    holders: set[int] = field(default_factory=set)
    most: int = 0


PLANS = st.lists(
    st.builds(Plan, asks=TIMES, within=TIMES, keeps=TIMES, cancelled=st.none() | TIMES), min_size=1, max_size=8
)
RELOADS = st.lists(st.tuples(TIMES, st.sampled_from(["same", "other", "gone"])), max_size=4)


async def run_one(accounts: Accounts, story: Story, number: int) -> None:
    loop, diary = asyncio.get_running_loop(), story.diaries[number]
    await asyncio.sleep(diary.plan.asks)
    story.asked.append(number)
    try:
        async with accounts.lease(NAME, diary.plan.within) as account:
            diary.granted, password = loop.time(), account["password"]
            story.granted.append(number)
            story.holders.add(number)
            story.most = max(story.most, len(story.holders))
            try:
                await asyncio.sleep(diary.plan.keeps)
                assert account["password"] == password
            finally:
                story.holders.discard(number)
                diary.returned = loop.time()
    except CheckBroken:
        diary.gave_up = loop.time()


async def play_out(plans: list[Plan], reloads: list[tuple[int, str]]) -> tuple[Story, Accounts]:
    loop = asyncio.get_running_loop()
    accounts, story = Accounts(loop.time), Story([Diary(plan) for plan in plans])
    accounts.adopt(configured())
    tasks = [
        asyncio.create_task(run_one(accounts, story, number), name=f"line {number}") for number in range(len(plans))
    ]
    for plan, task in zip(plans, tasks, strict=True):
        if plan.cancelled is not None:
            loop.call_at(plan.cancelled, task.cancel)
    for at, what in reloads:
        news = {"same": configured(), "other": configured(f"changed at {at}"), "gone": {}}[what]
        loop.call_at(at, accounts.adopt, news)
    with suppress(TimeoutError):
        async with asyncio.timeout(1000):
            await asyncio.gather(*tasks, return_exceptions=True)
    assert all(task.done() for task in tasks)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()):
            raise error
    accounts.adopt(configured())
    return story, accounts


def untied(plan: Plan, number: int) -> Plan:
    """Return a plan of which nothing happens at the same moment as with another: timers of a moment have no order."""
    cancelled = None if plan.cancelled is None else plan.cancelled + number / 103
    return Plan(plan.asks + number / 89, plan.within + number / 97, plan.keeps + number / 101, cancelled)


def outline(story: Story) -> list[list[float | None]]:
    times = [(one.granted, one.returned, one.gave_up) for one in story.diaries]
    return [[None if time is None else round(time, 6) for time in three] for three in times]


def is_free(accounts: Accounts) -> bool:
    return [(use.is_taken, use.waiting) for use in accounts.uses()] == [(False, 0)]


@given(plans=PLANS, reloads=RELOADS)
def test_two_runs_never_have_an_account_at_once_and_it_is_free_in_the_end(
    play: Play, plans: list[Plan], reloads: list[tuple[int, str]]
) -> None:
    story, accounts = play(play_out(plans, reloads))
    assert story.most <= 1
    assert is_free(accounts)


@given(plans=PLANS, reloads=RELOADS)
def test_who_asks_first_gets_it_first(play: Play, plans: list[Plan], reloads: list[tuple[int, str]]) -> None:
    story, _ = play(play_out(plans, reloads))
    assert story.granted == [number for number in story.asked if number in story.granted]


@given(plans=PLANS, reloads=RELOADS)
def test_nobody_waits_longer_than_he_wanted_to(play: Play, plans: list[Plan], reloads: list[tuple[int, str]]) -> None:
    story, _ = play(play_out(plans, reloads))
    for diary in story.diaries:
        until = diary.granted if diary.granted is not None else diary.gave_up
        assert until is None or until <= diary.plan.asks + diary.plan.within + TINY


@given(plans=PLANS)
def test_nobody_waits_for_an_account_that_is_free(play: Play, plans: list[Plan]) -> None:
    story, _ = play(play_out(plans, []))
    spans = sorted((one.granted, one.returned) for one in story.diaries if one.granted is not None)
    for diary in story.diaries:
        until = diary.granted if diary.granted is not None else diary.gave_up
        if until is None:
            continue
        reached = float(diary.plan.asks)  # what is kept without a gap from then on
        for granted, returned in spans:
            if granted <= reached + TINY and granted < until:
                reached = max(reached, returned or 0.0)
        assert reached >= until - TINY


@given(plans=PLANS, reloads=st.lists(st.tuples(TIMES, st.sampled_from(["same", "other"])), max_size=4))
def test_a_reload_changes_nothing_for_those_who_have_it_or_wait(
    play: Play, plans: list[Plan], reloads: list[tuple[int, str]]
) -> None:
    plans = [untied(plan, number) for number, plan in enumerate(plans, 1)]
    alone, _ = play(play_out(plans, []))
    with_reloads, _ = play(play_out(plans, reloads))
    assert outline(with_reloads) == outline(alone)


async def test_who_waits_in_vain_is_told_who_has_it_and_since_when(play: Play) -> None:
    accounts = Accounts(lambda: 1_800_000_000.0)
    accounts.adopt(configured())

    async def keep() -> None:
        async with accounts.lease(NAME, 1.0):
            await asyncio.sleep(60)

    keeper = asyncio.create_task(keep(), name="line shop-order")
    await asyncio.sleep(0)
    with pytest.raises(CheckBroken, match=r"was not free within 0 ms: shop-order has had it since .* 2027") as caught:
        async with accounts.lease(NAME, 0.0):
            pass
    assert caught.value.reason == "account"
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)
    assert is_free(accounts)


async def test_a_run_that_waits_in_vain_blames_the_account_and_not_the_target() -> None:
    class Login(Check):
        async def run(self, probe: Probe) -> None:
            async with probe.account(NAME):
                pass

    accounts, lag = Accounts(lambda: 1_800_000_000.0), LagMeter()
    accounts.adopt(configured())
    lag.start()
    try:
        workshop = Workshop(Pool(), lag, Redactor(), Backing(lease=accounts.lease))
        async with accounts.lease(NAME, 1.0):
            finished = await run_check(Login(), Run("run_test", "test", 0.0, 0, 0.0, 0.3), workshop)
    finally:
        lag.stop()
    assert (finished.result.outcome, finished.result.reason) == ("error", "account"), finished.result.sentence
    assert "the account shopper was not free within 150 ms" in finished.result.sentence


async def test_it_is_not_lost_where_it_is_handed_to_somebody_who_is_cancelled_in_that_moment() -> None:
    accounts, asked = Accounts(lambda: 0.0), asyncio.Event()
    accounts.adopt(configured())

    async def ask() -> str:
        asked.set()
        async with accounts.lease(NAME, 5.0) as account:
            return account["password"]

    async with accounts.lease(NAME, 5.0):
        second, third = asyncio.create_task(ask()), asyncio.create_task(ask())
        await asked.wait()
        await asyncio.sleep(0)
    second.cancel()  # it has been handed on, and the second does not know yet
    assert await third == "first"
    assert second.cancelled()
    assert is_free(accounts)


def test_who_gets_it_in_the_moment_in_which_his_time_is_up_has_it(play: Play) -> None:
    async def story() -> None:
        loop, turns = asyncio.get_running_loop(), Turns()
        await turns.take("one", 0.0, loop.time)
        loop.call_at(5.0, turns.give_back, loop.time)
        await turns.take("two", 5.0, loop.time)
        assert turns.is_taken
        turns.give_back(loop.time)
        assert turns.is_idle

    play(story())


async def test_an_account_that_left_the_configuration_is_kept_by_who_has_it_and_given_to_nobody_else() -> None:
    accounts = Accounts(lambda: 0.0)
    accounts.adopt(configured())

    async def ask() -> str:
        async with accounts.lease(NAME, 5.0) as account:
            return account["password"]

    async with accounts.lease(NAME, 5.0) as account:
        waiting = asyncio.create_task(ask())
        await asyncio.sleep(0)
        accounts.adopt({})
        assert account["password"] == "first"
        with pytest.raises(CheckBroken, match="no account 'shopper'"):
            await ask()
    with pytest.raises(CheckBroken, match="no account 'shopper'"):
        await waiting
    assert list(accounts.uses()) == []


async def test_one_that_came_back_while_somebody_has_it_is_still_his() -> None:
    accounts = Accounts(lambda: 0.0)
    accounts.adopt(configured())
    async with accounts.lease(NAME, 5.0):
        accounts.adopt({})
        accounts.adopt(configured("second"))
        with pytest.raises(CheckBroken, match="not free"):
            async with accounts.lease(NAME, 0.0):
                pass
    async with accounts.lease(NAME, 0.0) as account:
        assert account["password"] == "second"


async def test_accounts_do_not_wait_for_one_another() -> None:
    accounts = Accounts(lambda: 0.0)
    accounts.adopt(configured() | {"admin": AccountConfig("admin", Credentials("root"))})
    async with accounts.lease("admin", 0.0) as one, accounts.lease(NAME, 0.0) as other:
        assert (one["user"], other["user"]) == ("root", "synthetic")

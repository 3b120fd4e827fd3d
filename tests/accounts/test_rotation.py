"""Credentials that are refused and replaced: scenarios that Hypothesis makes up, held against a model by value."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from heartbeat.accounts import Accounts, knowledge
from heartbeat.config.credentials import AccountConfig, Credentials

Play = Callable[[Coroutine[Any, Any, Any]], Any]
NAME = "shopper"
PASSWORDS = ("red", "green", "blue", "pink")


def account(password: str, following: str | None = None) -> dict[str, AccountConfig]:
    later = Credentials("synthetic", SecretStr(following)) if following else None
    return {NAME: AccountConfig(NAME, Credentials("synthetic", SecretStr(password)), later)}


@dataclass
class Shop:
    """A target that takes some passwords, and a run that logs in there as the contract says."""

    accounts: Accounts
    takes: set[str] = field(default_factory=lambda: {"red"})
    tried: list[str] = field(default_factory=list)
    watch: Callable[[str, bool], object] = lambda _password, _is_taken: None

    async def log_in(self) -> bool:
        self.tried = []
        async with self.accounts.lease(NAME, 10.0) as account:
            while True:
                password = account["password"]
                self.tried.append(password)
                self.watch(password, password in self.takes)
                if password in self.takes:
                    account.accept()
                    return True
                if not await account.refuse():
                    return False

    def says(self) -> str:
        return "; ".join(trouble.sentence for trouble in self.accounts.troubles())


def open_shop(password: str = "red", following: str | None = None) -> Shop:
    accounts = Accounts(lambda: 1_800_000_000.0)
    accounts.adopt(account(password, following))
    return Shop(accounts)


def replacing(accounts: Accounts, news: Iterator[dict[str, AccountConfig]]) -> Callable[[], Awaitable[bool]]:
    """Return what finds other files when it is asked to look."""

    async def reread() -> bool:
        found = next(news, None)
        if found is not None:
            accounts.adopt(found)
        return found is not None

    return reread


# --- one scenario after the other -------------------------------------------------------------------------------------


async def test_it_begins_with_the_current_one() -> None:
    shop = open_shop("red", "green")
    assert await shop.log_in()
    assert shop.tried == ["red"]
    assert shop.says() == ""


async def test_the_next_one_is_tried_where_the_current_one_is_refused_and_that_warns() -> None:
    shop = open_shop("red", "green")
    shop.takes = {"green"}
    assert await shop.log_in()
    assert shop.tried == ["red", "green"]
    assert shop.says() == (
        "account shopper: its password is refused since Fri 15 Jan 2027 08:00:00 UTC; "
        "the one under next works: put it in its place"
    )
    assert not shop.accounts.troubles()[0].is_lost


async def test_the_one_that_worked_last_comes_first_so_that_there_are_no_needless_logins() -> None:
    shop = open_shop("red", "green")
    shop.takes = {"green"}
    await shop.log_in()
    assert await shop.log_in()
    assert shop.tried == ["green"]


async def test_the_warning_is_over_when_the_next_one_was_put_in_its_place() -> None:
    shop = open_shop("red", "green")
    shop.takes = {"green"}
    await shop.log_in()
    shop.accounts.adopt(account("green", "green"))
    assert shop.says() == ""
    shop.accounts.adopt(account("green"))
    assert shop.says() == ""
    assert await shop.log_in()
    assert shop.tried == ["green"]


async def test_credentials_that_were_replaced_are_found_at_the_refusal() -> None:
    shop = open_shop("red")
    shop.takes = {"blue"}
    shop.accounts.around.reread = replacing(shop.accounts, iter([account("blue")]))
    assert await shop.log_in()
    assert shop.tried == ["red", "blue"]
    assert shop.says() == ""


async def test_new_values_in_the_same_place_come_before_those_under_next() -> None:
    shop = open_shop("red", "green")
    shop.takes = {"green"}
    shop.accounts.around.reread = replacing(shop.accounts, iter([account("blue", "green")]))
    assert await shop.log_in()
    assert shop.tried == ["red", "blue", "green"]


async def test_an_account_without_another_password_is_lost_when_it_is_refused() -> None:
    shop = open_shop("red")
    shop.takes = set()
    assert not await shop.log_in()
    assert shop.tried == ["red"]
    assert shop.says() == (
        "account shopper: it is refused since Fri 15 Jan 2027 08:00:00 UTC: "
        "it may be locked, or have other credentials now"
    )
    assert shop.accounts.troubles()[0].is_lost


async def test_where_both_are_refused_runs_take_turns_with_one_login_each() -> None:
    shop = open_shop("red", "green")
    shop.takes = set()
    tried = []
    for _ in range(4):
        assert not await shop.log_in()
        tried.append(shop.tried)
    assert tried == [["red", "green"], ["red"], ["green"], ["red"]]
    assert "with what stands under next, too: it may be locked" in shop.says()
    shop.takes = {"red"}
    assert [await shop.log_in() for _ in range(3)] == [False, True, True]


async def test_a_next_one_that_does_not_work_yet_warns_where_it_had_to_be_tried() -> None:
    shop = open_shop("red", "green")
    shop.takes = set()
    await shop.log_in()
    shop.takes = {"red"}
    assert await shop.log_in()
    assert shop.says() == ("account shopper: the password under next is refused since Fri 15 Jan 2027 08:00:00 UTC")


async def test_what_is_said_of_a_current_one_whose_successor_was_never_tried() -> None:
    shop = open_shop("red", "green")
    async with shop.accounts.lease(NAME, 0.0) as account:
        assert await account.refuse()
    assert "the one under next was not tried yet" in shop.says()


async def test_several_fields_that_differ_are_a_login() -> None:
    accounts = Accounts(lambda: 0.0)
    current, later = Credentials("old", SecretStr("red")), Credentials("new", SecretStr("green"))
    accounts.adopt({NAME: AccountConfig(NAME, current, later)})
    async with accounts.lease(NAME, 0.0) as account:
        assert await account.refuse()
        assert (account["user"], account["password"]) == ("new", "green")
        account.accept()
    assert "its login is refused since" in accounts.troubles()[0].sentence


async def test_what_was_replaced_while_a_run_used_it_says_nothing_of_what_is_there_now() -> None:
    shop = open_shop("red")
    async with shop.accounts.lease(NAME, 0.0) as leased:
        shop.accounts.adopt(account("blue"))
        assert leased["password"] == "red"
        assert await leased.refuse()
        assert leased["password"] == "blue"
    assert shop.says() == ""


async def test_a_run_does_not_try_for_ever_what_is_replaced_again_and_again() -> None:
    shop = open_shop("red")
    shop.takes = set()
    news = (account(f"password {number}") for number in range(100))
    shop.accounts.around.reread = replacing(shop.accounts, news)
    assert not await shop.log_in()
    assert len(shop.tried) == 4


def test_a_look_that_does_not_come_back_leaves_half_of_the_time_to_the_next_one(play: Play) -> None:
    async def story() -> None:
        shop = open_shop("red", "green")
        shop.takes = {"green"}
        shop.accounts.around.reread = asyncio.Event().wait
        assert await shop.log_in()
        assert asyncio.get_running_loop().time() == pytest.approx(5.0)

    play(story())


async def test_a_run_that_is_cancelled_while_it_looks_gives_the_account_back() -> None:
    shop, looking = open_shop("red"), asyncio.Event()
    shop.takes = set()

    async def look() -> None:
        looking.set()
        await asyncio.Event().wait()

    shop.accounts.around.reread = look
    run = asyncio.create_task(shop.log_in())
    await looking.wait()
    run.cancel()
    with suppress(asyncio.CancelledError):
        await run
    assert not next(shop.accounts.uses()).is_taken


async def test_it_is_told_after_the_run_or_reload_that_changed_it_and_only_then() -> None:
    shop, told = open_shop("red", "green"), list[str]()
    shop.accounts.around.changed = lambda: told.append(shop.says().partition("; ")[2])
    await shop.log_in()
    assert told == []
    shop.takes = {"green"}
    await shop.log_in()
    await shop.log_in()
    assert told == ["the one under next works: put it in its place"]
    shop.accounts.adopt(account("red", "green"))
    assert len(told) == 1
    shop.accounts.adopt(account("green"))
    assert told[1:] == [""]


async def test_the_metrics_show_which_slot_is_refused_and_who_waits() -> None:
    shop = open_shop("red", "green")
    shop.takes = {"green"}
    await shop.log_in()
    [use] = shop.accounts.uses()
    assert (use.account, use.is_taken, use.waiting, use.refused) == (NAME, False, 0, {"current": True, "next": False})


# --- over restarts ----------------------------------------------------------------------------------------------------


async def restart(shop: Shop, config: dict[str, AccountConfig]) -> Shop:
    written = await shop.accounts.write()
    accounts = Accounts(lambda: 1_800_000_099.0)
    accounts.adopt(config)
    await accounts.recall(written)
    return Shop(accounts, shop.takes)


async def test_the_warning_outlives_a_restart_and_so_does_what_comes_first() -> None:
    shop = open_shop("red", "green")
    shop.takes = {"green"}
    await shop.log_in()
    said = shop.says()
    shop = await restart(shop, account("red", "green"))
    assert shop.says() == said != ""
    assert await shop.log_in()
    assert shop.tried == ["green"]


async def test_what_was_put_in_its_place_while_we_were_down_warns_no_more() -> None:
    shop = open_shop("red", "green")
    shop.takes = {"green"}
    await shop.log_in()
    shop = await restart(shop, account("green"))
    assert shop.says() == ""


async def test_of_accounts_that_are_well_nothing_is_kept_and_of_others_no_value() -> None:
    shop = open_shop("red", "green")
    await shop.log_in()
    assert await shop.accounts.write() == {}
    shop.takes = {"green"}
    await shop.log_in()
    written = await shop.accounts.write()
    assert written.keys() == {NAME}
    assert not any(f"'{word}'" in str(written) or "green" in str(written) for word in ("red", "green", "synthetic"))


@pytest.mark.parametrize(
    "written",
    [[], {}, {"begin": "never"}, {"begin": "current", "current": {"mark": "no hex"}}, {"begin": "next", "next": []}],
)
async def test_what_cannot_be_read_is_as_if_nothing_were_known(written: Any) -> None:
    shop = open_shop("red", "green")
    await shop.accounts.recall({NAME: written})
    assert await shop.log_in()
    assert shop.tried == ["red"]


# --- against a model --------------------------------------------------------------------------------------------------

SLOTS = st.tuples(st.sampled_from(PASSWORDS), st.none() | st.sampled_from(PASSWORDS))
OPERATIONS = st.one_of(
    st.tuples(st.just("takes"), st.sets(st.sampled_from(PASSWORDS))),
    st.tuples(st.just("configured"), SLOTS),
    st.tuples(st.just("on disk"), SLOTS),
    st.tuples(st.just("restart"), SLOTS),
    st.tuples(st.just("run"), st.none()),
    st.tuples(st.just("run"), st.none()),
)


class Model:
    """What anybody would expect, by the passwords' values."""

    def __init__(self) -> None:
        self.slots: set[str | None] = {"red"}
        self.current = "red"
        self.refused: set[str] = set()

    def configure(self, current: str, following: str | None) -> None:
        self.current, self.slots = current, {current, following} - {None}
        self.refused = {word for word in self.refused if word in self.slots}

    def watch(self, password: str, is_taken: bool) -> None:
        if password in self.slots:
            self.refused = self.refused - {password} if is_taken else self.refused | {password}

    def trouble(self) -> list[bool]:
        return [self.slots == self.refused] if self.refused else []


@given(operations=st.lists(OPERATIONS, max_size=20))
def test_any_course_of_rotations_goes_as_anybody_would_expect(play: Play, operations: list[tuple[str, Any]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(knowledge, "COST", 2)
        patch.setattr(asyncio, "to_thread", _at_once)  # the loop of these tests hears of no thread
        play(_follow(operations))


async def _at_once(work: Callable[..., Any], *arguments: Any) -> Any:
    return work(*arguments)


async def _follow(operations: list[tuple[str, Any]]) -> None:
    shop, model, on_disk, before = open_shop("red"), Model(), list[tuple[str, str | None]](), ""
    shop.watch = model.watch

    async def reread() -> bool:
        is_new = bool(on_disk)
        if is_new:
            shop.accounts.adopt(account(*on_disk[0]))
            model.configure(*on_disk.pop())
        return is_new

    shop.accounts.around.reread = reread
    for what, value in operations:
        if what == "takes":
            shop.takes = value
        elif what == "on disk":
            on_disk[:] = [value]
        elif what == "configured":
            shop.accounts.adopt(account(*value))
            model.configure(*value)
        elif what == "restart":
            shop = await restart(shop, account(*value))
            shop.watch, shop.accounts.around.reread = model.watch, reread
            model.configure(*value)
        elif on_disk:
            await _run_while_files_change(shop, model)
        else:
            await _run(shop, model, is_second=before == "run")
        assert [trouble.is_lost for trouble in shop.accounts.troubles()] == model.trouble()
        before = what


async def _run(shop: Shop, model: Model, *, is_second: bool) -> None:
    is_hopeless, can_work = model.slots == model.refused, bool(shop.takes & model.slots)
    worked = await shop.log_in()
    assert len(shop.tried) <= (1 if is_hopeless else len(model.slots))
    assert len(set(shop.tried)) == len(shop.tried)
    if is_second or not is_hopeless:
        assert worked == can_work
    if is_second and worked:
        assert len(shop.tried) == 1


async def _run_while_files_change(shop: Shop, model: Model) -> None:
    refused = set(model.refused)
    worked = await shop.log_in()
    assert len(set(shop.tried)) == len(shop.tried)
    if shop.takes & model.slots - refused:
        assert worked
    assert worked == (shop.tried[-1] in shop.takes)

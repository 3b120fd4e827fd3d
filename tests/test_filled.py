from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from heartbeat import Check, CheckBroken, CheckFailed, Part, Probe, late
from heartbeat.accounts import Accounts
from heartbeat.backing import Account, Backing, Conceal, tell_nobody
from heartbeat.config.credentials import AccountConfig, Credentials
from heartbeat.core.model import Outcome, Reason, Result, Run
from heartbeat.filled import Filled, accounts_of, late_texts
from heartbeat.lag import LagMeter
from heartbeat.pool import Pool
from heartbeat.runner import CURRENT, Workshop, run_check
from heartbeat.steps import Reading

SEEN: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


class Tells(Check):
    url: str = ""
    right: str = ""
    blocks: bool = False

    async def run(self, probe: Probe) -> None:
        SEEN.append(self.url)
        probe.note("url", self.url)
        if self.right and self.right not in self.url:
            raise CheckFailed(f"{self.url} is refused", reason="auth")


class Blocks(Check):
    url: str = ""

    def run(self, probe: Probe) -> str:
        SEEN.append(self.url)
        return "nonsense" if self.url == "nonsense" else None  # type: ignore[return-value]  # that is what is tested


class Steps(Check):
    fills: ClassVar[frozenset[str]] = frozenset({"steps"})
    first: Part

    async def run(self, probe: Probe) -> None:
        SEEN.extend(map(str, self.first.references()))
        await self.first.build(lambda _: "from a step").run(probe)


TYPES: Mapping[str, type[Check]] = {"tells": Tells, "blocks": Blocks, "steps": Steps}


@dataclass
class Desk:
    """Accounts as they are handed out, with what is said of them."""

    slots: dict[str, list[dict[str, str]]]
    said: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def lease(self, name: str, _within: float, conceal: Conceal = tell_nobody) -> AsyncIterator[Account]:
        self.said.append(f"lease {name}")
        try:
            yield Leased(self, name, conceal)
        finally:
            self.said.append(f"back {name}")


@dataclass
class Leased:
    desk: Desk
    name: str
    conceal: Conceal
    slot: int = 0

    def __getitem__(self, field: str) -> str:
        if field not in self.desk.slots[self.name][self.slot]:
            raise CheckBroken(f"no {field}", reason="config")
        if field == "totp":
            self.desk.said.append("a code")
        value = self.desk.slots[self.name][self.slot][field]
        if field != "user":
            self.conceal(f"accounts.{self.name}.{field}", value)
        return value

    async def fresh(self) -> None:
        """Wait for nothing."""

    async def refuse(self) -> bool:
        self.desk.said.append(f"refuse {self.name}")
        self.slot += 1
        return self.slot < len(self.desk.slots[self.name])

    def accept(self) -> None:
        self.desk.said.append(f"accept {self.name}")


def filled(kind: str, **options: Any) -> Filled:
    return Filled(check=Part(kind, TYPES[kind], late(options), None, Reading(TYPES.__getitem__)))


Lease = Callable[[str, float], AbstractAsyncContextManager[Account]]


async def run_once(check: Check, desk: Desk) -> Result:
    pool = Pool()
    workshop = Workshop(pool, LagMeter(), str, Backing(in_thread=pool.run, lease=desk.lease))
    return (await run_check(check, Run("run_1", "shop", 0.0, 0, 0.0, 5.0), workshop)).result


async def test_accounts_are_leased_in_order_and_given_back() -> None:
    desk = Desk({"b": [{"user": "bea"}], "a": [{"token": "swordfish"}]})
    result = await run_once(filled("tells", url="${accounts.b.user}:${accounts.a.token|quote}"), desk)
    assert result.outcome is Outcome.OK, result
    assert SEEN == ["bea:swordfish"]
    assert desk.said == ["lease a", "lease b", "accept a", "accept b", "back b", "back a"]


async def test_the_run_has_an_id_and_a_tag_of_its_own() -> None:
    check = filled("tells", url="${run.id} ${run.tag} ${run.tag}")
    await run_once(check, Desk({}))
    await run_once(check, Desk({}))
    (first, tag, again), (_, other, _) = (one.split() for one in SEEN)
    assert first == "run_1"
    assert tag == again != other
    assert tag.startswith("heartbeat-")
    assert len(tag) == len("heartbeat-") + 16


async def test_a_refused_account_is_tried_with_its_other_credentials() -> None:
    desk = Desk({"a": [{"token": "old"}, {"token": "new"}]})
    result = await run_once(filled("tells", url="${accounts.a.token}", right="new"), desk)
    assert result.outcome is Outcome.OK
    assert SEEN == ["old", "new"]
    assert desk.said == ["lease a", "refuse a", "accept a", "back a"]


async def test_where_nothing_is_left_to_try_the_refusal_stands() -> None:
    desk = Desk({"a": [{"token": "old"}, {"token": "new"}]})
    result = await run_once(filled("tells", url="${accounts.a.token}", right="none"), desk)
    assert (result.outcome, result.reason) == (Outcome.FAIL, Reason.AUTH)
    assert SEEN == ["old", "new"]
    assert desk.said[-1] == "back a"


async def test_an_account_that_says_for_ever_that_there_is_more_is_not_believed() -> None:
    desk = Desk({"a": [{"token": f"wrong{number}"} for number in range(100)]})
    result = await run_once(filled("tells", url="${accounts.a.token}", right="none"), desk)
    assert result.reason is Reason.AUTH
    assert len(SEEN) == 4


async def test_of_several_accounts_nobody_knows_which_was_refused() -> None:
    desk = Desk({"a": [{"user": "x"}] * 2, "b": [{"user": "y"}] * 2})
    result = await run_once(filled("tells", url="${accounts.a.user}${accounts.b.user}", right="none"), desk)
    assert result.reason is Reason.AUTH
    assert not [one for one in desk.said if one.startswith("refuse")]


async def test_a_code_is_asked_for_once() -> None:
    desk = Desk({"a": [{"totp": "123456"}]})
    await run_once(filled("tells", url="${accounts.a.totp} ${accounts.a.totp}"), desk)
    assert SEEN == ["123456 123456"]
    assert desk.said.count("a code") == 1


async def test_what_does_not_fit_is_the_checks_fault_and_not_shown() -> None:
    desk = Desk({"a": [{"token": "swordfish"}]})
    result = await run_once(filled("tells", blocks="${accounts.a.token}"), desk)
    assert (result.outcome, result.reason) == (Outcome.ERROR, Reason.CONFIG)
    assert "a value that was filled in does not fit" in result.sentence
    assert "swordfish" not in result.sentence


async def test_values_of_accounts_are_concealed() -> None:
    desk = Desk({"a": [{"token": "swordfish", "user": "shopper"}]})
    result = await run_once(filled("tells", url="${accounts.a.token} of ${accounts.a.user}", right="none"), desk)
    assert "swordfish" not in f"{result.sentence}{result.evidence}"
    assert "shopper" in result.evidence["url"]


async def test_a_plain_function_runs_in_a_thread_and_its_answer_is_looked_at() -> None:
    result = await run_once(filled("blocks", url="${run.id}"), Desk({}))
    assert result.outcome is Outcome.OK
    assert SEEN == ["run_1"]
    result = await run_once(filled("blocks", url="${accounts.a.token}"), Desk({"a": [{"token": "nonsense"}]}))
    assert "it must return None" in result.sentence


async def test_what_a_type_fills_in_itself_is_left_to_it() -> None:
    desk = Desk({"a": [{"token": "swordfish"}]})
    url = "${steps.x.y}/${accounts.a.token}/${steps.x.y|quote}"
    await run_once(filled("steps", first={"tells": {"url": url}}), desk)
    assert SEEN == ["${steps.x.y}", "${steps.x.y|quote}", "from a step/swordfish/from%20a%20step"]


async def test_a_value_that_looks_like_a_reference_is_none() -> None:
    desk = Desk({"a": [{"token": "${steps.x.y}"}]})
    await run_once(filled("steps", first={"tells": {"url": "${accounts.a.token}"}}), desk)
    assert SEEN == ["${steps.x.y}"]


async def test_waiting_for_an_account_is_no_part_of_the_duration() -> None:
    class Slow(Desk):
        @asynccontextmanager
        async def lease(self, name: str, within: float, conceal: Conceal = tell_nobody) -> AsyncIterator[Account]:
            await asyncio.sleep(0.2)
            async with super().lease(name, within, conceal) as account:
                yield account

    result = await run_once(filled("tells", url="${accounts.a.token}"), Slow({"a": [{"token": "swordfish"}]}))
    assert result.duration < 0.1


def test_the_accounts_of_a_check_are_found_wherever_they_stand() -> None:
    check = filled("steps", first={"tells": {"url": "${accounts.a.token}${run.id}"}})
    assert accounts_of(check) == {"a"}
    assert [str(one) for one in late_texts(check)] == ["${accounts.a.token}${run.id}"]
    assert accounts_of(Tells(url="${accounts.a.token}")) == set()


async def test_a_one_time_code_is_waited_for() -> None:
    class Waits(Leased):
        async def fresh(self) -> None:
            self.desk.said.append("waited")

    class Codes(Desk):
        @asynccontextmanager
        async def lease(self, name: str, _within: float, conceal: Conceal = tell_nobody) -> AsyncIterator[Account]:
            yield Waits(self, name, conceal)

    desk = Codes({"shopper": [{"totp": "123456"}]})
    assert (await run_once(filled("tells", url="${accounts.shopper.totp}"), desk)).outcome is Outcome.OK
    assert desk.said == ["waited", "a code", "accept shopper"]


class Hangs(Check):
    url: str = ""
    over: ClassVar[threading.Event]

    def run(self, probe: Probe) -> None:
        SEEN.append(CURRENT.get())
        self.over.wait(30)


async def test_a_thread_that_hangs_keeps_its_account_and_its_check_until_it_has_ended() -> None:
    Hangs.over = threading.Event()
    accounts, pool = Accounts(lambda: 0.0), Pool()
    accounts.adopt({"shopper": AccountConfig("shopper", Credentials("synthetic"))})
    part = Part("hangs", Hangs, late({"url": "${accounts.shopper.user}"}), None, Reading(lambda _: Hangs))
    workshop = Workshop(pool, LagMeter(), str, Backing(in_thread=pool.run, lease=accounts.lease))
    finished = await run_check(Filled(check=part), Run("run_1", "shop", 0.0, 0, 0.0, 0.2), workshop)
    assert (finished.result.outcome, finished.result.reason) == (Outcome.FAIL, Reason.TIMEOUT)
    assert [use.is_taken for use in accounts.uses()] == [True]
    assert finished.leftover is not None
    Hangs.over.set()
    async with asyncio.timeout(5):
        await finished.leftover
    assert [use.is_taken for use in accounts.uses()] == [False]
    assert SEEN == ["shop"]  # who ends the process there is to be named

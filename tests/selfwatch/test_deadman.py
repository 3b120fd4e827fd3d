from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from heartbeat import Check, Probe, http
from heartbeat.config.model import CheckConfig, Watchdog
from heartbeat.core.policy import Policy
from heartbeat.core.schedule import Cron, Interval, Schedule
from heartbeat.selfwatch.deadman import DeadMan, have_run, overdue, ping, reasons_to_withhold
from heartbeat.state import Live
from heartbeat.testing.webhook import Answer, Misbehaviour, Receiver, webhook_receiver

NOON = 1_800_000_000.0  # a Friday, 08:00 UTC
MORNING = Cron("0 9 * * *", "UTC")
NINE = NOON + 3600.0


class Quiet(Check):
    async def run(self, probe: Probe) -> None:
        """Do nothing."""


def live(last_run: float | None, schedule: Schedule | None = None, name: str = "shop") -> Live:
    schedule = schedule or Interval(60.0)
    return Live(CheckConfig(name, "quiet", Quiet(), "", schedule, 10.0, Policy()), last_run=last_run)


def reasons(**changes: Any) -> tuple[str, ...]:
    return reasons_to_withhold(
        **{"ran": True, "late": (), "store": "", "oldest": 0.0, "unrecorded": 0, **changes},
    )


# Why the call is withheld


def test_nothing_withholds_the_call_where_all_is_well() -> None:
    assert reasons(oldest=599.0) == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ran": False}, "no check has run yet"),
        ({"late": ("shop",)}, "checks do not run: shop"),
        ({"store": "the disk is full"}, "the disk is full"),
        ({"unrecorded": 1}, "in memory only"),
        ({"oldest": 601.0}, "waiting too long"),
    ],
)
def test_each_trouble_alone_withholds_the_call(changes: dict[str, Any], said: str) -> None:
    (reason,) = reasons(**changes)

    assert said in reason


def test_all_troubles_are_named_and_the_list_of_checks_is_bounded() -> None:
    found = reasons(late=tuple("abcdefg"), store="the disk is full", oldest=1e6)

    assert found[0] == "checks do not run: a, b, c and 4 more"
    assert len(found) == 3


def test_a_reason_stays_the_same_sentence_while_its_numbers_grow() -> None:
    assert reasons(oldest=700.0, unrecorded=1) == reasons(oldest=900.0, unrecorded=2)


def test_a_check_that_has_no_slots_is_never_overdue() -> None:
    assert overdue([live(NOON - 1e6), live(NOON - 1e6, MORNING, "other")], {}, NOON) == ()


def test_a_check_is_overdue_when_a_slot_is_two_intervals_past() -> None:
    planned = {"shop": NOON - 86400}

    assert overdue([live(NOON - 189.0)], planned, NOON) == ()
    assert overdue([live(NOON - 191.0)], planned, NOON) == ("shop",)


def test_a_check_that_was_just_planned_is_given_its_time_whatever_it_did_in_an_earlier_life() -> None:
    assert overdue([live(None), live(NOON - 1e6)], {"shop": NOON - 189.0}, NOON) == ()
    assert overdue([live(None)], {"shop": NOON - 191.0}, NOON) == ("shop",)
    assert overdue([live(NOON - 1e6)], {"shop": NOON - 191.0}, NOON) == ("shop",)


def test_a_cron_check_is_overdue_some_minutes_after_its_slot() -> None:
    planned = {"shop": NOON - 86400}
    yesterday = live(NINE - 86400 + 1.0, MORNING)

    assert overdue([yesterday], planned, NINE - 1.0) == ()
    assert overdue([yesterday], planned, NINE + 300.0) == ()
    assert overdue([yesterday], planned, NINE + 311.0) == ("shop",)
    assert overdue([live(NINE + 1.0, MORNING)], planned, NINE + 311.0) == ()


def test_a_cron_slot_before_the_start_is_not_asked_for() -> None:
    assert overdue([live(NINE - 86400, MORNING)], {"shop": NINE + 10.0}, NINE + 3600.0) == ()


def test_only_a_run_of_this_life_counts_as_having_run() -> None:
    planned = {"shop": NOON}

    assert not have_run([live(None), live(NOON - 1.0)], planned)
    assert have_run([live(None), live(NOON + 1.0)], planned)
    assert not have_run([live(NOON + 1.0, name="unknown")], planned)


# When it is called


class Bench:
    """A dead man's switch with a clock and an outside that the test moves."""

    def __init__(self) -> None:
        self.at = 100.0
        self.reasons: tuple[str, ...] = ()
        self.answer: Any = ""
        self.made: list[float] = []
        self.switch = DeadMan(lambda: self.reasons, lambda: NOON + self.at, self.call, lambda: self.at)

    async def call(self, watchdog: Watchdog) -> str:
        self.made.append(self.at)
        if isinstance(self.answer, asyncio.Event):
            await self.answer.wait()
            return ""
        if isinstance(self.answer, Exception):
            raise self.answer
        return str(self.answer)

    async def tick_at(self, at: float) -> None:
        self.at = at
        self.switch.tick()
        for _ in range(3):
            await asyncio.sleep(0)


def settings(**changes: Any) -> Watchdog:
    return Watchdog(**{"url": SecretStr("https://ping.example.com/uuid"), "every": 60.0, **changes})


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    bench.switch.adopt(settings())
    yield bench
    bench.switch.stop()


async def test_the_first_call_comes_one_interval_after_the_start(bench: Bench) -> None:
    await bench.tick_at(159.0)
    assert bench.made == []
    assert bench.switch.calls() is not None
    await bench.tick_at(160.0)
    assert bench.made == [160.0]
    calls = bench.switch.calls()
    assert calls is not None
    assert (calls.withheld, calls.last_success) == (False, NOON + 160.0)


async def test_it_goes_on_once_per_interval(bench: Bench) -> None:
    for second in range(100, 400):
        await bench.tick_at(float(second))

    assert bench.made == [160.0, 220.0, 280.0, 340.0]


async def test_a_reason_withholds_the_call_until_it_is_gone_and_is_logged_once(bench: Bench) -> None:
    with capture_logs() as logs:
        bench.reasons = ("the disk is full",)
        for second in range(160, 200):
            await bench.tick_at(float(second))
        calls = bench.switch.calls()
        assert bench.made == []
        assert calls is not None
        assert (calls.withheld, calls.last_success) == (True, None)
        bench.reasons = ()
        for second in range(200, 210):
            await bench.tick_at(float(second))

    assert bench.made == [200.0]
    assert [(line["event"], line.get("reasons")) for line in logs] == [
        ("the outside watchdog is not called any more", ["the disk is full"]),
        ("the outside watchdog is called again", None),
    ]


async def test_another_reason_is_logged_as_a_change(bench: Bench) -> None:
    with capture_logs() as logs:
        bench.reasons = ("one",)
        await bench.tick_at(160.0)
        bench.reasons = ("one", "two")
        await bench.tick_at(170.0)

    assert [line["reasons"] for line in logs] == [["one"], ["one", "two"]]


@pytest.mark.parametrize("answer", ["ping.example.com answers 500", ValueError("https://ping.example.com/uuid")])
async def test_a_call_without_an_answer_is_made_again_soon_and_logged_once(bench: Bench, answer: Any) -> None:
    bench.answer = answer
    with capture_logs() as logs:
        for second in range(160, 176):
            await bench.tick_at(float(second))
        assert bench.made == [160.0, 165.0, 170.0, 175.0]
        bench.answer = ""
        await bench.tick_at(180.0)

    assert [line["event"] for line in logs] == [
        "the outside watchdog does not answer",
        "the outside watchdog answers again",
    ]
    assert "uuid" not in str(logs)


async def test_a_call_that_hangs_delays_nothing_and_is_not_made_twice(bench: Bench) -> None:
    bench.answer = asyncio.Event()
    await bench.tick_at(160.0)
    await bench.tick_at(230.0)
    assert bench.made == [160.0]
    bench.answer.set()
    await bench.tick_at(231.0)
    await bench.tick_at(232.0)
    assert bench.made == [160.0, 232.0]


async def test_without_settings_nobody_is_called_and_nothing_is_shown() -> None:
    bench = Bench()
    await bench.tick_at(1e6)

    assert bench.made == []
    assert bench.switch.calls() is None


async def test_changed_settings_begin_anew_and_equal_ones_change_nothing(bench: Bench) -> None:
    await bench.tick_at(150.0)
    bench.switch.adopt(settings())
    await bench.tick_at(160.0)
    assert bench.made == [160.0]
    bench.switch.adopt(settings(every=5.0))
    await bench.tick_at(165.0)
    assert bench.made == [160.0, 165.0]
    bench.switch.adopt(None)
    await bench.tick_at(1000.0)
    assert bench.made == [160.0, 165.0]


async def test_a_call_under_way_is_given_up_at_the_end(bench: Bench) -> None:
    bench.answer = asyncio.Event()
    await bench.tick_at(160.0)
    bench.switch.stop()
    await bench.tick_at(161.0)
    bench.answer.set()

    calls = bench.switch.calls()
    assert calls is not None
    assert calls.last_success is None


# The call itself


@pytest.fixture
async def outside() -> AsyncIterator[Receiver]:
    async with webhook_receiver() as receiver:
        yield receiver
    http.close()


def to(receiver: Receiver, **changes: Any) -> Watchdog:
    return settings(**{"url": SecretStr(receiver.url), "timeout": 2.0, **changes})


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_call_is_one_request(outside: Receiver, method: str) -> None:
    assert await ping(to(outside, method=method)) == ""

    (request,) = outside.requests
    assert (request.method, request.path, request.body) == (method, "/hook/CANARY-path", b"")
    assert request.headers["user-agent"].startswith("heartbeat/")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(404), "127.0.0.1 answers 404"),
        (Answer(302, (("location", "https://elsewhere.example.com/CANARY"),)), "redirects are not followed"),
        (Misbehaviour.RESET, ""),
        (Misbehaviour.HANG, ""),
    ],
)
async def test_anything_but_a_2xx_is_no_answer(outside: Receiver, answer: Any, said: str) -> None:
    outside.script(answer)

    problem = await ping(to(outside, timeout=0.5))

    assert problem
    assert said in problem
    assert "CANARY" not in problem


async def test_an_address_of_the_cloud_is_not_called() -> None:
    problem = await ping(settings(url=SecretStr("http://169.254.169.254/latest/CANARY"), timeout=2.0))
    http.close()

    assert "link-local" in problem
    assert "CANARY" not in problem

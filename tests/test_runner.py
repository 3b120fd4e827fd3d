from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from heartbeat import Check, CheckBroken, CheckFailed, Probe
from heartbeat.core.model import Outcome, Reason, Result, Run
from heartbeat.lag import LagMeter
from heartbeat.pool import Pool
from heartbeat.runner import CURRENT, Finished, Workshop, run_check


@pytest.fixture
async def workshop() -> AsyncIterator[Workshop]:
    lag = LagMeter()
    lag.start()
    yield Workshop(Pool(threads=2, stuck_at_most=2), lag, lambda text: text.replace("hunter2", "<redacted:PASSWORD>"))
    lag.stop()


def a_run(timeout: float = 0.2) -> Run:
    return Run("run_1", "shop", 1000.0, 0, 1000.0, timeout)


async def result_of(check: Check, workshop: Workshop, seconds: float = 0.2) -> Result:
    return (await run_check(check, a_run(seconds), workshop)).result


def plugin(body: Any) -> Check:
    """Make a check whose ``run`` is the given function of a probe."""

    class Plugin(Check):
        async def run(self, probe: Probe) -> None:
            return await body(probe)  # type: ignore[no-any-return]  # some of them return nonsense, on purpose

    return Plugin()


async def test_a_true_round_trip_is_ok_with_what_it_measured(workshop: Workshop) -> None:
    async def body(probe: Probe) -> None:
        with probe.phase("login"), probe.phase("token"):
            probe.record("depth", 3)
        probe.note("body", lambda: pytest.fail("evidence is built only on failure"))

    result = await result_of(plugin(body), workshop)
    assert result.outcome is Outcome.OK
    assert result.measurements == {"depth": 3.0}
    assert set(result.phases) == {"login", "login.token"}
    assert result.evidence == {}
    assert 0 < result.duration < 0.2


@pytest.mark.parametrize(("told", "taken"), [(0.001, 0.001), (5.0, None), (None, None)])
async def test_the_duration_is_what_the_plugin_was_told_by_who_held_the_watch_and_never_more_than_it_took(
    told: float | None, taken: float | None, workshop: Workshop
) -> None:
    async def body(probe: Probe) -> None:
        time.sleep(0.01)  # noqa: ASYNC251 - our own part, which is not the target's
        if told is not None:
            probe.record_duration(told)

    duration = (await result_of(plugin(body), workshop)).duration
    assert duration == taken if taken else 0.01 <= duration < 0.2


async def test_a_timeout_lasts_as_long_as_it_lasted(workshop: Workshop) -> None:
    async def body(probe: Probe) -> None:
        probe.record_duration(0.001)
        await asyncio.sleep(5)

    assert (await result_of(plugin(body), workshop, 0.05)).duration >= 0.05


async def test_a_bad_target_is_a_failure_with_evidence(workshop: Workshop) -> None:
    async def body(probe: Probe) -> None:
        probe.record("depth", 3)
        probe.note("body", lambda: "user hunter2\x1b[31m")
        raise CheckFailed("the order hunter2\ndid not come back", reason="absent", expected="an order", observed=None)

    result = await result_of(plugin(body), workshop)
    assert (result.outcome, result.reason) == (Outcome.FAIL, Reason.ABSENT)
    assert result.sentence == "the order <redacted:PASSWORD> did not come back"
    assert result.expected == "an order"
    assert result.observed is None
    assert result.measurements == {"depth": 3.0}
    assert result.evidence == {"body": "user <redacted:PASSWORD> [31m"}


async def test_a_bad_check_is_an_error(workshop: Workshop) -> None:
    async def body(probe: Probe) -> None:
        raise CheckBroken("the account is locked", reason="account")

    result = await result_of(plugin(body), workshop)
    assert (result.outcome, result.reason) == (Outcome.ERROR, Reason.ACCOUNT)


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError("x"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), StopIteration("x")]
)
async def test_whatever_a_plugin_raises_is_an_error_of_the_check(error: BaseException, workshop: Workshop) -> None:
    async def body(probe: Probe) -> None:
        raise error

    result = await result_of(plugin(body), workshop)
    assert (result.outcome, result.reason) == (Outcome.ERROR, Reason.PLUGIN)
    assert type(error).__name__ in result.sentence


async def test_a_plugin_that_cancels_itself_is_an_error(workshop: Workshop) -> None:
    async def body(probe: Probe) -> None:
        raise asyncio.CancelledError

    result = await result_of(plugin(body), workshop)
    assert (result.outcome, result.reason) == (Outcome.ERROR, Reason.PLUGIN)


@pytest.mark.parametrize("value", [True, {"ok": 1}, 0])
async def test_returning_something_is_nonsense_and_says_so(value: object, workshop: Workshop) -> None:
    async def body(probe: Probe) -> object:
        return value

    result = await result_of(plugin(body), workshop)
    assert (result.outcome, result.reason) == (Outcome.ERROR, Reason.PLUGIN)
    assert "must return None" in result.sentence


@pytest.mark.parametrize(
    ("name", "value"),
    [("depth", float("nan")), ("depth", float("inf")), ("De pth", 1), ("up", 1), ("wait_ms", 1), ("depth", "3")],
)
async def test_a_bad_record_makes_the_run_an_error(name: str, value: Any, workshop: Workshop) -> None:
    async def body(probe: Probe) -> None:
        probe.record(name, value)

    result = await result_of(plugin(body), workshop)
    assert (result.outcome, result.reason) == (Outcome.ERROR, Reason.PLUGIN)
    assert result.measurements == {}


async def test_ten_thousand_names_are_cut_off(workshop: Workshop) -> None:
    async def body(probe: Probe) -> None:
        for number in range(10_000):
            probe.record(f"name_{number}", number)

    result = await result_of(plugin(body), workshop, 5.0)
    assert result.outcome is Outcome.ERROR
    assert len(result.measurements) == 100
    assert result.dropped == 9_900


async def test_a_silent_target_is_a_timeout_and_keeps_what_was_measured(workshop: Workshop) -> None:
    async def body(probe: Probe) -> None:
        probe.record("depth", 3)
        with probe.phase("wait"):
            await asyncio.Event().wait()

    finished = await run_check(plugin(body), a_run(), workshop)
    assert (finished.result.outcome, finished.result.reason) == (Outcome.FAIL, Reason.TIMEOUT)
    assert finished.result.measurements == {"depth": 3.0}
    assert finished.result.duration == pytest.approx(0.2, abs=0.15)
    assert finished.leftover is None


async def test_a_plugin_that_swallows_cancellation_is_reported_at_its_deadline(workshop: Workshop) -> None:
    let_go = asyncio.Event()

    async def body(probe: Probe) -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                probe.record("late", 1)

    finished = await run_check(plugin(body), a_run(), workshop)
    assert (finished.result.outcome, finished.result.reason) == (Outcome.FAIL, Reason.TIMEOUT)
    assert finished.result.measurements == {}
    assert finished.leftover is not None
    let_go.set()
    await asyncio.wait((finished.leftover,))


async def test_a_plugin_that_swallows_cancellation_and_returns_is_no_success(workshop: Workshop) -> None:
    async def body(probe: Probe) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    result = await result_of(plugin(body), workshop)
    assert (result.outcome, result.reason) == (Outcome.FAIL, Reason.TIMEOUT)


async def test_a_plugin_that_sleeps_in_the_loop_shows_in_the_lag(workshop: Workshop) -> None:
    async def body(probe: Probe) -> None:
        time.sleep(0.3)  # noqa: ASYNC251 - what bad plugins do

    result = await result_of(plugin(body), workshop)
    assert (result.outcome, result.reason) == (Outcome.FAIL, Reason.TIMEOUT)
    assert result.lag > 0.1


class Plain(Check):
    def run(self, probe: Probe) -> None:
        probe.record("thread", float(threading.current_thread() is not threading.main_thread()))
        assert CURRENT.get() == "shop"


class Hanging(Check):
    def run(self, probe: Probe) -> None:
        RELEASE.wait()


RELEASE = threading.Event()


async def test_a_plain_function_runs_in_a_thread(workshop: Workshop) -> None:
    result = await result_of(Plain(), workshop, 5.0)
    assert result.outcome is Outcome.OK
    assert result.measurements == {"thread": 1.0}


async def test_a_hanging_thread_is_reported_replaced_and_capped(workshop: Workshop) -> None:
    RELEASE.clear()
    finished: list[Finished] = []
    try:
        finished += [await run_check(Hanging(), a_run(0.05), workshop) for _ in range(2)]
        assert all(each.result.reason is Reason.TIMEOUT and each.leftover for each in finished)
        full = await result_of(Hanging(), workshop)
        assert (full.outcome, full.reason) == (Outcome.ERROR, Reason.RESOURCE)
    finally:
        RELEASE.set()
    await asyncio.gather(*(each.leftover for each in finished if each.leftover))
    assert (workshop.pool.busy, workshop.pool.stuck) == (0, 0)
    assert (await result_of(Plain(), workshop, 5.0)).outcome is Outcome.OK


async def test_evidence_that_breaks_does_not_hide_the_failure(workshop: Workshop) -> None:
    async def body(probe: Probe) -> None:
        probe.note("body", lambda: 1 / 0)
        raise CheckFailed("it is down", reason="status")

    result = await result_of(plugin(body), workshop)
    assert result.reason is Reason.STATUS
    assert "ZeroDivisionError" in result.evidence["body"]


async def test_a_hundred_megabytes_of_sentence_are_cut(workshop: Workshop) -> None:
    async def body(probe: Probe) -> None:
        raise ValueError("x" * 100_000_000)

    assert len((await result_of(plugin(body), workshop, 5.0)).sentence) <= 500


async def test_the_caller_can_be_cancelled(workshop: Workshop) -> None:
    started = asyncio.Event()

    async def body(probe: Probe) -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(run_check(plugin(body), a_run(5.0), workshop))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

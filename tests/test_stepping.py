from __future__ import annotations

import asyncio
import threading
import time
from typing import ClassVar

import pytest

from heartbeat import Answer, Check, CheckBroken, CheckFailed, Probe
from heartbeat.backing import Backing, Memory
from heartbeat.core.judge import judge
from heartbeat.core.model import Outcome, Reason, Result, Run, Severity
from heartbeat.lag import LagMeter
from heartbeat.pool import Pool
from heartbeat.runner import Workshop, run_check


class Talks(Check):
    says: str = "hello"
    fails: bool = False
    takes: float = 0.0

    async def run(self, probe: Probe) -> None:
        with probe.phase("connect"):
            await asyncio.sleep(self.takes)
        probe.record("body_bytes", len(self.says))
        probe.note("answer", self.says)
        probe.answer(lambda: Answer(text=self.says))
        if self.fails:
            raise CheckFailed("it says no", reason="content", expected="yes", observed="no")


class Blocks(Check):
    def run(self, probe: Probe) -> None:
        probe.record("n", 1)
        time.sleep(0.01)


class Both(Check):
    second: Talks = Talks()
    limit: float | None = None

    async def run(self, probe: Probe) -> None:
        answer = await probe.step("first", Talks(says="abc"))
        probe.record("heard_bytes", len(answer.text))
        await probe.step("second", self.second, timeout=self.limit)


async def run_once(check: Check, timeout: float = 2.0, backing: Backing | None = None) -> Result:  # noqa: ASYNC109 - the check's
    pool = Pool()
    workshop = Workshop(pool, LagMeter(), str, backing or Backing(in_thread=pool.run))
    return (await run_check(check, Run("run_1", "shop", 0.0, 0, 0.0, timeout), workshop)).result


async def test_what_steps_find_is_found_by_the_run() -> None:
    result = await run_once(Both())
    assert result.outcome is Outcome.OK
    assert result.measurements == {"heard_bytes": 3, "first_body_bytes": 3, "second_body_bytes": 5}
    assert set(result.phases) == {"first", "first.connect", "second", "second.connect"}


async def test_a_run_says_in_which_step_it_failed() -> None:
    result = await run_once(Both(second=Talks(fails=True)))
    assert (result.sentence, result.reason, result.expected) == ("second: it says no", Reason.CONTENT, "yes")
    assert result.evidence == {"first answer": "abc", "second answer": "hello"}


async def test_a_step_has_a_deadline_of_its_own() -> None:
    result = await run_once(Both(second=Talks(takes=30.0), limit=0.05))
    assert (result.sentence, result.reason) == ("second: no result within 50 ms", Reason.TIMEOUT)
    assert result.duration < 1.0


async def test_the_run_ends_at_its_deadline_and_says_where() -> None:
    result = await run_once(Both(second=Talks(takes=30.0)), timeout=0.1)
    assert (result.sentence, result.reason) == ("second: no result within 100 ms", Reason.TIMEOUT)
    assert "first.connect" in result.phases


async def test_plain_functions_are_steps_too() -> None:
    class Plain(Check):
        async def run(self, probe: Probe) -> None:
            await probe.step("blocks", Blocks())

    assert (await run_once(Plain())).measurements == {"blocks_n": 1}


class TidiesInAThread(Check):
    let_go: ClassVar[threading.Event]

    async def run(self, probe: Probe) -> None:
        async def tidy(own: Probe) -> None:
            await own.step("remove", Hangs())

        probe.on_cleanup(tidy, timeout=0.1)


class Hangs(Check):
    def run(self, _probe: Probe) -> None:
        TidiesInAThread.let_go.wait(30)


async def test_a_thread_that_hangs_in_the_cleanup_keeps_the_check_busy() -> None:
    TidiesInAThread.let_go = threading.Event()
    workshop = Workshop(pool := Pool(), LagMeter(), str, Backing(in_thread=pool.run))
    finished = await run_check(TidiesInAThread(), Run("run_1", "shop", 0.0, 0, 0.0, 5.0), workshop)
    assert finished.leftover is not None
    TidiesInAThread.let_go.set()
    async with asyncio.timeout(5):
        await finished.leftover


class Tidies(Check):
    how: str = ""

    async def run(self, probe: Probe) -> None:
        probe.on_cleanup(self._tidy, timeout=0.05 if self.how == "hangs" else 5.0)
        if self.how == "deadline":
            await asyncio.sleep(30)
        if self.how == "fails":
            raise CheckFailed("no")

    async def _tidy(self, probe: Probe) -> None:
        if self.how == "hangs":
            await asyncio.sleep(30)
        if self.how == "raises":
            raise ValueError("cannot")
        if self.how == "times out":
            raise TimeoutError("of the mailbox")
        if self.how == "refused":
            raise CheckFailed("the status is 500", reason="status")
        await probe.step("remove", Talks())
        probe.record("leftovers", 0)


@pytest.mark.parametrize(
    ("how", "reason", "evidence"),
    [
        ("", None, None),
        ("fails", Reason.CONTENT, None),
        ("deadline", Reason.TIMEOUT, None),
        ("hangs", None, "it was not done within 50 ms"),
        ("raises", None, "the plugin raised ValueError: cannot (test_stepping.py:"),
        ("times out", None, "the target did not answer in time: of the mailbox"),
        ("refused", None, "the status is 500"),
    ],
)
async def test_cleanup_runs_however_the_run_ends(how: str, reason: Reason | None, evidence: str | None) -> None:
    result = await run_once(Tidies(how=how), timeout=0.1)
    assert result.reason is reason
    assert ("leftovers" in result.measurements) == (evidence is None)
    if evidence is not None:
        assert result.evidence["cleanup"].startswith(evidence)
        assert result.caution is not None
        assert result.caution.sentence == f"the cleanup failed: {result.evidence['cleanup']}"


class Warns(Check):
    async def run(self, probe: Probe) -> None:
        probe.note("page", "nearly full")
        probe.warn("the disk is nearly full", reason="limit", expected="below 80 %", observed="85 %")


async def test_a_warning_is_no_failure() -> None:
    result = await run_once(Warns())
    assert result.outcome is Outcome.OK
    assert (result.evidence, result.observed, result.sentence) == ({"page": "nearly full"}, "85 %", "")
    verdict = judge(Run("run_1", "disk", 0.0, 0, 0.0, 1.0), result, (), 1.0)
    assert (verdict.severity, verdict.sentence) == (Severity.WARN, "the disk is nearly full")


class Counts(Check):
    async def run(self, probe: Probe) -> None:
        probe.state["runs"] = probe.state.get("runs", 0) + 1
        if probe.state["runs"] == 3:
            probe.state["bad"] = object()


async def test_a_check_remembers() -> None:
    written: list[str] = []

    async def write(text: str) -> None:
        written.append(text)

    memory = Memory('{"runs":1}', write)
    backing = Backing(memory=lambda _: memory)
    assert (await run_once(Counts(), backing=backing)).outcome is Outcome.OK
    assert written == ['{"runs":2}']
    result = await run_once(Counts(), backing=backing)
    assert (result.outcome, result.reason) == (Outcome.ERROR, Reason.PLUGIN)
    assert "no JSON" in result.sentence


async def test_what_is_remembered_is_bounded() -> None:
    memory = Memory()
    memory["x"] = "x" * 70_000
    with pytest.raises(CheckBroken, match="65536 bytes at most"):
        await memory.save()


class Tells(Check):
    secret: str = "a secret of this run"
    warns: bool = False

    async def run(self, probe: Probe) -> None:
        probe.conceal("session", self.secret)
        probe.note("page", f"<p>{self.secret}</p>")
        if self.warns:
            probe.warn(f"it said {self.secret}")
        else:
            raise CheckFailed(f"it said {self.secret}", observed=self.secret)


class Around(Check):
    inner: Check
    asks: bool = True

    async def run(self, probe: Probe) -> None:
        probe.on_cleanup(self._tidy)
        try:
            answer = await probe.step("inner", self.inner, asks=self.asks)
        except CheckBroken as error:
            raise CheckBroken(f"sorted: {error.sentence}", reason=error.reason) from None
        probe.note("heard", [answer.text, probe.heard.text])
        probe.warn("all well")

    async def _tidy(self, probe: Probe) -> None:
        probe.note("tidied", "a secret of this run")
        probe.warn("the cleanup failed")


@pytest.mark.parametrize("warns", [False, True])
async def test_what_a_run_conceals_is_nowhere_in_what_is_told_of_it(warns: bool) -> None:
    result = await run_once(Around(inner=Tells(warns=warns)))
    told = [result.sentence, str(result.observed), str(result.caution), *result.evidence.values()]
    assert "secret" not in " ".join(told)
    assert result.evidence["inner page"] == "<p><redacted:session></p>"
    assert result.evidence["tidied"] == "<redacted:session>"


async def test_what_a_step_raises_is_sorted() -> None:
    class Odd(Check):
        async def run(self, probe: Probe) -> None:
            raise ZeroDivisionError("nothing to divide by")

    result = await run_once(Around(inner=Odd()))
    assert (result.outcome, result.reason) == (Outcome.ERROR, Reason.PLUGIN)
    assert result.sentence.startswith(
        "inner: sorted: the plugin raised ZeroDivisionError: nothing to divide by (test_st"
    )


@pytest.mark.parametrize("asks", [False, True])
async def test_an_answer_is_made_only_for_who_asks(asks: bool) -> None:
    result = await run_once(Around(inner=Talks(), asks=asks))
    assert result.evidence["heard"] == str(["hello"] * 2 if asks else ["", ""])


async def test_a_cleanup_may_warn() -> None:
    class Tidied(Check):
        async def run(self, probe: Probe) -> None:
            probe.on_cleanup(Around(inner=Talks())._tidy)

    result = await run_once(Tidied())
    assert result.outcome is Outcome.OK
    assert result.caution is not None
    assert result.caution.sentence == "the cleanup failed"


async def test_many_steps_leave_room_for_each_other() -> None:
    class Many(Check):
        async def run(self, probe: Probe) -> None:
            for number in range(60):
                await probe.step(f"step{number}", Talks())

    result = await run_once(Many())
    assert result.outcome is Outcome.OK
    assert {f"step{number}" for number in range(60)} <= result.phases.keys()


async def test_what_is_passing_is_never_written() -> None:
    written: list[str] = []

    async def write(text: str) -> None:
        written.append(text)

    memory = Memory(write=write)
    memory.passing["run"] = object()
    memory["x"] = 1
    await memory.save()
    assert written == ['{"x":1}']


class Leaves(Check):
    async def run(self, probe: Probe) -> None:
        probe.on_cleanup(self._tidy)

    async def _tidy(self, probe: Probe) -> None:
        await probe.step("remember", Counts())


async def test_steps_and_cleanup_share_the_memory_of_the_run_also_without_a_kit() -> None:
    written: list[str] = []

    async def write(text: str) -> None:
        written.append(text)

    result = await run_once(Leaves(), backing=Backing(memory=lambda _: Memory('{"runs":7}', write)))
    assert (result.outcome, written) == (Outcome.OK, ['{"runs":8}'])


async def test_what_a_step_of_the_cleanup_leaves_is_cleaned_up_too() -> None:
    class Outer(Check):
        async def run(self, probe: Probe) -> None:
            probe.on_cleanup(self._tidy)

        async def _tidy(self, probe: Probe) -> None:
            await probe.step("inner", Tidies())

    assert (await run_once(Outer())).measurements == {"leftovers": 0, "remove_body_bytes": 5}

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import Field

from heartbeat import Check, CheckFailed
from heartbeat.config import CheckConfig
from heartbeat.config.requirement import read_required
from heartbeat.core.gate import Grade
from heartbeat.core.model import Outcome, Severity
from heartbeat.core.policy import Latch, Policy, Routes
from heartbeat.core.schedule import Interval
from heartbeat.lag import LagMeter
from heartbeat.line import run_slot
from heartbeat.pool import Pool
from heartbeat.runner import Workshop
from heartbeat.verification import Stage, Terms, Trial, Verification, conclude
from heartbeat.verification import trial as trial_module

Act = Callable[[int], None]


def well(_: int) -> None:
    pass


class Acting(Check):
    """Does what it is told, which depends on how often it ran before."""

    act: Any
    ran: list[int] = Field(default_factory=list)

    async def run(self, probe: Any) -> None:
        self.ran.append(len(self.ran))
        self.act(len(self.ran) - 1)


def failing(*numbers: int) -> Act:
    def act(number: int) -> None:
        if number in numbers:
            raise CheckFailed(f"run {number} is bad")

    return act


def check(act: Act = well, name: str = "shop", policy: Policy | None = None) -> CheckConfig:
    policy = policy or Policy(interval=60.0)
    return CheckConfig(name, "acting", Acting(act=act), "f", Interval(60.0), 5.0, policy, notify=Routes(("oncall",)))


@pytest.fixture
async def workshop() -> Workshop:
    return Workshop(Pool(), LagMeter(), str)


QUICK = Terms(every=0.001)


async def run(workshop: Workshop, config: CheckConfig, terms: Terms = QUICK) -> Trial:
    verification = Verification([config], terms, workshop, lambda _: None)
    await asyncio.wait_for(verification.run(), 10)
    return verification.trials[config.name]


async def test_runs_go_through_the_daemons_own_line(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    async def spy(line: Any, live: Any, slot: float) -> Any:
        calls.append(live.config.name)
        return await run_slot(line, live, slot)

    monkeypatch.setattr(trial_module, "run_slot", spy)
    trial = await run(workshop, check(), replace(QUICK, runs=3))
    assert (calls, trial.runs, trial.stage) == (["shop"] * 3, 3, Stage.DONE)


async def test_an_incident_is_raised_as_in_production_and_nobody_is_told(workshop: Workshop) -> None:
    trial = await run(workshop, check(failing(0, 1)), replace(QUICK, runs=2))
    incident = trial.live.status.incident
    assert trial.live.status.severity is Severity.FAIL
    assert incident is not None
    assert incident.told == ()
    assert incident.first_told is None


async def test_second_looks_are_those_of_the_policy(workshop: Workshop) -> None:
    policy = Policy(fail=Latch(2, 3, 1), recheck=0.001, interval=60.0)
    trial = await run(workshop, check(failing(0, 4, 5), policy=policy), replace(QUICK, runs=4))
    ok, fail = Outcome.OK, Outcome.FAIL
    told = [(look.verdict.run.attempt, look.verdict.outcome) for look in trial.looks]
    assert told == [(0, fail), (1, ok), (0, ok), (0, ok), (0, fail), (1, fail)]
    [judged], _ = conclude([trial], QUICK)
    assert (judged.assessment.good, judged.assessment.bad, judged.assessment.recovered) == (3, 1, 1)


async def test_the_policy_is_one_for_runs_that_come_as_often_as_these(workshop: Workshop) -> None:
    trial = await run(workshop, check())
    assert trial.config.policy.interval == QUICK.every


@pytest.mark.parametrize(
    ("every", "interval", "pace"), [(None, 60.0, 5.0), (None, 2.0, 2.0), (None, None, 5.0), (30.0, 2.0, 30.0)]
)
def test_checks_run_as_configured_but_not_much_more_rarely(
    every: float | None, interval: float | None, pace: float
) -> None:
    assert Terms(every=every).pace(check(policy=Policy(interval=interval))) == pace


async def test_evidence_is_kept_of_the_latest_look_of_each_outcome(workshop: Workshop) -> None:
    class Noting(Acting):
        async def run(self, probe: Any) -> None:
            probe.note("number", len(self.ran))
            await super().run(probe)

    config = replace(check(), check=Noting(act=failing(0, 1, 2)))
    trial = await run(workshop, config, replace(QUICK, runs=4))
    assert [dict(look.result.evidence) for look in trial.looks] == [{}, {}, {"number": "2"}, {}]


async def test_a_mistake_of_ours_is_no_good_check(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(trial_module, "run_slot", broken)
    trial = await run(workshop, check())
    [judged], _ = conclude([trial], QUICK)
    assert judged.assessment.grade is Grade.BROKEN
    assert "a run broke inside Heartbeat; please report this: ZeroDivisionError: ours" in judged.assessment.sentence


async def test_to_stop_gives_up_what_is_under_way_and_keeps_what_is_known(workshop: Workshop) -> None:
    class Waiting(Acting):
        async def run(self, probe: Any) -> None:
            self.ran.append(1)
            if len(self.ran) == 2:
                verification.stop()
                await asyncio.Event().wait()

    config = replace(check(), check=Waiting(act=well))
    verification = Verification([config], replace(QUICK, runs=5), workshop, lambda _: None)
    await asyncio.wait_for(verification.run(), 5)
    trial = verification.trials["shop"]
    [judged], _ = conclude([trial], QUICK)
    assert (trial.runs, judged.assessment.grade) == (1, Grade.BROKEN)
    assert judged.assessment.sentence == "interrupted before it was done"


async def test_a_failure_that_is_known_stays_one_when_it_is_interrupted(workshop: Workshop) -> None:
    trial = await run(workshop, check(failing(0)))
    trial.stage = Stage.RUNNING
    [judged], _ = conclude([trial], QUICK)
    assert (judged.assessment.grade, judged.assessment.sentence) == (Grade.FAILED, "run 0 is bad")


async def test_healthy_runs_count_from_the_first_good_one(workshop: Workshop) -> None:
    terms = replace(QUICK, runs=2, patience=5.0)
    trial = await run(workshop, check(failing(0, 1)), terms)
    assert (trial.before, trial.runs, trial.stage) == (2, 2, Stage.DONE)
    assert all(look.verdict.outcome is Outcome.OK for look in trial.looks)


async def test_what_is_required_of_each_run_is_judged_with_the_limits_of_the_check(workshop: Workshop) -> None:
    terms = replace(QUICK, required=read_required(["duration: 1ms"]))

    class Slow(Acting):
        async def run(self, probe: Any) -> None:
            probe.record_duration(0.5)
            await asyncio.sleep(0.005)

    trial = await run(workshop, replace(check(), check=Slow(act=well)), terms)
    [judged], faults = conclude([trial], terms)
    assert (judged.assessment.grade, faults) == (Grade.FAILED, ())
    assert judged.assessment.sentence.startswith("duration (required) is ")


async def test_a_requirement_that_nothing_measures_is_a_fault_of_the_whole(workshop: Workshop) -> None:
    terms = replace(QUICK, required=read_required(["mean hits: 3", "p95 duration: 5s"]))
    trial = await run(workshop, check(), terms)
    _, faults = conclude([trial], terms)
    assert faults == ('no check measured what "mean hits" is required of',)

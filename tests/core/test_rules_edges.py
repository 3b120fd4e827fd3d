"""Edges of the rules that a mutant showed nothing else to look at."""

from __future__ import annotations

from dataclasses import replace

from heartbeat.core.advance import advance
from heartbeat.core.judge import judge
from heartbeat.core.limits import Bound, Limit
from heartbeat.core.model import Event, Kind, Outcome, Reason, Result, Run, Severity, Verdict
from heartbeat.core.objectives import Counted, Objective, burning
from heartbeat.core.policy import Latch, Policy
from heartbeat.core.status import FRESH, Status

RUN = Run("run_1", "shop", 0.0, 0, 0.0, 10.0)
OK = Verdict(RUN, 0.0, Outcome.OK, Severity.OK)
FAIL = Verdict(RUN, 0.0, Outcome.FAIL, Severity.FAIL, Reason.CONNECT, "connection refused")
DISTORTED = replace(FAIL, reason=Reason.TIMEOUT, distorted=True)


def run_all(verdicts: list[Verdict], policy: Policy, status: Status = FRESH) -> tuple[Status, list[Event]]:
    events: list[Event] = []
    for count, verdict in enumerate(verdicts):
        at = 60.0 * count
        status, more = advance(status, replace(verdict, at=at), policy, at)
        events += more
    return status, events


def test_distorted_verdicts_with_a_good_one_between_them_are_not_in_a_row() -> None:
    policy = Policy(broken=Latch())
    assert run_all([OK, DISTORTED, DISTORTED, OK, DISTORTED, DISTORTED, OK], policy)[1] == []
    _, (broken, repaired) = run_all([OK, DISTORTED, DISTORTED, DISTORTED, OK], policy)
    assert (broken.kind, repaired.kind) == (Kind.CHECK_BROKEN, Kind.CHECK_REPAIRED)


def test_what_flapping_remembers_goes_when_it_is_switched_off() -> None:
    status, _ = run_all([FAIL, OK, FAIL], Policy())
    assert status.states
    assert run_all([OK], Policy(flapping=None), status)[0].states == ()


def test_of_several_limits_the_worst_finding_counts() -> None:
    limits = (Limit("duration", (Bound(Severity.WARN, above=1.0),)), Limit("depth", (Bound(Severity.FAIL, above=5.0),)))
    result = Result(Outcome.OK, 2.0, measurements={"depth": 9.0})
    assert judge(RUN, result, limits, 0.0).severity is Severity.FAIL
    assert judge(RUN, result, limits[::-1], 0.0).severity is Severity.FAIL


class HalfOfThem:
    """A history in which exactly half of all runs failed, whatever the window."""

    def tally(self, window: float, at: float) -> Counted:
        return Counted(ok=5, fail=5)


def test_a_budget_that_is_used_up_exactly_in_time_does_not_burn_too_fast() -> None:
    assert burning(HalfOfThem(), Objective(0.5, failures=1), 0.0) == ()
    (found,) = burning(HalfOfThem(), Objective(0.6, failures=1), 0.0)
    assert found.limit == "burn rate 3d"

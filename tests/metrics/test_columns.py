from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace

import pytest

from heartbeat.core.model import Outcome, Reason, Result
from heartbeat.core.objectives import Objective
from heartbeat.core.policy import Policy
from heartbeat.core.status import Acknowledgement, Incident, Status
from heartbeat.metrics.columns import Columns, budget_of, has_more
from heartbeat.state import Live

BUCKETS = (0.05, 0.25, 1.0, 5.0)
Make = Callable[..., Live]


def test_every_check_has_an_entry_in_every_column(make: Make, run: Make, good: Result, bad: Result) -> None:
    columns = Columns(BUCKETS)

    columns.note(make("new"), "a")
    columns.note(run(make("good"), good), "b")
    columns.note(run(make("bad"), bad), "c")

    assert columns.labels == ["a", "b", "c"]
    assert columns.up == [None, 1, 0]
    assert columns.severity == [None, 0, 0]
    assert columns.broken == [None, 0, 0]
    assert columns.runs == [0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0]
    assert columns.buckets == [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0]
    assert columns.spent == [0.0, 0.123, 0.5]
    assert columns.phases == [{}, good.phases, {}]
    assert columns.timeout == [10.0] * 3
    assert columns.last_run == [None, 1000.5, 1000.5]
    assert columns.last_success == [None, 1000.5, None]
    assert columns.failure == [None, None, Reason.CONNECT]
    assert columns.measured["body_bytes"] == (["b"], [5120.0])


def incident(*, acknowledged: bool = False) -> Incident:
    return Incident("inc_1", 1.0, 1, 1.0, acknowledged=Acknowledgement("anna", "", 2.0) if acknowledged else None)


def test_a_check_that_was_well_and_does_not_run_has_no_severity(make: Make, run: Make, good: Result) -> None:
    absent = run(make(), good)
    absent.status = replace(absent.status, absent=incident())
    failing = run(make(), good)
    failing.status = replace(absent.status, fail=True)
    columns = Columns(BUCKETS)
    columns.note(absent, "a")
    columns.note(failing, "b")
    columns.note(run(make(), good), "c", "silence")
    columns.note(run(make(), good), "d", "disabled")
    assert columns.severity == [None, 2, 0, None]


def test_little_is_said_of_a_check_that_is_well(make: Make, run: Make, good: Result) -> None:
    columns = Columns(BUCKETS)
    columns.note(run(make(), good), "a")
    assert not columns.seldom


def test_what_is_true_of_few_checks_is_said_of_those_alone(make: Make, run: Make, good: Result) -> None:
    columns = Columns(BUCKETS)
    for labels, status in (
        ("a", Status(flapping=incident(), incident=incident(acknowledged=True))),
        ("b", Status(absent=incident(acknowledged=True))),
        ("c", Status(fail=True, incident=incident())),
    ):
        columns.note_incidents(status, labels)
    columns.note(run(make(), good), "d", "dependency")
    assert columns.seldom == {
        "heartbeat_check_flapping": (["a"], [1]),
        "heartbeat_check_absent": (["b"], [1]),
        "heartbeat_check_acknowledged": (["b"], [1]),
        "heartbeat_check_suppressed": (['d,reason="dependency"'], [1]),
    }


def test_a_check_that_is_looked_at_twice_counts_from_zero(make: Make) -> None:
    live = make()
    live.config = replace(live.config, policy=Policy(recheck=5.0))
    assert has_more(live.config)
    assert not has_more(make().config)
    columns = Columns(BUCKETS)
    columns.note_more(live, "a")
    live.recovered = 3
    columns.note_more(live, "b")
    assert columns.seldom == {"heartbeat_check_recovered_on_recheck_total": (["a", "b"], [0, 3])}


def test_the_error_budget_is_that_at_the_latest_run(make: Make, run: Make, good: Result, bad: Result) -> None:
    config = replace(make().config, objective=Objective(0.5, 3600.0), policy=Policy(interval=36.0))
    live = Live(config)
    assert budget_of(live) is None
    windows = live.windows
    assert windows is not None
    for number in range(100):
        at, result = 1000.0 + 36 * number, bad if number < 10 else good
        windows.take(at, result.outcome, result)
        run(live, result, at=at)
    assert budget_of(live) == pytest.approx(0.8, abs=0.01)
    columns = Columns(BUCKETS)
    columns.note_more(live, "a")
    assert columns.seldom == {"heartbeat_check_error_budget_left_ratio": (["a"], [budget_of(live)])}
    assert budget_of(run(make(), good)) is None


def test_numbers_are_plain_so_that_they_are_written_as_numbers(make: Make, run: Make) -> None:
    columns = Columns(BUCKETS)
    columns.note(run(make(), Result(Outcome.ERROR, 0.1, Reason.PLUGIN, "bang")), "a")
    columns.note(run(make(), Result(Outcome.FAIL, 0.1, Reason.STATUS, "500")), "b")

    assert {type(value) for value in (columns.up[1], *columns.severity, *columns.broken)} == {int}


def test_noting_makes_no_objects_for_the_garbage_collector(make: Make, run: Make, good: Result) -> None:
    lives = [run(make(f"check-{i}"), good) for i in range(1000)]
    columns = Columns(BUCKETS)
    columns.note(lives[0], "a")
    before = len(gc.get_objects())

    for live in lives:
        columns.note(live, "a")

    assert len(gc.get_objects()) - before < 10

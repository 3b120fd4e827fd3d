from __future__ import annotations

from dataclasses import replace

import pytest

from heartbeat.core.limits import COUNT, Bound, Limit
from heartbeat.core.model import Outcome, Reason, Result, Run, Severity, Verdict
from heartbeat.core.objectives import Objective
from heartbeat.core.policy import Policy
from heartbeat.core.status import FRESH, Incident, Sample, Status
from heartbeat.metrics.page import Page
from heartbeat.state import Live, State
from heartbeat.testing.bench import a_check

BOUNDS = (0.1, 1.0)


def a_run(at: float = 100.0) -> Run:
    return Run("run_1", "shop", at, 0, at, 5.0)


def observe(
    live: Live,
    duration: float = 0.05,
    outcome: Outcome = Outcome.OK,
    bounds: tuple[float, ...] = BOUNDS,
    at: float = 100.0,
) -> None:
    live.observe(Verdict(a_run(at), at, outcome, Severity.OK), Result(outcome, duration), FRESH, bounds)


def test_a_run_is_counted_by_outcome_and_duration() -> None:
    live = Live(a_check())
    for duration in (0.05, 0.1, 0.5, 7.0):
        observe(live, duration)
    assert live.buckets == [2, 1, 1]
    assert live.duration_sum == pytest.approx(7.65)
    assert live.runs[Outcome.OK] == 4


def test_an_error_leaves_what_is_known_of_the_target() -> None:
    live = Live(a_check())
    observe(live, outcome=Outcome.ERROR)
    assert (live.up, live.last_success, live.last_run) == (None, None, 100.0)
    observe(live)
    observe(live, outcome=Outcome.ERROR, at=200.0)
    assert (live.up, live.last_success, live.last_run) == (True, 100.0, 200.0)
    observe(live, outcome=Outcome.FAIL, at=300.0)
    assert (live.up, live.last_success) == (False, 100.0)


@pytest.mark.parametrize("bounds", [(0.5,), (0.2, 2.0)])
def test_other_buckets_after_a_reload_start_anew(bounds: tuple[float, ...]) -> None:
    live = Live(a_check())
    observe(live, 0.15)
    observe(live, 0.15, bounds=bounds)
    assert live.buckets == [1] + [0] * len(bounds)
    assert live.duration_sum == pytest.approx(0.15)
    assert live.runs[Outcome.OK] == 2


@pytest.mark.parametrize("bounds", [(0.5,), (0.2, 2.0)])
def test_between_a_reload_and_the_next_run_no_page_shows_counts_under_other_buckets(bounds: tuple[float, ...]) -> None:
    live = Live(a_check())
    observe(live, 0.15)
    text = b"".join(Page(State({"shop": live}), lambda: "", lambda: bounds).slices()).decode()
    assert 'heartbeat_check_run_duration_seconds_count{check="shop",type="scripted"} 0' in text


def test_missed_runs_are_counted_with_their_reason() -> None:
    live = Live(a_check())
    live.miss(Reason.LATE, 3)
    live.miss(Reason.BUSY)
    live.miss(Reason.LATE)
    assert live.missed == {Reason.LATE: 4, Reason.BUSY: 1}
    assert live.runs[Outcome.MISSED] == 5


def test_a_step_of_the_clock_moves_all_times_together() -> None:
    incident = Incident("inc_1", 90.0, 1, 95.0)
    live = Live(a_check())
    observe(live)
    live.status = Status(
        fail=True,
        since=90.0,
        recent=(Sample(100.0, Severity.FAIL),),
        incident=incident,
        wake_at=195.0,
        last_success=80.0,
    )
    live.shift(-50.0)
    moved = live.status
    assert moved.incident is not None
    assert (live.last_run, live.last_success) == (50.0, 50.0)
    assert (moved.since, moved.recent[0].at, moved.wake_at, moved.last_success) == (40.0, 50.0, 145.0, 30.0)
    assert (moved.incident.since, moved.incident.told_at) == (40.0, 45.0)


def test_a_step_leaves_what_never_was() -> None:
    live = Live(a_check())
    live.shift(10.0)
    assert (live.status, live.last_run, live.last_success) == (FRESH, None, None)


@pytest.mark.parametrize(
    ("outcome", "up", "success"), [(Outcome.OK, True, 100.0), (Outcome.FAIL, False, 60.0), (Outcome.ERROR, True, 60.0)]
)
def test_the_latest_run_of_an_earlier_life_is_taken_over_and_not_counted(
    outcome: Outcome,
    up: bool,
    success: float,
) -> None:
    live = Live(a_check(), Status(up=True, last_success=60.0))
    live.restore(a_run(), Result(outcome, 0.1), Verdict(a_run(), 100.0, outcome, Severity.OK))
    assert (live.up, live.last_success, live.last_run) == (up, success, 100.0)
    assert sum(live.runs.values()) == 0
    assert live.buckets == []


MISSED = Limit("missed", (Bound(Severity.WARN, above=3.0),), "", COUNT, 600.0)


def windowed() -> Live:
    return Live(a_check(limits=(MISSED,), policy=Policy(interval=60.0)))


def test_a_check_without_limits_on_windows_has_none() -> None:
    duration = Limit("duration", (Bound(Severity.WARN, above=3.0),))
    assert Live(a_check()).windows is None
    assert Live(a_check(limits=(duration,))).windows is None
    assert Live(a_check(objective=Objective(0.99))).windows is not None


def test_missed_runs_are_in_the_windows_at_the_times_of_their_slots() -> None:
    live = windowed()
    assert live.windows is not None
    live.miss(Reason.PAUSED, 20, 10_000.0)
    live.miss(Reason.BUSY, at=10_060.0)
    assert live.windows.value(MISSED, 10_060.0) == 10.0
    assert live.windows.value(MISSED, 10_000.0 + 590.0) == 2.0


def test_a_very_long_pause_costs_no_more_than_a_long_one() -> None:
    live = windowed()
    assert live.windows is not None
    live.miss(Reason.PAUSED, 10**9, 1e9)
    assert live.runs[Outcome.MISSED] == 10**9
    assert live.windows.value(MISSED, 1e9) == 10.0


def test_a_step_of_the_clock_moves_the_windows() -> None:
    live = windowed()
    live.miss(Reason.BUSY, at=10_000.0)
    live.shift(-5000.0)
    assert live.windows is not None
    assert live.windows.value(MISSED, 5000.0) == 1.0


@pytest.mark.parametrize(
    ("attempt", "outcome", "status", "recovered"),
    [
        (1, Outcome.OK, FRESH, 1),
        (0, Outcome.OK, FRESH, 0),
        (1, Outcome.FAIL, FRESH, 0),
        (1, Outcome.ERROR, FRESH, 0),
        (2, Outcome.OK, Status(warn=True), 0),
    ],
)
def test_a_second_look_that_finds_all_well_is_counted_where_nothing_was_raised(
    attempt: int, outcome: Outcome, status: Status, recovered: int
) -> None:
    live, run = Live(a_check()), replace(a_run(), attempt=attempt)
    live.observe(Verdict(a_run(), 90.0, Outcome.FAIL, Severity.FAIL), Result(Outcome.FAIL, 0.1), FRESH, BOUNDS)
    live.observe(Verdict(run, 100.0, outcome, Severity.OK), Result(outcome, 0.1), status, BOUNDS)
    assert live.recovered == recovered


def test_a_look_that_another_check_asked_for_is_no_recovery() -> None:
    live, run = Live(a_check()), replace(a_run(), attempt=1)
    for at in (90.0, 100.0):
        live.observe(Verdict(run, at, Outcome.OK, Severity.OK), Result(Outcome.OK, 0.1), FRESH, BOUNDS)
    assert live.recovered == 0

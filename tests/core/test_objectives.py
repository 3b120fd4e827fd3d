from __future__ import annotations

from math import floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartbeat.core.buckets import STEPS
from heartbeat.core.model import Outcome, Reason, Result, Severity
from heartbeat.core.objectives import DAY, HOUR, TABLE, Counted, Objective, budget_left, burning, lines_of, windows_of
from heartbeat.core.windows import Windows, is_exact, plan_windows

START = 1_795_000_000.0
OK = Result(Outcome.OK, 0.1)
BAD = Result(Outcome.FAIL, 0.1, Reason.STATUS, "no")


@pytest.mark.parametrize(
    ("days", "factors"), [(30, [14.4, 6.0, 1.0]), (7, [3.36, 1.4, 0.2333]), (90, [43.2, 18.0, 3.0])]
)
def test_the_burn_rates_are_those_of_the_workbook_and_scale_with_the_window(days: int, factors: list[float]) -> None:
    objective = Objective(0.999, days * DAY)
    assert [burn.factor(objective) for burn in TABLE] == pytest.approx(factors, rel=1e-3)


def test_the_pairs_of_windows_are_those_of_the_workbook() -> None:
    pairs = [(burn.long / HOUR, burn.short / 60, burn.severity) for burn in TABLE]
    assert pairs == [(1, 5, Severity.FAIL), (6, 30, Severity.FAIL), (72, 360, Severity.WARN)]
    assert [burn.share for burn in TABLE] == [0.02, 0.05, 0.1]


def test_a_rate_that_nothing_but_failures_would_not_reach_is_left_out() -> None:
    assert [burn.long for burn in lines_of(Objective(0.9))] == [6 * HOUR, 3 * DAY]
    assert [burn.long for burn in lines_of(Objective(0.999, 2 * DAY))] == [HOUR, 6 * HOUR]
    assert windows_of(Objective(0.9)) == (HOUR / 2, 6 * HOUR, 3 * DAY, 30 * DAY)


class Fixed:
    """Windows that say what they are told to say."""

    def __init__(self, **counted: tuple[int, int]) -> None:
        self.counted = counted

    def tally(self, window: float, at: float) -> Counted | None:
        found = self.counted.get(f"s{window:.0f}")
        return found and Counted(*found)


@pytest.mark.parametrize(
    ("long", "short", "burns"),
    [
        ((9856, 144), (985, 15), False),  # exactly 14.4 times does not exceed it
        ((9855, 145), (985, 15), True),
        ((9855, 145), (1000, 0), False),  # it is over
        ((10000, 0), (985, 15), False),  # it has just begun
        ((998, 2), (0, 2), False),  # fewer than three
        ((97, 3), (0, 3), True),
    ],
)
def test_both_windows_must_burn_and_a_few_failures_are_none(
    long: tuple[int, int], short: tuple[int, int], burns: bool
) -> None:
    found = burning(Fixed(s3600=long, s300=short), Objective(0.999), START)
    assert bool(found) is burns


@pytest.mark.parametrize(("failed", "burns"), [(10, False), (11, True)])
def test_a_rate_that_uses_up_just_its_share_does_not_burn(failed: int, burns: bool) -> None:
    windows = Fixed(s259200=(10_000 - failed, failed), s21600=(100, 100))
    assert bool(burning(windows, Objective(0.999), START)) is burns


def test_a_finding_says_how_fast_it_burns() -> None:
    (finding,) = burning(Fixed(s3600=(97, 3), s300=(5, 5)), Objective(0.999), START)
    assert (finding.limit, finding.severity) == ("burn rate 1h", Severity.FAIL)
    assert f"{finding.limit} is {finding.observed}, {finding.expected}" == (
        "burn rate 1h is 30 (500 in 5m), at most 14.4 allowed"
    )


@pytest.mark.parametrize(("counted", "left"), [((1000, 0), 1.0), ((9995, 5), 0.5), ((998, 2), -1.0)])
def test_the_budget_left(counted: tuple[int, int], left: float) -> None:
    assert budget_left(Fixed(s2592000=counted), Objective(0.999), START) == pytest.approx(left)


def windows_for(objective: Objective, interval: float | None) -> Windows:
    plan = plan_windows((), objective, interval)
    assert plan is not None
    return Windows(plan)


@pytest.mark.parametrize("interval", [30.0, None])
def test_a_failure_after_the_start_takes_from_the_budget_of_the_whole_window(interval: float | None) -> None:
    objective = Objective(0.999)
    windows = windows_for(objective, interval)
    assert budget_left(windows, objective, START) is None
    for number in range(10):
        windows.take(START + 30 * number, Outcome.OK, OK)
    windows.take(START + 300, Outcome.FAIL, BAD)
    assert budget_left(windows, objective, START + 300) == pytest.approx(1 - 1 / 86.4, abs=1e-4)


class Direct:
    """The same from all runs there ever were."""

    def __init__(self, runs: list[tuple[float, bool]], interval: float) -> None:
        self.runs, self.interval = runs, interval

    def rate(self, window: float, at: float, budget: float) -> tuple[int, float] | None:
        width = window / STEPS
        exact = is_exact(window, self.interval)
        inside = [
            good
            for when, good in self.runs
            if (at - window < when if exact else floor(when / width) >= floor((at - window) / width))
        ]
        if not inside:
            return None
        unseen = max(0.0, window - (at - self.runs[0][0])) / self.interval
        failed = inside.count(False)
        return failed, failed / (len(inside) + unseen) / budget

    def burning(self, objective: Objective, at: float) -> list[str]:
        table = [("1h", HOUR, 300.0, 14.4), ("6h", 6 * HOUR, 1800.0, 6.0), ("3d", 3 * DAY, 6 * HOUR, 1.0)]
        found = []
        for name, long_window, short_window, factor in table:
            long = self.rate(long_window, at, 1 - objective.availability)
            short = self.rate(short_window, at, 1 - objective.availability)
            if long and short and long[0] >= objective.failures and min(long[1], short[1]) > factor + 1e-9:
                found.append(f"burn rate {name}")
        return found


STRETCHES = st.lists(st.tuples(st.integers(1, 60), st.sampled_from([0.0, 0.0, 0.02, 0.2, 1.0])), min_size=1, max_size=9)


@settings(deadline=None, max_examples=40)
@given(STRETCHES, st.sampled_from([30.0, 300.0, 1800.0]), st.sampled_from([0.999, 0.995]), st.randoms())
def test_the_table_holds_against_a_direct_computation(
    stretches: list[tuple[int, float]], interval: float, availability: float, random: object
) -> None:
    objective = Objective(availability)
    windows, direct, at = windows_for(objective, interval), Direct([], interval), START
    for length, share in stretches:
        for _ in range(length):
            at += interval
            good = random.random() >= share  # type: ignore[attr-defined]  # Hypothesis' own, a random.Random
            windows.take(at, Outcome.OK if good else Outcome.FAIL, OK if good else BAD)
            direct.runs.append((at, good))
            assert [burn.limit for burn in burning(windows, objective, at)] == direct.burning(objective, at)

"""Windows beside a model that keeps the whole history and computes everything anew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import ceil, floor, isfinite
from statistics import fmean
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from heartbeat.core.buckets import STEPS
from heartbeat.core.limits import Bound, Limit
from heartbeat.core.model import Outcome, Reason, Result, Severity
from heartbeat.core.objectives import Objective
from heartbeat.core.windows import Windows, is_exact, plan_windows

HOUR, DAY = 3600.0, 86400.0
INTERVAL = 30.0
START = 1_795_000_000.0
EDGE = 0.5
OF_VALUES = ("min", "max", "mean", "p50", "p95", "p99.9", "rate", "delta")
LENGTHS = (600.0, HOUR, 6 * HOUR, DAY)


def limit_on(aggregate: str, measure: str, window: float, **more: Any) -> Limit:
    return Limit(measure, (Bound(Severity.WARN, above=EDGE),), "", aggregate, window, **more)


LIMITS = tuple(
    limit_on(aggregate, measure, window)
    for window in LENGTHS
    for aggregate, measure in [
        *((aggregate, measure) for aggregate in OF_VALUES for measure in ("duration", "phase.tls", "depth")),
        ("availability", ""),
        *(("count", outcome.value) for outcome in Outcome),
    ]
)


@dataclass
class Past:
    at: float
    outcome: Outcome
    result: Result | None


@dataclass
class Model:
    """All that ever happened. ``stepped`` is by how much the clock was stepped: buckets keep their edges."""

    runs: list[Past] = field(default_factory=list)
    stepped: float = 0.0

    def within(self, window: float, at: float) -> Iterator[Past]:
        width = window / STEPS
        for run in self.runs:
            if is_exact(window, INTERVAL):
                inside = at - window < run.at <= at
            else:
                inside = floor((run.at - self.stepped) / width) >= floor((at - window - self.stepped) / width)
            if inside:
                yield run

    def samples(self, limit: Limit, at: float) -> list[tuple[float, float]]:
        return [
            (run.at, value)
            for run in self.within(limit.window, at)
            if run.result is not None and (value := self.sample(limit, run.outcome, run.result)) is not None
        ]

    @staticmethod
    def sample(limit: Limit, outcome: Outcome, result: Result) -> float | None:
        if limit.measure == "depth":
            value = result.measurements.get("depth")
            is_one = value is not None and isfinite(value) and outcome in (Outcome.OK, Outcome.FAIL)
            return value if is_one else None
        value = result.duration if limit.measure == "duration" else result.phases.get("tls")
        if value is None or outcome is not Outcome.OK or value - result.lag <= EDGE < value:
            return None
        return value

    def value(self, limit: Limit, at: float) -> float | None:
        runs = list(self.within(limit.window, at))
        if limit.aggregate == "count":
            return float(sum(run.outcome == limit.measure for run in runs)) if self.runs else None
        if limit.aggregate == "availability":
            judged = [run.outcome is Outcome.OK for run in runs if run.outcome in (Outcome.OK, Outcome.FAIL)]
            return fmean(judged) if judged else None
        found = self.samples(limit, at)
        return self.fold(limit.aggregate, found) if found else None

    @staticmethod
    def fold(aggregate: str, found: list[tuple[float, float]]) -> float | None:
        values = [value for _, value in found]
        if aggregate in ("rate", "delta"):
            if len(values) < 2:
                return None
            if aggregate == "delta":
                return values[-1] - values[0]
            took = found[-1][0] - found[0][0]
            grew = sum(b - a if b >= a else b for a, b in pairwise(values))
            return grew / took
        if aggregate in ("min", "max"):
            return min(values) if aggregate == "min" else max(values)
        if aggregate == "mean":
            return fmean(values)
        share = float(aggregate[1:]) / 100
        return sorted(values)[max(1, ceil(share * len(values) - 1e-9)) - 1]


OUTCOMES = st.sampled_from([Outcome.OK] * 5 + [Outcome.FAIL, Outcome.ERROR, Outcome.MISSED])
GAPS = st.sampled_from([30.0, 30.0, 30.25, 60.0, 599.75, 600.0, 1800.0, 7200.0, 90000.0])
DEPTHS = st.none() | st.integers(-50, 1000).map(float) | st.just(float("nan"))
SECONDS = st.integers(1, 4000).map(lambda number: number / 1024)
RUNS = st.tuples(GAPS, OUTCOMES, SECONDS, DEPTHS, st.sampled_from([0.0, 0.0, 0.25]))
STEPPED = st.sampled_from([-DAY, -30.25, 0.5, 3600.0]).map(lambda seconds: ("shift", seconds))
DEEDS = st.lists(RUNS | STEPPED | st.just(("restart", 0.0)), min_size=1, max_size=40)


def result_of(outcome: Outcome, seconds: float, depth: float | None, lag: float) -> Result | None:
    if outcome is Outcome.MISSED:
        return None
    reason = None if outcome is Outcome.OK else Reason.CONNECT
    measurements = {} if depth is None else {"depth": depth}
    return Result(outcome, seconds, reason, measurements=measurements, phases={"tls": seconds / 2}, lag=lag)


def assert_alike(windows: Windows, model: Model, at: float) -> None:
    for limit in LIMITS:
        found, expected = windows.value(limit, at), model.value(limit, at)
        if expected is None or is_exact(limit.window, INTERVAL):
            about = expected if limit.aggregate not in ("mean", "rate", "availability") else pytest.approx(expected)
            assert found == (None if expected is None else about), limit.name
        else:
            assert found == pytest.approx(expected, rel=0.01, abs=1e-8), limit.name


@settings(deadline=None)
@given(DEEDS)
def test_every_window_agrees_with_the_whole_history(deeds: list[Any]) -> None:
    plan = plan_windows(LIMITS, None, INTERVAL)
    assert plan is not None
    windows, model, now = Windows(plan), Model(), START
    for deed in deeds:
        if deed[0] == "shift":
            now += deed[1]
            windows.shift(deed[1])
            model.stepped += deed[1]
            model.runs = [replace(run, at=run.at + deed[1]) for run in model.runs]
        elif deed[0] == "restart":
            windows = Windows.load(plan, windows.dump())
        else:
            gap, outcome, seconds, depth, lag = deed
            now += gap
            result = result_of(outcome, seconds, depth, lag)
            windows.take(now, outcome, result)
            model.runs.append(Past(now, outcome, result))
        assert_alike(windows, model, now)


@settings(deadline=None, max_examples=20)
@given(st.lists(SECONDS, min_size=300, max_size=300), st.sampled_from([30.0, 7.5, 5.0]))
def test_a_full_hour_agrees_with_the_whole_history(seconds: list[float], interval: float) -> None:
    limits = tuple(limit_on(aggregate, "duration", HOUR) for aggregate in OF_VALUES)
    plan = plan_windows(limits, None, interval)
    assert plan is not None
    windows, times = Windows(plan), [START + number * interval for number in range(900)]
    past = list(zip(times, seconds * 3, strict=True))
    for at, value in past:
        windows.take(at, Outcome.OK, Result(Outcome.OK, value))
    now = times[-1]
    if is_exact(HOUR, interval):
        inside = [(at, value) for at, value in past if at > now - HOUR]
    else:
        inside = [(at, value) for at, value in past if floor(at / 36) >= floor((now - HOUR) / 36)]
    for limit in limits:
        assert windows.value(limit, now) == pytest.approx(Model.fold(limit.aggregate, inside), rel=0.01), limit.name


@pytest.mark.parametrize(
    ("window", "interval", "exact"),
    [(HOUR, 30.0, True), (HOUR, 7.1, True), (HOUR, 7.0, False), (HOUR + 1, 30.0, False), (HOUR, None, True)],
)
def test_up_to_an_hour_and_512_samples_are_exact(window: float, interval: float | None, exact: bool) -> None:
    assert is_exact(window, interval) is exact


def test_nearly_all_checks_need_no_windows() -> None:
    assert plan_windows((Limit("duration", (Bound(Severity.FAIL, above=2.0),), "s"),), None, 30.0) is None
    assert plan_windows((), None, None) is None


def test_windows_of_one_measure_share_their_samples() -> None:
    limits = (limit_on("p95", "duration", 600.0), limit_on("max", "duration", HOUR), limit_on("min", "depth", 600.0))
    plan = plan_windows(limits, None, 30.0)
    assert plan is not None
    assert [(need.measure, need.seconds) for need in plan.needs] == [("duration", HOUR), ("depth", 600.0)]
    assert plan.reach == HOUR


def test_the_same_limits_have_the_same_plan() -> None:
    assert plan_windows((limit_on("p95", "duration", 600.0),), None, 30.0) is plan_windows(
        (limit_on("p95", "duration", 600.0),), None, 30.0
    )


def windows_of(*limits: Limit, objective: Objective | None = None, interval: float = INTERVAL) -> Windows:
    plan = plan_windows(limits, objective, interval)
    assert plan is not None
    return Windows(plan)


class TestFewSamples:
    def test_a_window_without_samples_has_no_value(self) -> None:
        windows = windows_of(*LIMITS)
        assert {windows.value(limit, START) for limit in LIMITS} == {None}

    def test_a_single_sample_is_every_quantile_of_itself(self) -> None:
        limit = limit_on("p95", "duration", 600.0)
        windows = windows_of(limit)
        windows.take(START, Outcome.OK, Result(Outcome.OK, 0.25))
        assert windows.value(limit, START) == 0.25

    @pytest.mark.parametrize("window", [600.0, 6 * HOUR])
    @pytest.mark.parametrize("aggregate", [*OF_VALUES, "availability"])
    def test_a_limit_can_ask_for_more(self, aggregate: str, window: float) -> None:
        limit = limit_on(aggregate, "" if aggregate == "availability" else "duration", window, samples=3)
        windows = windows_of(limit)
        values = []
        for number in range(3):
            windows.take(START + number, Outcome.OK, Result(Outcome.OK, 0.25))
            values.append(windows.value(limit, START + number))
        assert values[:2] == [None, None]
        assert values[2] is not None

    @pytest.mark.parametrize("window", [600.0, 6 * HOUR])
    def test_too_few_are_counted_only_in_a_window_that_is_full(self, window: float) -> None:
        scarce = Limit("ok", (Bound(Severity.FAIL, below=3),), "", "count", window)
        windows = windows_of(scarce)
        windows.take(START, Outcome.OK, Result(Outcome.OK, 0.25))
        assert windows.value(scarce, START + window - 1) is None
        assert windows.value(scarce, START + window + window / 50) == 0.0


def test_a_counter_that_fell_began_anew() -> None:
    limit = limit_on("rate", "depth", 600.0)
    windows = windows_of(limit)
    for number, depth in enumerate((10.0, 20.0, 5.0, 15.0)):
        windows.take(START + 10 * number, Outcome.OK, Result(Outcome.OK, 0.1, measurements={"depth": depth}))
    assert windows.value(limit, START + 30) == pytest.approx((10 + 5 + 10) / 30)


class TestRefilling:
    def test_what_is_known_is_not_taken_twice(self) -> None:
        limits = (limit_on("mean", "duration", 600.0), limit_on("count", "ok", 600.0), limit_on("max", "duration", DAY))
        windows = windows_of(*limits)
        windows.take(START, Outcome.OK, Result(Outcome.OK, 0.25))
        for at, seconds in ((START - 60, 0.5), (START - 30, 0.75), (START, 0.25)):
            windows.refill(at, Outcome.OK, Result(Outcome.OK, seconds))
        assert [windows.value(limit, START) for limit in limits] == [0.5, 3.0, 0.25]

    def test_rechecks_are_in_no_window(self) -> None:
        windows = windows_of(*LIMITS)
        windows.take(START, Outcome.FAIL, Result(Outcome.FAIL, 0.25, Reason.STATUS), counts=False)
        windows.refill(START, Outcome.FAIL, Result(Outcome.FAIL, 0.25, Reason.STATUS), counts=False)
        assert {windows.value(limit, START) for limit in LIMITS} == {None}

    @pytest.mark.parametrize("window", [600.0, 6 * HOUR])
    def test_results_may_come_late(self, window: float) -> None:
        limit = limit_on("count", "ok", window)
        windows = windows_of(limit)
        for at in (START, START - window / 2, START - 5 * window):
            windows.take(at, Outcome.OK, Result(Outcome.OK, 0.25))
        assert windows.value(limit, START) == 2.0

    @pytest.mark.parametrize("window", [600.0, 6 * HOUR])
    def test_a_late_result_is_not_the_newest(self, window: float) -> None:
        limit = limit_on("delta", "depth", window)
        windows = windows_of(limit)
        for at, depth in ((0.0, 1.0), (60.0, 5.0), (30.0, 9.0)):
            windows.take(START + at, Outcome.OK, Result(Outcome.OK, 0.25, measurements={"depth": depth}))
        assert windows.value(limit, START + 60) == 4.0


class TestAnotherPlan:
    def test_what_fits_is_taken(self) -> None:
        p95, longer = limit_on("p95", "duration", 600.0), limit_on("p95", "duration", 1200.0)
        month, other = limit_on("max", "duration", DAY), limit_on("min", "duration", DAY)
        before = windows_of(p95, month)
        before.take(START, Outcome.OK, Result(Outcome.OK, 0.25))
        after = Windows.load(windows_of(longer, month, other).plan, before.dump())
        assert [after.value(limit, START) for limit in (longer, month, other)] == [0.25, 0.25, None]

    @settings(deadline=None)
    @example(10**15)
    @given(st.recursive(st.none() | st.integers() | st.text(max_size=9), lambda inner: st.lists(inner, max_size=4)))
    def test_nothing_that_was_saved_can_do_harm(self, broken: Any) -> None:
        windows = windows_of(*LIMITS)
        windows.take(START, Outcome.OK, Result(Outcome.OK, 0.25, measurements={"depth": 3.0}))
        saved = json.loads(windows.dump())
        for text in (
            json.dumps(broken),
            str(broken),
            json.dumps(dict.fromkeys(saved, broken)),
            json.dumps({name: dict.fromkeys(part, broken) for name, part in saved.items()}),
            json.dumps({name: {**part, **dict.fromkeys(list(part)[-1:], broken)} for name, part in saved.items()}),
        ):
            loaded = Windows.load(windows.plan, text)
            loaded.take(START + 30, Outcome.OK, Result(Outcome.OK, 0.25, measurements={"depth": 3.0}))
            for limit in LIMITS:
                loaded.value(limit, START + 30)

    def test_another_interval_may_count_in_smaller_numbers(self) -> None:
        limit = limit_on("count", "ok", 30 * DAY)
        before = windows_of(limit, interval=1.0)
        for number in range(1000):
            before.take(START + number, Outcome.OK, None)
        after = Windows.load(windows_of(limit, interval=HOUR).plan, before.dump())
        assert before.value(limit, START + 1000) == 1000
        assert after.value(limit, START + 1000) == 255


def test_a_counter_that_is_full_stays_so() -> None:
    limit = limit_on("count", "ok", 30 * DAY)
    windows = windows_of(limit, interval=HOUR)
    for number in range(300):
        windows.take(START + number, Outcome.OK, None)
    assert windows.value(limit, START + 300) == 255


def test_a_long_silence_costs_nothing() -> None:
    windows = windows_of(*LIMITS, objective=Objective(0.999))
    windows.take(0.0, Outcome.OK, Result(Outcome.OK, 0.25))
    windows.take(START, Outcome.OK, Result(Outcome.OK, 0.5))
    assert windows.value(limit_on("max", "duration", DAY), START) == 0.5
    assert len(windows.dump()) < 40_000

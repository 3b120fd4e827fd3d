from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.core.judge import NOT_KNOWN, NOT_MEASURED, Held, judge, weigh
from heartbeat.core.limits import Bound, Limit
from heartbeat.core.model import Finding, Outcome, Reason, Result, Run, Severity
from heartbeat.core.objectives import Objective
from heartbeat.core.windows import Windows, plan_windows

RUN = Run("run_1", "shop", 1000.0, 0, 1000.0, 10.0)
SLOW = Limit("duration", (Bound(Severity.WARN, above=0.8), Bound(Severity.FAIL, above=2.0)), "s")
STICKY = Limit("duration", (Bound(Severity.FAIL, above=2.0, clear_above=1.5),), "s")
DEPTH = Limit("depth", (Bound(Severity.FAIL, above=5, clear_above=3),))
P95 = Limit("duration", (Bound(Severity.WARN, above=0.5),), "s", "p95", 600.0)
HELD = (("duration", Severity.FAIL),)
NOTHING_HELD: Held = ()


def ok(duration: float = 0.1, lag: float = 0.0, **measurements: float) -> Result:
    return Result(Outcome.OK, duration, measurements=measurements, phases={"tls": duration / 2}, lag=lag)


def failed(duration: float = 0.001, **measurements: float) -> Result:
    return Result(Outcome.FAIL, duration, Reason.CONNECT, "connection refused", measurements=measurements)


def windows_for(*limits: Limit, objective: Objective | None = None) -> Windows:
    plan = plan_windows(limits, objective, 30.0)
    assert plan is not None
    return Windows(plan)


@pytest.mark.parametrize(
    ("duration", "severity"),
    [(0.8, Severity.OK), (0.81, Severity.WARN), (2.0, Severity.WARN), (2.1, Severity.FAIL)],
)
def test_a_value_on_the_bound_holds_and_the_worst_bound_counts(duration: float, severity: Severity) -> None:
    verdict = judge(RUN, ok(duration), (SLOW,), 1000.0)
    assert verdict.severity is severity
    assert verdict.outcome is Outcome.OK
    assert verdict.reason is (Reason.LIMIT if severity else None)


def test_the_sentence_says_what_is_allowed_and_what_was_seen() -> None:
    verdict = judge(RUN, ok(2.5), (SLOW,), 1000.0)
    assert verdict.sentence == "duration is 2.5 s, at most 2 s allowed"


def test_a_value_that_is_written_like_its_bound_is_said_to_be_rounded() -> None:
    assert judge(RUN, ok(0.80001), (SLOW,), 1000.0).sentence == "duration is 800 ms (rounded), at most 800 ms allowed"


def test_a_bad_target_keeps_its_own_reason() -> None:
    result = Result(Outcome.FAIL, 5.0, Reason.STATUS, "it answered 500")
    verdict = judge(RUN, result, (SLOW,), 1000.0)
    assert (verdict.severity, verdict.reason, verdict.sentence) == (Severity.FAIL, Reason.STATUS, "it answered 500")
    assert verdict.findings


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.MISSED])
def test_a_broken_check_is_held_against_no_limit(outcome: Outcome) -> None:
    verdict = judge(RUN, Result(outcome, 50.0, Reason.PLUGIN, "x"), (SLOW,), 1000.0, HELD)
    assert verdict.outcome is outcome
    assert verdict.findings == ()


def test_what_was_not_measured_breaks_no_limit() -> None:
    depth = Limit("depth", (Bound(Severity.FAIL, above=0, below=0),))
    assert judge(RUN, ok(), (depth,), 1000.0).severity is Severity.OK
    assert judge(RUN, ok(depth=1.0), (depth,), 1000.0).severity is Severity.FAIL


def test_phases_have_limits_too() -> None:
    limit = Limit("phase.tls", (Bound(Severity.WARN, above=0.1),), "s")
    assert judge(RUN, ok(0.4), (limit,), 1000.0).findings[0].observed == "200 ms"


class TestHolding:
    @pytest.mark.parametrize(("duration", "is_held"), [(2.0, True), (1.51, True), (1.5, False), (0.1, False)])
    def test_a_level_is_held_until_a_value_is_back_at_its_clear_value(self, duration: float, is_held: bool) -> None:
        assert (judge(RUN, ok(duration), (STICKY,), 1000.0, HELD).severity is Severity.FAIL) is is_held
        assert judge(RUN, ok(duration), (STICKY,), 1000.0).severity is Severity.OK

    def test_the_sentence_says_what_would_clear_it(self) -> None:
        verdict = judge(RUN, ok(1.7), (STICKY,), 1000.0, HELD)
        assert verdict.sentence == "duration is 1.7 s, cleared by at most 1.5 s"

    def test_a_range_is_cleared_within_both_of_its_clear_values(self) -> None:
        limit = Limit("depth", (Bound(Severity.WARN, above=100, below=10, clear_above=90, clear_below=20),))
        held = (("depth", Severity.WARN),)
        found = {depth: judge(RUN, ok(depth=depth), (limit,), 0.0, held).severity for depth in (15.0, 20.0, 90.0, 95.0)}
        assert found == {15.0: 1, 20.0: 0, 90.0: 0, 95.0: 1}

    def test_a_failure_eases_to_the_warning_that_is_held_below_it(self) -> None:
        bounds = (Bound(Severity.WARN, above=0.8, clear_above=0.6), Bound(Severity.FAIL, above=2.0, clear_above=1.5))
        limit = Limit("duration", bounds, "s")
        assert judge(RUN, ok(1.6), (limit,), 0.0, HELD).severity is Severity.FAIL
        assert judge(RUN, ok(0.7), (limit,), 0.0, HELD).severity is Severity.WARN
        assert judge(RUN, ok(0.6), (limit,), 0.0, HELD).severity is Severity.OK

    def test_without_a_clear_value_the_bound_itself_clears(self) -> None:
        limit = Limit("duration", (Bound(Severity.FAIL, above=2.0),), "s")
        assert judge(RUN, ok(2.0), (limit,), 0.0, HELD).severity is Severity.OK

    @pytest.mark.parametrize("measurements", [{}, {"depth": float("nan")}])
    def test_what_is_missing_or_no_number_clears_nothing(self, measurements: dict[str, float]) -> None:
        verdict = judge(RUN, ok(**measurements), (DEPTH,), 1000.0, (("depth", Severity.FAIL),))
        assert verdict.findings == (Finding("depth", Severity.FAIL, "cleared by at most 3", "not measured"),)
        assert verdict.sentence == "depth is not measured, cleared by at most 3"

    def test_the_time_of_a_failed_run_clears_nothing_but_what_it_measured_does(self) -> None:
        held = (*HELD, ("depth", Severity.FAIL))
        verdict = judge(RUN, failed(depth=1.0), (STICKY, DEPTH), 1000.0, held)
        assert [(found.limit, found.observed) for found in verdict.findings] == [("duration", "not measured")]

    def test_a_window_without_samples_clears_nothing(self) -> None:
        held = (("p95 duration 10m", Severity.WARN),)
        for windows in (windows_for(P95), None):
            (finding,) = judge(RUN, failed(), (P95,), 1000.0, held, windows).findings
            assert (finding.limit, finding.observed) == ("p95 duration 10m", "not measured")

    def test_a_limit_that_is_gone_holds_nothing(self) -> None:
        assert judge(RUN, ok(), (DEPTH,), 1000.0, HELD).severity is Severity.OK

    def test_a_level_that_is_gone_leaves_the_milder_one_held(self) -> None:
        limit = Limit("duration", (Bound(Severity.WARN, above=0.8, clear_above=0.6),), "s")
        assert judge(RUN, ok(0.7), (limit,), 1000.0, HELD).severity is Severity.WARN

    LEVEL = st.tuples(st.integers(1, 6), st.integers(0, 3))

    @given(LEVEL, LEVEL, st.lists(st.none() | st.integers(0, 12), max_size=30))
    def test_levels_are_latches_of_their_own(
        self, one: tuple[int, int], other: tuple[int, int], values: list[int | None]
    ) -> None:
        warn, fail = one[0], one[0] + other[0]
        clears = {Severity.WARN: warn - one[1], Severity.FAIL: fail - other[1]}
        bounds = (Bound(Severity.WARN, above=warn, clear_above=clears[Severity.WARN]),
                  Bound(Severity.FAIL, above=fail, clear_above=clears[Severity.FAIL]))  # fmt: skip
        limit, held = Limit("depth", bounds), NOTHING_HELD
        latches = dict.fromkeys(clears, False)
        for value in values:
            verdict = judge(RUN, ok(**({} if value is None else {"depth": float(value)})), (limit,), 0.0, held)
            held = tuple((finding.limit, finding.severity) for finding in verdict.findings)
            for level, bound in zip(latches, (warn, fail), strict=True):
                if value is not None:
                    latches[level] = value > bound or (latches[level] and value > clears[level])
            assert verdict.severity == max((level for level, is_set in latches.items() if is_set), default=Severity.OK)


class TestLag:
    @pytest.mark.parametrize(("lag", "distorted"), [(0.0, False), (0.4, False), (0.6, True), (1.8, True)])
    def test_a_time_that_it_pushed_over_its_bound_is_distorted(self, lag: float, distorted: bool) -> None:
        assert judge(RUN, ok(2.5, lag), (SLOW,), 1000.0).distorted is distorted

    def test_a_time_that_it_kept_from_clearing_is_distorted(self) -> None:
        assert judge(RUN, ok(1.7, 0.3), (STICKY,), 1000.0, HELD).distorted
        assert not judge(RUN, ok(1.7, 0.1), (STICKY,), 1000.0, HELD).distorted

    def test_it_does_not_distort_what_is_no_time(self) -> None:
        limit = Limit("depth", (Bound(Severity.FAIL, above=1),))
        assert not judge(RUN, ok(0.1, 9.0, depth=2.0), (limit,), 1000.0).distorted

    def test_a_timeout_during_which_we_stood_still_is_distorted(self) -> None:
        late = Result(Outcome.FAIL, 10.0, Reason.TIMEOUT, "no result", lag=1.5)
        assert judge(RUN, late, (), 1000.0).distorted
        assert not judge(RUN, replace(late, lag=0.2), (), 1000.0).distorted

    def test_no_window_takes_a_distorted_run(self) -> None:
        availability = Limit("", (Bound(Severity.FAIL, below=0.9),), "ratio", "availability", 600.0)
        windows = windows_for(availability)
        late = Result(Outcome.FAIL, 10.0, Reason.TIMEOUT, "no result", lag=1.5)
        assert judge(RUN, late, (availability,), 1000.0, (), windows).findings == ()
        assert windows.value(availability, 1000.0) is None


class TestWindows:
    def test_a_run_is_taken_in_before_its_windows_are_judged(self) -> None:
        windows = windows_for(P95)
        verdict = judge(RUN, ok(0.6), (P95,), 1000.0, (), windows)
        assert verdict.sentence == "p95 duration 10m is 600 ms, at most 500 ms allowed"
        assert (verdict.severity, verdict.reason) == (Severity.WARN, Reason.LIMIT)

    def test_a_recheck_is_in_no_window(self) -> None:
        windows = windows_for(P95)
        recheck = replace(RUN, attempt=1)
        assert judge(recheck, ok(0.6), (P95,), 1000.0, (), windows).findings == ()

    def test_what_is_held_over_time_is_cleared_over_time(self) -> None:
        limit = replace(P95, bounds=(Bound(Severity.WARN, above=0.5, clear_above=0.3),), aggregate="max")
        windows, held, seen = windows_for(limit), NOTHING_HELD, []
        for minute, duration in enumerate((0.6, 0.1, 0.4, *[0.1] * 20)):
            verdict = judge(RUN, ok(duration), (limit,), minute * 60.0, held, windows)
            held = tuple((finding.limit, finding.severity) for finding in verdict.findings)
            seen.append(int(verdict.severity))
        assert seen == [1] * 12 + [0] * 11  # 0.6 leaves after ten minutes, 0.4 after twelve

    def test_errors_are_counted_but_never_in_the_availability(self) -> None:
        errors = Limit("error", (Bound(Severity.WARN, above=1),), "", "count", 600.0)
        availability = Limit("", (Bound(Severity.FAIL, below=0.9),), "ratio", "availability", 600.0)
        windows = windows_for(errors, availability)
        for at in (0.0, 30.0):
            judge(RUN, Result(Outcome.ERROR, 0.1, Reason.PLUGIN, "x"), (errors, availability), at, (), windows)
        assert windows.value(availability, 30.0) is None
        verdict = judge(RUN, ok(), (errors, availability), 60.0, (), windows)
        assert verdict.sentence == "count error 10m is 2, at most 1 allowed"

    def test_the_objective_is_judged_beside_the_severity(self) -> None:
        windows = windows_for(objective=Objective(0.999))
        burns = [judge(RUN, failed(), (), 30.0 * number, (), windows).burns for number in range(4)]
        assert [len(found) for found in burns] == [0, 0, 1, 1]
        verdict = judge(RUN, ok(), (), 130.0, (), windows)
        assert (verdict.severity, verdict.findings) == (Severity.OK, ())
        assert [burn.severity for burn in verdict.burns] == [Severity.FAIL]


@given(st.floats(0, 10), st.floats(0, 10), st.lists(st.floats(0, 10), min_size=1, max_size=3))
def test_a_larger_value_is_never_judged_better(one: float, other: float, bounds: list[float]) -> None:
    limit = Limit("duration", tuple(Bound(Severity(1 + place % 2), above=bound) for place, bound in enumerate(bounds)))
    small, large = sorted((one, other))
    assert judge(RUN, ok(small), (limit,), 0.0).severity <= judge(RUN, ok(large), (limit,), 0.0).severity


def test_every_limit_is_weighed_for_people_also_those_that_hold() -> None:
    limits = (
        Limit("duration", (Bound(Severity.WARN, above=1.0), Bound(Severity.FAIL, above=2.0)), "s"),
        Limit("depth", (Bound(Severity.FAIL, below=5.0),)),
        Limit("width", (Bound(Severity.WARN, above=5.0),)),
        Limit("duration", (Bound(Severity.WARN, above=1.0),), "s", "p95", 600.0),
    )
    result = ok(1.5, depth=7)
    assert weigh(limits, result, judge(RUN, result, limits, 0.0)) == (
        Finding("duration", Severity.WARN, "at most 1 s (warn) and at most 2 s (fail)", "1.5 s"),
        Finding("depth", Severity.OK, "at least 5 (fail)", "7"),
        Finding("width", Severity.OK, "at most 5 (warn)", NOT_MEASURED),
        Finding("p95 duration 10m", Severity.OK, "at most 1 s (warn)", NOT_KNOWN),
    )


def test_of_an_error_no_limit_is_weighed() -> None:
    limits = (Limit("duration", (Bound(Severity.WARN, above=1.0),), "s"),)
    result = Result(Outcome.ERROR, 0.1, Reason.PLUGIN, "x")
    assert weigh(limits, result, judge(RUN, result, limits, 0.0)) == ()

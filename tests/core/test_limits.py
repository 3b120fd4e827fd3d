from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.core.limits import Bound, Limit, judge, show
from heartbeat.core.model import Outcome, Reason, Result, Run, Severity

RUN = Run("run_1", "shop", 1000.0, 0, 1000.0, 10.0)
SLOW = Limit("duration", (Bound(Severity.WARN, above=0.8), Bound(Severity.FAIL, above=2.0)), "s")


def ok(duration: float = 0.1, lag: float = 0.0, **measurements: float) -> Result:
    return Result(Outcome.OK, duration, measurements=measurements, phases={"tls": duration / 2}, lag=lag)


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


def test_a_bad_target_keeps_its_own_reason() -> None:
    result = Result(Outcome.FAIL, 5.0, Reason.STATUS, "it answered 500")
    verdict = judge(RUN, result, (SLOW,), 1000.0)
    assert (verdict.severity, verdict.reason, verdict.sentence) == (Severity.FAIL, Reason.STATUS, "it answered 500")
    assert verdict.findings


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.MISSED])
def test_a_broken_check_is_held_against_no_limit(outcome: Outcome) -> None:
    verdict = judge(RUN, Result(outcome, 50.0, Reason.PLUGIN, "x"), (SLOW,), 1000.0)
    assert verdict.outcome is outcome
    assert verdict.findings == ()


def test_what_was_not_measured_breaks_no_limit() -> None:
    depth = Limit("depth", (Bound(Severity.FAIL, above=0, below=0),))
    assert judge(RUN, ok(), (depth,), 1000.0).severity is Severity.OK
    assert judge(RUN, ok(depth=1.0), (depth,), 1000.0).severity is Severity.FAIL


def test_phases_have_limits_too() -> None:
    limit = Limit("phase.tls", (Bound(Severity.WARN, above=0.1),), "s")
    assert judge(RUN, ok(0.4), (limit,), 1000.0).findings[0].observed == "200 ms"


@pytest.mark.parametrize(("lag", "distorted"), [(0.0, False), (0.4, False), (0.6, True), (1.8, True)])
def test_a_time_that_our_own_lag_pushed_over_its_bound_is_distorted(lag: float, distorted: bool) -> None:
    assert judge(RUN, ok(2.5, lag), (SLOW,), 1000.0).distorted is distorted


def test_lag_does_not_distort_what_is_no_time() -> None:
    limit = Limit("depth", (Bound(Severity.FAIL, above=1),))
    assert not judge(RUN, ok(0.1, 9.0, depth=2.0), (limit,), 1000.0).distorted


def test_a_timeout_during_which_we_stood_still_is_distorted() -> None:
    late = Result(Outcome.FAIL, 10.0, Reason.TIMEOUT, "no result", lag=1.5)
    assert judge(RUN, late, (), 1000.0).distorted
    assert not judge(RUN, Result(Outcome.FAIL, 10.0, Reason.TIMEOUT, "no result", lag=0.2), (), 1000.0).distorted


@given(st.floats(0, 10), st.floats(0, 10), st.lists(st.floats(0, 10), min_size=1, max_size=3))
def test_a_larger_value_is_never_judged_better(one: float, other: float, bounds: list[float]) -> None:
    limit = Limit("duration", tuple(Bound(Severity(1 + place % 2), above=bound) for place, bound in enumerate(bounds)))
    small, large = sorted((one, other))
    assert judge(RUN, ok(small), (limit,), 0.0).severity <= judge(RUN, ok(large), (limit,), 0.0).severity


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.85, "s", "850 ms"), (2.5, "s", "2.5 s"), (65536, "B", "64 KiB"), (0.995, "ratio", "99.5 %"), (12, "", "12")],
)
def test_values_are_written_as_a_person_would(value: float, unit: str, text: str) -> None:
    assert show(value, unit) == text

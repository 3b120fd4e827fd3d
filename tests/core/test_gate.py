from __future__ import annotations

from dataclasses import replace

import pytest

from heartbeat.core.gate import Assessment, Grade, Look, Required, assess, is_measured, worst
from heartbeat.core.limits import Bound, Limit
from heartbeat.core.model import Finding, Outcome, Reason, Result, Run, Severity, Verdict

WORDS = {
    "ok": (Outcome.OK, Severity.OK, None),
    "warn": (Outcome.OK, Severity.WARN, Reason.LIMIT),
    "slow": (Outcome.OK, Severity.FAIL, Reason.LIMIT),
    "fail": (Outcome.FAIL, Severity.FAIL, Reason.STATUS),
    "error": (Outcome.ERROR, Severity.OK, Reason.PLUGIN),
    "missed": (Outcome.MISSED, Severity.OK, Reason.BUSY),
}


def looks(words: str, took: float = 0.1) -> list[Look]:
    """Return attempts, a second apart: ``fail+ok`` is one run whose second look was good, ``~fail`` is distorted."""
    found: list[Look] = []
    for number, word in enumerate(words.split()):
        for attempt, one in enumerate(word.split("+")):
            outcome, severity, reason = WORDS[one.removeprefix("~")]
            run = Run(f"run_{number}_{attempt}", "shop", float(number), attempt, float(number), 5.0)
            sentence = f"{one} of run {number}" if reason else ""
            verdict = Verdict(run, number + attempt / 10, outcome, severity, reason, sentence, distorted=one[0] == "~")
            result = Result(
                outcome,
                took * (number + 1),
                reason,
                sentence,
                measurements={"hits": float(number)},
                lag=1.0 if verdict.distorted else 0.0,
            )
            found.append(Look(verdict, result))
    return found


def assessed(words: str, share: float = 1.0, *whole: Limit) -> Assessment:
    return assess(looks(words), Required(share, whole=whole), 1.0)


@pytest.mark.parametrize(
    ("words", "share", "grade"),
    [
        ("ok", 1.0, Grade.PASSED),
        ("ok ok warn", 1.0, Grade.WARNED),
        ("fail", 1.0, Grade.FAILED),
        ("slow", 1.0, Grade.FAILED),
        ("ok fail", 1.0, Grade.FAILED),
        ("ok fail", 0.5, Grade.PASSED),
        ("ok fail fail", 0.5, Grade.FAILED),
        ("fail+ok", 1.0, Grade.PASSED),
        ("fail+fail", 1.0, Grade.FAILED),
        ("error", 1.0, Grade.BROKEN),
        ("error", 0.01, Grade.BROKEN),
        ("missed ok", 1.0, Grade.BROKEN),
        ("ok error", 1.0, Grade.BROKEN),
        ("ok error", 0.5, Grade.PASSED),
        ("~fail", 1.0, Grade.BROKEN),
        ("ok ~fail", 1.0, Grade.BROKEN),
        ("~warn", 1.0, Grade.PASSED),
        ("error fail", 1.0, Grade.FAILED),
        ("error error error ok fail", 0.5, Grade.BROKEN),
    ],
)
def test_a_gate_tells_a_bad_target_from_a_bad_check(words: str, share: float, grade: Grade) -> None:
    assert assessed(words, share).grade is grade


def test_a_share_is_reached_where_it_is_met_exactly() -> None:
    assert assessed("ok " * 99 + "fail", 0.99).grade is Grade.PASSED
    assert assessed("ok " * 98 + "fail fail", 0.99).grade is Grade.FAILED


def test_no_run_proves_nothing() -> None:
    assert assess([], Required(), 1.0).grade is Grade.BROKEN


def test_the_sentence_of_one_run_stands_alone_and_of_several_with_their_number() -> None:
    assert assessed("fail").sentence == "fail of run 0"
    assert assessed("ok fail fail ok").sentence == "2 of 4 runs failed, the last: fail of run 2"
    assert assessed("ok error").sentence == "1 of 2 runs said nothing of the target, the last: error of run 1"
    assert assessed("~fail").sentence == "distorted by 1 s of our own lag: ~fail of run 0"


def test_the_look_that_shows_what_is_wrong_is_the_latest_bad_one() -> None:
    shown = assessed("fail error fail ok error").shown
    assert shown is not None
    assert shown.verdict.sentence == "fail of run 2"


def test_runs_are_counted_by_their_last_look_and_second_looks_told() -> None:
    found = assessed("ok fail+ok fail+fail error", 0.1)
    assert (found.runs, found.good, found.bad, found.recovered) == (4, 2, 1, 1)
    assert found.notes == ("1 of 4 runs good at a second look only",)


def test_a_warning_that_was_looked_at_twice_did_not_recover() -> None:
    assert assessed("warn+warn").recovered == 0


P95 = Limit(
    "duration",
    (Bound(Severity.WARN, above=0.45), Bound(Severity.FAIL, above=0.95)),
    "s",
    "p95",
    3600.0,
    key="p95 duration",
)


def test_a_limit_holds_over_all_runs() -> None:
    assert assessed("ok ok ok ok", 1.0, P95).grade is Grade.PASSED
    warned = assessed("ok ok ok ok ok", 1.0, P95)
    assert (warned.grade, warned.sentence) == (Grade.WARNED, "p95 duration is 500 ms, at most 450 ms allowed")
    failed = assessed("ok " * 11, 1.0, P95)
    assert (failed.grade, failed.shown) == (Grade.FAILED, None)
    assert failed.findings == (Finding("p95 duration", Severity.FAIL, "at most 950 ms allowed", "1.1 s"),)


def test_availability_counts_first_looks_where_a_share_counts_the_last() -> None:
    limit = Limit("", (Bound(Severity.FAIL, below=0.99),), "ratio", "availability", 3600.0, key="availability")
    assert assessed("ok fail+ok").grade is Grade.PASSED
    found = assessed("ok fail+ok", 1.0, limit)
    assert (found.grade, found.sentence) == (Grade.FAILED, "availability is 50 %, at least 99 % allowed")


def test_all_runs_count_also_when_they_take_longer_than_an_hour() -> None:
    long = [replace(look, verdict=replace(look.verdict, at=look.verdict.at * 600)) for look in looks("ok " * 11)]
    [finding] = assess(long, Required(whole=(P95,)), 600.0).findings
    assert finding.severity is Severity.FAIL
    limit = Limit("fail", (Bound(Severity.FAIL, above=0.0),), "", "count", 3600.0, key="count fail")
    bad = [
        replace(look, verdict=replace(look.verdict, at=look.verdict.at * 600)) for look in looks("fail " + "ok " * 20)
    ]
    [finding] = assess(bad, Required(0.5, whole=(limit,)), 600.0).findings
    assert finding.observed == "1"


def test_what_is_found_otherwise_counts_too() -> None:
    finding = Finding("the median duration", Severity.WARN, "was 10 ms", "90 ms")
    found = assess(looks("ok"), Required(), 1.0, (finding,))
    assert (found.grade, found.sentence) == (Grade.WARNED, "the median duration is 90 ms, was 10 ms")


def test_only_what_good_first_looks_measured_is_spread() -> None:
    found = assessed("fail ok ~ok error+ok ok", 0.1).measured
    assert found is not None
    assert (found["duration"].n, found["hits"].p95) == (2, 4.0)
    assert found["duration"].p50 == pytest.approx(0.2)


def test_a_limit_that_nothing_was_held_against_is_known() -> None:
    mean = Limit("hits", (Bound(Severity.FAIL, above=1.0),), "", "mean", 3600.0)
    assert is_measured(mean, looks("ok"), 1.0)
    assert not is_measured(replace(mean, measure="hitz"), looks("ok"), 1.0)
    assert not is_measured(replace(mean, aggregate="rate"), looks("ok"), 1.0)
    assert is_measured(replace(mean, window=0.0), looks("ok"), 1.0)
    assert not is_measured(replace(mean, window=0.0, measure="hitz"), looks("ok"), 1.0)
    assert not is_measured(mean, [], 1.0)


def test_of_several_a_bad_target_counts_first() -> None:
    assert worst([Grade.PASSED, Grade.BROKEN, Grade.FAILED]) is Grade.FAILED
    assert worst([Grade.WARNED, Grade.BROKEN]) is Grade.BROKEN
    assert worst([]) is Grade.PASSED


def test_a_limit_whose_values_our_own_lag_could_have_made_proves_nothing() -> None:
    lagging = [replace(look, result=replace(look.result, lag=10.0)) for look in looks("ok", took=0.5)]
    found = assess(lagging, Required(whole=(P95,)), 1.0)
    assert (found.grade, found.sentence) == (Grade.BROKEN, "p95 duration has no value in these runs")


def test_a_check_that_does_not_measure_something_is_not_held_against_it() -> None:
    limit = Limit("hitz", (Bound(Severity.FAIL, above=1.0),), "", "mean", 3600.0, key="mean hitz")
    assert assessed("ok ok", 1.0, limit).grade is Grade.PASSED

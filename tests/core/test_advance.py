from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from heartbeat.core import advance as advancing
from heartbeat.core.advance import (
    DISTORTED_IN_A_ROW,
    STALE_INTERVALS,
    Absence,
    Removal,
    Taken,
    advance,
    is_steady,
    needs_recheck,
)
from heartbeat.core.model import Event, Finding, Kind, Outcome, Reason, Run, Severity, Track, Verdict
from heartbeat.core.passing import Tick
from heartbeat.core.policy import Flapping, Latch, Policy
from heartbeat.core.status import FRESH, Acknowledgement, Status, incidents, shift

EVERY = 10.0
STATUS = TypeAdapter(Status)
WORDS = {
    "ok": (Outcome.OK, Severity.OK),
    "warn": (Outcome.OK, Severity.WARN),
    "fail": (Outcome.FAIL, Severity.FAIL),
    "error": (Outcome.ERROR, Severity.OK),
    "missed": (Outcome.MISSED, Severity.OK),
}


def verdict(word: str, at: float, *, distorted: bool = False, attempt: int = 0) -> Verdict:
    outcome, severity = WORDS[word]
    reason = {"ok": None, "warn": Reason.LIMIT, "fail": Reason.STATUS, "error": Reason.PLUGIN, "missed": Reason.LATE}[
        word
    ]
    run = Run("run_1", "shop", at, attempt, at, 5.0)
    return Verdict(run, at, outcome, severity, reason, "" if word == "ok" else f"it was {word}", distorted=distorted)


def live(words: str | list[str], policy: Policy, status: Status = FRESH) -> tuple[Status, list[Event]]:
    """Run a story, one word per run; ``~fail`` is a distorted one, ``tick`` lets time pass."""
    told: list[Event] = []
    for step, word in enumerate(words.split() if isinstance(words, str) else words):
        at = 1000.0 + step * EVERY
        change = Tick("shop") if word == "tick" else verdict(word.lstrip("~"), at, distorted=word.startswith("~"))
        status, events = advance(status, change, policy, at)
        told.extend(events)
    return status, told


def kinds(told: list[Event]) -> list[str]:
    return [event.kind.value for event in told]


def test_a_first_failure_raises_and_a_first_success_resolves() -> None:
    status, told = live("ok fail fail ok ok", Policy())
    assert kinds(told) == ["raised", "resolved"]
    assert status.severity is Severity.OK
    assert status.incident is None
    assert told[0].incident == told[1].incident
    assert [event.sequence for event in told] == [1, 2]


def test_two_of_three_raise_and_two_in_a_row_clear() -> None:
    policy = Policy(Latch(raise_=2, window=3, clear=2), Latch(raise_=2, window=3, clear=2))
    _, told = live("fail ok fail ok fail ok ok", policy)
    assert kinds(told) == ["raised", "resolved"]
    assert told[0].at == 1020.0
    assert told[1].at == 1060.0


def test_since_is_when_the_trouble_was_first_seen_not_when_it_was_raised() -> None:
    _, told = live(
        "fail ok fail fail ok ok", Policy(Latch(raise_=2, window=2, clear=2), Latch(raise_=2, window=2, clear=2))
    )
    assert [(event.at, event.since) for event in told] == [(1030.0, 1020.0), (1050.0, 1020.0)]


def test_a_warning_that_grows_is_raised_again_in_the_same_incident_and_eases() -> None:
    _, told = live("warn fail warn ok", Policy())
    assert kinds(told) == ["raised", "raised", "eased", "resolved"]
    assert len({event.incident for event in told}) == 1
    assert [(event.was, event.severity) for event in told] == [(0, 1), (1, 2), (2, 1), (1, 0)]


@pytest.mark.parametrize("word", ["error", "missed", "~ok", "~fail"])
def test_only_a_success_clears_a_failure(word: str) -> None:
    status, told = live(f"fail {word} {word}", Policy())
    assert kinds(told) == ["raised"]
    assert status.severity is Severity.FAIL


def test_errors_have_a_track_of_their_own() -> None:
    status, told = live("ok error error error error", Policy())
    assert kinds(told) == ["check_broken"]
    assert status.broken
    assert status.severity is Severity.OK
    assert status.up is True
    status, more = live("fail", Policy(), status)
    assert kinds(more) == ["check_repaired", "raised"]
    assert more[0].incident == told[0].incident != more[1].incident


def test_a_distorted_verdict_raises_nothing_until_our_own_machine_is_the_problem() -> None:
    status, told = live(["~fail"] * (DISTORTED_IN_A_ROW - 1), Policy(broken=Latch()))
    assert told == []
    status, told = live("~fail", Policy(broken=Latch()), status)
    assert kinds(told) == ["check_broken"]
    assert told[0].reason is Reason.RESOURCE
    assert status.severity is Severity.OK


def test_reminders_come_when_they_are_asked_for_and_not_once_it_is_over() -> None:
    policy = Policy(remind=25.0)
    status, told = live("fail tick tick tick tick ok tick tick tick tick", policy)
    assert kinds(told) == ["raised", "reminder", "resolved"]
    assert told[1].at == 1030.0
    assert status.wake_at is None


def test_verdicts_from_before_a_long_silence_do_not_decide() -> None:
    policy = Policy(Latch(raise_=2, window=2), Latch(raise_=2, window=2), interval=EVERY)
    status, _ = advance(FRESH, verdict("fail", 1000.0), policy, 1000.0)
    long_after = 1000.0 + STALE_INTERVALS * 2 * EVERY + 1
    status, told = advance(status, verdict("fail", long_after), policy, long_after)
    assert told == ()
    _, told = advance(status, verdict("fail", long_after + EVERY), policy, long_after + EVERY)
    assert kinds(list(told)) == ["raised"]


def test_trouble_from_before_a_long_silence_is_not_when_this_one_began() -> None:
    policy = Policy(Latch(2, 3), Latch(2, 3), interval=EVERY)
    status, _ = advance(FRESH, verdict("fail", 1000.0), policy, 1000.0)
    for at in (5000.0, 5010.0):
        status, told = advance(status, verdict("fail", at), policy, at)
    assert [(event.kind, event.since) for event in told] == [(Kind.RAISED, 5000.0)]


def test_taking_a_check_away_withdraws_what_is_open() -> None:
    status, _ = live("fail error error error", Policy())
    status, told = advance(status, Removal("shop"), Policy(), 2000.0)
    assert kinds(list(told)) == ["withdrawn", "withdrawn"]
    assert len({event.incident for event in told}) == 2
    assert status == replace(FRESH, events=status.events)
    assert advance(FRESH, Removal("shop"), Policy(), 2000.0)[1] == ()


def test_a_slot_that_a_stepped_clock_repeats_makes_another_event() -> None:
    status, first = live("fail ok", Policy())
    _, second = live("fail ok", Policy(), status)
    assert not {event.id for event in first} & {event.id for event in second}


def test_deciding_twice_makes_the_same_event() -> None:
    assert live("ok fail", Policy()) == live("ok fail", Policy())


@pytest.mark.parametrize(
    ("words", "attempt", "wanted"), [("fail", 0, True), ("fail", 2, True), ("fail", 3, False), ("ok", 0, False)]
)
def test_a_recheck_is_wanted_while_the_latch_still_waits(words: str, attempt: int, wanted: bool) -> None:
    policy = Policy(Latch(raise_=3, window=3), Latch(raise_=3, window=3), recheck=1.0)
    status, _ = live(words, policy)
    assert needs_recheck(status, verdict(words, 1000.0, attempt=attempt), policy) is wanted


def test_no_recheck_without_being_asked_for() -> None:
    policy = Policy(Latch(raise_=3, window=3), Latch(raise_=3, window=3))
    status, _ = live("fail", policy)
    assert not needs_recheck(status, verdict("fail", 1000.0), policy)


def test_a_slower_latch_keeps_the_sentence_of_what_it_is_set_for() -> None:
    """The success that clears the failure is not why it is still a warning."""
    status, told = live("fail ok", Policy(warn=Latch(clear=3), fail=Latch()))
    assert kinds(told) == ["raised", "eased"]
    assert (status.reason, status.sentence) == (Reason.STATUS, "it was fail")
    assert (told[1].severity, told[1].reason, told[1].sentence) == (Severity.WARN, Reason.STATUS, "it was fail")


def test_what_is_raised_on_settling_says_what_it_is_for_not_that_the_latest_run_was_fine() -> None:
    policy = Policy(Latch(clear=5), Latch(clear=5), flapping=Flapping(0.16, 0.10))
    status, told = live(["fail", *["ok"] * 5, "fail"], policy)
    assert kinds(told) == ["raised", "resolved", "flapping"]
    status, told = live("ok", replace(policy, flapping=None), status)
    assert kinds(told) == ["settled", "raised"]
    assert [(one.severity, one.sentence) for one in told] == [(Severity.FAIL, "it was fail")] * 2


def burning(at: float, *levels: Severity) -> Verdict:
    burns = tuple(Finding(f"burn {number}", level, "at most 6", "7") for number, level in enumerate(levels))
    return replace(verdict("ok", at), burns=burns)


def test_a_budget_that_burns_faster_is_told_again_and_one_that_burns_slower_eases() -> None:
    status, told = FRESH, list[Event]()
    story = ((), (Severity.WARN,), (Severity.FAIL, Severity.WARN), (Severity.FAIL,), (Severity.WARN,), ())
    for step, levels in enumerate(story):
        at = 1000.0 + EVERY * step
        status, events = advance(status, burning(at, *levels), Policy(), at)
        told += events
    assert kinds(told) == ["budget_burning", "budget_burning", "eased", "budget_safe"]
    assert [(one.was, one.severity) for one in told] == [(0, 1), (1, 2), (2, 1), (1, 0)]
    assert {one.track for one in told} == {Track.BUDGET}
    assert (status.burning, status.burning_sentence) == (None, "")


def test_a_reminder_of_a_budget_says_how_fast_it_burns_now() -> None:
    status, _ = advance(FRESH, burning(1000.0, Severity.FAIL), Policy(), 1000.0)
    status, _ = advance(status, burning(1010.0, Severity.WARN), Policy(), 1010.0)
    _, (reminder,) = advance(status, Tick("shop"), Policy(remind=60.0), 1070.0)
    assert (reminder.severity, reminder.sentence) == (Severity.WARN, "burn 0 is 7, at most 6")


def test_errors_and_distorted_runs_say_nothing_of_the_budget() -> None:
    status, _ = advance(FRESH, burning(1000.0, Severity.WARN), Policy(), 1000.0)
    for word in ("error", "~ok"):
        after, told = live([word], Policy(), status)
        assert told == []
        assert after.burning == status.burning


absence = Absence("shop", 970.0, "it has not run for 3 slots", Reason.OVERLOAD)


def test_an_absence_is_told_once_and_any_run_ends_it() -> None:
    for word in ("ok", "fail", "error", "~fail"):
        status, told = advance(FRESH, absence, Policy(), 1000.0)
        assert [(one.kind, one.since, one.reason, one.sentence) for one in told] == [
            (Kind.MISSED, 970.0, Reason.OVERLOAD, "it has not run for 3 slots")
        ]
        assert advance(status, absence, Policy(), 1010.0)[1] == ()
        status, more = live(word, Policy(), status)
        assert kinds(more)[0] == "resumed"
        assert (status.absent, status.absent_sentence) == (None, "")


def test_an_absence_turns_nothing_green_and_neither_does_a_run_that_was_missed() -> None:
    status, _ = live("fail", Policy())
    status, _ = advance(status, absence, Policy(), 1010.0)
    status, told = live("missed", Policy(), status)
    assert told == []
    assert status.absent
    assert status.severity is Severity.FAIL


def test_somebody_takes_care_of_all_that_is_open_until_it_ends() -> None:
    status, _ = live("fail error error error", Policy())
    by = Acknowledgement("ann", "on it", 1040.0)
    status, told = advance(status, Taken("shop", by), Policy(remind=1.0), 1040.0)
    assert told == ()
    assert [one.acknowledged for _, one in incidents(status)] == [by, by]
    assert advance(status, Tick("shop"), Policy(remind=1.0, escalate=1.0), 9999.0)[1] == ()
    status, _ = live("ok fail", Policy(), status)
    assert [one.acknowledged for _, one in incidents(status)] == [None]


def test_a_removal_says_why() -> None:
    status, _ = live("fail", Policy())
    _, (told,) = advance(status, Removal("shop", "ann switched it off"), Policy(), 2000.0)
    assert (told.kind, told.why, told.severity) == (Kind.WITHDRAWN, "ann switched it off", Severity.FAIL)


def test_a_recheck_enters_the_latch_and_the_states_once_it_is_admitted() -> None:
    policy = Policy(Latch(2, 2), Latch(2, 2), recheck=1.0)
    status = FRESH
    for attempt, word in enumerate(("fail", "fail")):
        status, told = advance(status, verdict(word, 1000.0, attempt=attempt), policy, 1000.0 + attempt)
    assert kinds(list(told)) == ["raised"]
    assert told[0].run is not None
    assert told[0].run.attempt == 1
    assert status.states == (Severity.FAIL,)


def test_a_single_failure_that_the_latch_does_not_admit_is_no_state() -> None:
    policy = Policy(Latch(2, 2), Latch(2, 2))
    status, told = live(["fail", "ok"] * 30, policy)
    assert told == []
    assert (status.states, status.flapping) == ((), None)


def test_a_latch_is_not_kept_waiting_by_the_memory_of_the_other() -> None:
    """How long a verdict counts goes by the latch that counts it."""
    short, long = Latch(2, 2), Latch(1, 1, clear=10)
    for policy in (Policy(long, short, interval=EVERY), Policy(short, short, interval=EVERY)):
        status, _ = advance(FRESH, verdict("fail", 1000.0), policy, 1000.0)
        late = 1000.0 + STALE_INTERVALS * 2 * EVERY + 1
        status, _ = advance(status, verdict("fail", late), policy, late)
        assert not status.fail


latches = st.builds(
    lambda raise_, more, clear: Latch(raise_, raise_ + more, clear),
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(1, 3),
)
policies = st.builds(
    Policy, latches, latches, latches, remind=st.sampled_from([None, EVERY, 3 * EVERY]), flapping=st.none()
)
stories = st.lists(st.sampled_from(["ok", "warn", "fail", "error", "missed", "~fail", "tick"]), max_size=25)


def naive_severity(words: list[str], policy: Policy) -> Severity:
    """Remember everything, and look at the whole of it for each latch."""
    history = [WORDS[word][1] for word in words if word in ("ok", "warn", "fail")]
    set_levels = []
    for level, latch in ((Severity.WARN, policy.warn), (Severity.FAIL, policy.fail)):
        is_set = False
        for end in range(1, len(history) + 1):
            bad = [severity >= level for severity in history[:end]]
            if bad[-1] and sum(bad[-latch.window :]) >= latch.raise_:
                is_set = True
            elif end >= latch.clear and not any(bad[-latch.clear :]):
                is_set = False
        if is_set:
            set_levels.append(level)
    return max(set_levels, default=Severity.OK)


def naive_broken(words: list[str], latch: Latch) -> bool:
    history, distorted, broken = [], 0, False
    for word in words:
        if word in ("missed", "tick"):
            continue
        distorted = distorted + 1 if word == "~fail" else 0
        if 0 < distorted < DISTORTED_IN_A_ROW:
            continue
        history.append(word in ("error", "~fail"))
        if history[-1] and sum(history[-latch.window :]) >= latch.raise_:
            broken = True
        elif len(history) >= latch.clear and not any(history[-latch.clear :]):
            broken = False
    return broken


@given(stories, policies)
def test_the_status_is_that_of_a_model_that_remembers_everything(words: list[str], policy: Policy) -> None:
    status, _ = live(words, policy)
    assert status.severity is naive_severity(words, policy)
    assert status.broken is naive_broken(words, policy.broken)


@given(stories, policies, latches)
def test_the_two_latches_do_not_know_of_each_other(words: list[str], policy: Policy, other: Latch) -> None:
    policy = replace(policy, interval=EVERY / 2)  # some of what is remembered grows too old
    status, _ = live(words, policy)
    assert live(words, replace(policy, warn=other))[0].fail is status.fail
    assert live(words, replace(policy, fail=other))[0].warn is status.warn


flapping_stories = st.lists(
    st.sampled_from(["ok", "fail", "warn", "error", "ok fail", "fail ok fail ok", "ok ok ok ok ok", "fail fail fail"]),
    min_size=5,
    max_size=50,
).map(lambda parts: " ".join(parts).split())
thresholds = st.sampled_from([(30, 20), (16, 15), (12, 8), (6, 5), (60, 40)])


def naive_events(words: list[str], policy: Policy, start: int, stop: int) -> list[tuple[str, Severity]]:
    """Remember every state there ever was, and say what is told after each run."""
    told: list[tuple[str, Severity]] = []
    states, flaps, known = [Severity.OK] * 21, False, Severity.OK
    for end, word in enumerate(words, start=1):
        if word == "error":
            continue
        now = naive_severity(words[:end], policy)
        if WORDS[word][1] <= now:
            states.append(now)
        changed = [before is not after for before, after in pairwise(states[-21:])]
        curve = (Fraction(3, 4) + Fraction(place, 38) for place in range(20))
        rate = 100 * sum((weight for weight, one in zip(curve, changed, strict=True) if one), Fraction(0)) / 20
        was, flaps = flaps, rate > stop if flaps else rate >= start
        if flaps != was:
            told.append(("flapping" if flaps else "settled", now))
        if flaps or now is known:
            continue
        told.append(("raised" if now > known else "eased" if now else "resolved", now))
        known = now
    return told


@given(flapping_stories, policies, thresholds)
def test_it_flaps_and_settles_as_a_model_that_remembers_everything(
    words: list[str], policy: Policy, limits: tuple[int, int]
) -> None:
    start, stop = limits
    policy = replace(policy, flapping=Flapping(start / 100, stop / 100), remind=None)
    status, told = live(words, policy)
    about_target = [event for event in told if event.track in (Track.TARGET, Track.FLAPPING)]
    assert [(one.kind.value, one.severity) for one in about_target] == naive_events(words, policy, start, stop)
    if not status.flapping:  # the last word is the truth
        assert (status.incident.severity if status.incident else Severity.OK) is status.severity


@given(flapping_stories, policies, thresholds, st.integers(0, 60))
def test_a_restart_while_it_flaps_changes_nothing(
    words: list[str], policy: Policy, limits: tuple[int, int], at: int
) -> None:
    policy = replace(policy, flapping=Flapping(limits[0] / 100, limits[1] / 100))
    status, told = live(words[:at], policy)
    status = STATUS.validate_json(STATUS.dump_json(status))
    for step, word in enumerate(words[at:], start=min(at, len(words))):
        now = 1000.0 + step * EVERY
        status, events = advance(status, verdict(word, now), policy, now)
        told.extend(events)
    assert (status, told) == live(words, policy)


def test_a_check_that_flaps_is_told_once_and_its_last_state_when_it_settles() -> None:
    changing = ["raised", "resolved", "raised", "resolved", "raised", "flapping", "settled"]
    for last, more in (("fail", []), ("ok", ["resolved"])):
        _, told = live(["ok"] * 21 + ["fail", "ok"] * 3 + [last] * 21, Policy())
        assert kinds(told) == changing + more
        assert (told[5].severity, told[-1].severity) == (Severity.OK, WORDS[last][1])


def test_flapping_that_is_switched_off_by_a_reload_settles_with_the_next_run() -> None:
    status, told = live(["fail", "ok"] * 5, Policy())
    assert status.flapping
    status, told = live("fail", Policy(flapping=None), status)
    assert kinds(told)[0] == "settled"
    assert (status.flapping, status.states) == (None, ())
    assert status.incident
    assert status.incident.severity is Severity.FAIL


@given(stories, policies)
def test_events_chain_and_none_is_missing(words: list[str], policy: Policy) -> None:
    _, told = live(words, policy)
    severity, broken = Severity.OK, False
    opened: dict[str, int] = {}
    for event in told:
        assert event.sequence == opened.get(event.incident, 0) + 1
        opened[event.incident] = event.sequence
        if event.track is Track.CHECK:
            assert broken is (event.kind is not Kind.CHECK_BROKEN)
            broken = event.kind is not Kind.CHECK_REPAIRED
            continue
        assert event.was is severity
        assert (event.kind is Kind.RAISED) == (event.severity > severity)
        assert (event.kind is Kind.RESOLVED) == (event.severity is Severity.OK)
        assert (event.kind is Kind.REMINDER) == (event.severity is severity)
        severity = event.severity
    assert len({event.id for event in told}) == len(told)


@given(stories, policies, st.integers(0, 25))
def test_a_restart_anywhere_changes_nothing(words: list[str], policy: Policy, at: int) -> None:
    status = FRESH
    told: list[Event] = []
    for step, word in enumerate(words):
        if step == at:
            status = STATUS.validate_json(STATUS.dump_json(status))
        now = 1000.0 + step * EVERY
        change = Tick("shop") if word == "tick" else verdict(word.lstrip("~"), now, distorted=word.startswith("~"))
        status, events = advance(status, change, policy, now)
        told.extend(events)
    assert (status, told) == live(words, policy)


@given(stories, policies)
def test_what_counts_as_steady_need_not_be_saved(words: list[str], policy: Policy) -> None:
    """Two lives: one saves every status, the other only those that are not steady. They tell the same."""
    saved = status = FRESH
    for step, word in enumerate(words):
        now = 1000.0 + step * EVERY
        change = Tick("shop") if word == "tick" else verdict(word.lstrip("~"), now, distorted=word.startswith("~"))
        before = status
        status, events = advance(status, change, policy, now)
        if events or (isinstance(change, Verdict) and not is_steady(before, status, change)):
            saved = status
    assert kinds(live(words, policy, status)[1]) == kinds(live(words, policy, saved)[1])


@given(stories, policies, st.sampled_from([-3600.0, -1.0, 7200.0]))
def test_a_stepped_clock_raises_and_clears_nothing(words: list[str], policy: Policy, step: float) -> None:
    policy = replace(policy, interval=EVERY)
    status, _ = live(words, policy)
    for word in ("ok", "fail", "tick"):
        now = 1000.0 + len(words) * EVERY
        plain = advance(status, Tick("shop") if word == "tick" else verdict(word, now), policy, now)
        later = now + step
        moved = advance(shift(status, step), Tick("shop") if word == "tick" else verdict(word, later), policy, later)
        assert [event.kind for event in plain[1]] == [event.kind for event in moved[1]]
        assert shift(plain[0], step).severity is moved[0].severity


calm_words = ["ok", "ok", "ok", "ok", "warn", "fail", "error", "~fail", "tick"]
calm_stories = st.lists(st.sampled_from(calm_words), max_size=25)


@given(calm_stories, policies)
def test_the_short_way_of_a_calm_status_leads_to_the_same_place(words: list[str], policy: Policy) -> None:
    status, _ = live(words, policy)
    now = 1000.0 + EVERY * len(words)
    fine = verdict("ok", now)
    if not advancing._is_calm(status):
        return
    slow, events = advancing._take_verdict(status, fine, policy, now)
    assert advance(status, fine, policy, now) == (replace(slow, wake_at=None), ())
    assert events == ()


def test_a_single_error_that_raised_nothing_does_not_keep_a_status_from_being_calm() -> None:
    status, _ = live("error ok ok ok", Policy())
    assert advancing._is_calm(status)

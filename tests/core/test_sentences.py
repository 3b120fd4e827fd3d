from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.core.advance import Absence, Removal, advance
from heartbeat.core.batch import Story
from heartbeat.core.message import GOOD, RANKS, TROUBLES
from heartbeat.core.model import OPENING, OVER, Event, Finding, Kind, Outcome, Reason, Run, Severity, Track, Verdict
from heartbeat.core.passing import Tick
from heartbeat.core.policy import Latch, Policy
from heartbeat.core.sentences import is_urgent, outcome_of, sentence_of, state_of, track_of, why_of
from heartbeat.core.status import FRESH, Status

AT = 1_795_269_731.25  # Sat 21 Nov 2026 14:02:11 UTC
CHANGES = "its state changed 14 times in the last 20 runs; now it is fail: timed out"
EVENT = Event(
    "evt_1", Kind.RAISED, "shop", "inc_1", 1, AT, Severity.OK, Severity.FAIL, AT - 192, Reason.TIMEOUT, "timed out"
)


def event(
    kind: Kind, track: Track = Track.TARGET, severity: Severity = Severity.FAIL, said: str = "timed out"
) -> Event:
    return replace(EVENT, kind=kind, track=track, severity=severity, sentence=said)


OK, WARN, FAIL = Severity
TOLD = [
    (event(Kind.RAISED), "FAILING", "timed out"),
    (event(Kind.EASED, severity=WARN), "WARNING", "timed out"),
    (event(Kind.REMINDER), "FAILING", "not well for 3m 12s: timed out"),
    (event(Kind.ESCALATED), "FAILING", "nobody has acknowledged this: not well for 3m 12s: timed out"),
    (
        event(Kind.CHECK_BROKEN, Track.CHECK, OK, "KeyError"),
        "CHECK BROKEN",
        "the check itself is broken, the state of its target is unknown: KeyError",
    ),
    (
        event(Kind.REMINDER, Track.CHECK, OK, "KeyError"),
        "CHECK BROKEN",
        "the check itself has been broken for 3m 12s, the state of its target is unknown: KeyError",
    ),
    (event(Kind.CHECK_REPAIRED, Track.CHECK, OK, ""), "CHECK REPAIRED", "the check works again after 3m 12s"),
    (
        event(Kind.MISSED, Track.RUNS, OK, "3 slots in a row passed without a run"),
        "NOT RUNNING",
        "the check does not run, the state of its target is unknown: 3 slots in a row passed without a run",
    ),
    (
        event(Kind.ESCALATED, Track.RUNS, OK, "overload"),
        "NOT RUNNING",
        "nobody has acknowledged this: the check has not run for 3m 12s, the state of its target is unknown: overload",
    ),
    (event(Kind.RESUMED, Track.RUNS, OK, ""), "RUNNING AGAIN", "the check runs again after 3m 12s"),
    (
        event(Kind.RESUMED, Track.RUNS, OK),
        "RUNNING AGAIN",
        "the check runs again after 3m 12s; its first run says: timed out",
    ),
    (
        event(Kind.BUDGET_BURNING, Track.BUDGET, WARN, "burn rate 1h is 20, at most 14.4 allowed"),
        "BUDGET BURNING",
        "the error budget burns too fast: burn rate 1h is 20, at most 14.4 allowed",
    ),
    (
        event(Kind.REMINDER, Track.BUDGET, WARN, "x"),
        "BUDGET BURNING",
        "the error budget has burned too fast for 3m 12s: x",
    ),
    (
        event(Kind.BUDGET_SAFE, Track.BUDGET, OK, ""),
        "BUDGET SAFE",
        "the error budget no longer burns too fast, after 3m 12s",
    ),
    (event(Kind.FLAPPING, Track.FLAPPING, OK, CHANGES), "FLAPPING", CHANGES),
    (event(Kind.REMINDER, Track.FLAPPING, FAIL, CHANGES), "FLAPPING", f"has not settled for 3m 12s: {CHANGES}"),
    (event(Kind.SETTLED, Track.FLAPPING, OK), "SETTLED", "now it works, after flapping for 3m 12s"),
    (event(Kind.SETTLED, Track.FLAPPING, FAIL), "SETTLED", "now it fails, after flapping for 3m 12s: timed out"),
    (event(Kind.SETTLED, Track.FLAPPING, WARN, ""), "SETTLED", "now it is beyond a limit, after flapping for 3m 12s"),
    (
        event(Kind.WITHDRAWN, Track.RUNS, OK, "x"),
        "WITHDRAWN",
        "removed from the configuration 3m 12s into this incident; nobody watches it any more",
    ),
    (
        replace(event(Kind.WITHDRAWN), why="disabled by anna: too noisy"),
        "WITHDRAWN",
        "nobody watches it any more, 3m 12s into this incident: disabled by anna: too noisy",
    ),
]


@pytest.mark.parametrize(("told", "state", "sentence"), TOLD, ids=[f"{one.kind}-{one.track}" for one, _, _ in TOLD])
def test_each_kind_on_each_track_is_told_in_one_sentence(told: Event, state: str, sentence: str) -> None:
    assert (state_of(told), sentence_of(told)) == (state, sentence)


def over(*events: Event, at: float = AT + 1740) -> str:
    *before, last = events
    last = replace(last, at=at, sequence=len(events))
    return outcome_of(Story((*before, last)))


WAS = "13:58 to 14:31 UTC (32 min)"


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        (
            (event(Kind.MISSED, Track.RUNS, OK, "overload"), event(Kind.RESUMED, Track.RUNS, OK)),
            f"did not run {WAS}: overload",
        ),
        (
            (event(Kind.BUDGET_BURNING, Track.BUDGET, WARN, "x"), event(Kind.BUDGET_SAFE, Track.BUDGET, OK, "")),
            f"burned its error budget too fast {WAS}: x",
        ),
        (
            (event(Kind.FLAPPING, Track.FLAPPING, FAIL, CHANGES), event(Kind.SETTLED, Track.FLAPPING, OK, "")),
            f"flapped {WAS}: now it works",
        ),
        (
            (event(Kind.FLAPPING, Track.FLAPPING, OK, CHANGES), event(Kind.SETTLED, Track.FLAPPING, FAIL)),
            f"flapped {WAS}: now it fails: timed out",
        ),
        (
            (event(Kind.RAISED), replace(event(Kind.WITHDRAWN), why="disabled by anna: too noisy")),
            f"was down {WAS}, then nobody watched it any more (disabled by anna: too noisy): timed out",
        ),
        (
            (event(Kind.CHECK_BROKEN, Track.CHECK, OK, "KeyError"), event(Kind.WITHDRAWN, Track.CHECK, OK, "KeyError")),
            f"could not be checked {WAS}, then it was removed from the configuration: KeyError",
        ),
    ],
)
def test_what_began_and_ended_unheard_is_told_in_one_sentence(events: tuple[Event, ...], sentence: str) -> None:
    assert over(*events) == sentence


def why(told: Event) -> str:
    return why_of(Story((told,)))


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_says_why_it_is_told(kind: Kind) -> None:
    assert why(event(kind)).endswith("; message is the first of this incident")


def test_what_was_kept_back_says_what_kept_it_back() -> None:
    kept = replace(event(Kind.RAISED), was=FAIL, sequence=2, why="it was kept back until now: silenced by anna")
    assert why(kept) == "it was kept back until now: silenced by anna; message is number 2 of this incident"
    gone = replace(event(Kind.WITHDRAWN), why="disabled by anna: too noisy")
    assert why(gone).startswith("the check was switched off while this incident was open; ")


def test_a_reminder_of_flapping_does_not_claim_that_nothing_has_changed() -> None:
    assert "nothing has changed" in why(event(Kind.REMINDER))
    assert "too often to tell each time" in why(event(Kind.REMINDER, Track.FLAPPING))


def test_a_budget_that_burns_more_slowly_is_told_as_one_that_still_burns() -> None:
    eased = event(Kind.EASED, Track.BUDGET, WARN, "burn rate 3d is 2, at most 1 allowed")
    assert state_of(eased) == "BUDGET BURNING"
    assert sentence_of(eased) == "the error budget burns too fast: burn rate 3d is 2, at most 1 allowed"
    assert why(eased).startswith("the error budget of its objective burns more slowly, and still too fast; ")


def test_the_policy_is_told_where_it_decided() -> None:
    told = replace(event(Kind.RAISED), context={"policy": "2 of 3"})
    assert why(told).startswith("the check rose from ok to fail (its policy: 2 of 3); ")


@pytest.mark.parametrize(
    ("told", "urgent"),
    [
        (event(Kind.RAISED), True),
        (event(Kind.REMINDER), True),
        (event(Kind.RAISED, severity=WARN), False),
        (event(Kind.ESCALATED, Track.RUNS, OK), True),
        (event(Kind.BUDGET_BURNING, Track.BUDGET), True),
        (event(Kind.BUDGET_BURNING, Track.BUDGET, WARN), False),
        (event(Kind.FLAPPING, Track.FLAPPING), False),
        (event(Kind.REMINDER, Track.FLAPPING), False),
        (event(Kind.MISSED, Track.RUNS, OK), False),
        (event(Kind.CHECK_BROKEN, Track.CHECK, OK), False),
        *((event(kind), False) for kind in OVER),
    ],
)
def test_only_what_should_wake_somebody_is_urgent(told: Event, urgent: bool) -> None:
    assert is_urgent(told) is urgent


def test_an_event_of_a_release_without_tracks_is_known_by_its_kind() -> None:
    told = [
        replace(event(kind, severity=OK), was=OK) for kind in (Kind.CHECK_BROKEN, Kind.CHECK_REPAIRED, Kind.WITHDRAWN)
    ]
    assert {track_of(one) for one in told} == {Track.CHECK}
    assert track_of(event(Kind.WITHDRAWN)) is Track.TARGET


def test_every_state_has_a_rank_and_only_ends_can_be_good() -> None:
    told = [replace(event(kind, track, severity)) for kind in Kind for track in Track for severity in Severity]
    told.append(replace(event(Kind.DRILL), context={"test": True}))
    assert {state_of(one) for one in told} == set(RANKS)
    assert all(one.kind in OVER for one in told if state_of(one) in GOOD)
    assert all(one.kind not in OVER for one in told if state_of(one) in TROUBLES)


# What the core itself makes, told


POLICY = Policy(broken=Latch(), remind=60.0, escalate=120.0)


def verdict(outcome: Outcome, number: int, *, burns: bool) -> Verdict:
    reason = {Outcome.FAIL: Reason.TIMEOUT, Outcome.ERROR: Reason.PLUGIN}.get(outcome)
    severity = FAIL if outcome is Outcome.FAIL else OK
    run = Run(f"run_{number}", "shop", AT + number, 0, AT + number, 5.0)
    burning = (Finding("burn rate 1h", FAIL, "at most 14.4 allowed", "20"),) if burns else ()
    return Verdict(run, AT + number, outcome, severity, reason, (reason and f"said {reason}") or "", burns=burning)


@given(st.lists(st.tuples(st.sampled_from([*Outcome, None, "absent", "removed"]), st.booleans()), max_size=60))
def test_whatever_happens_is_told_on_its_own_track_in_a_sentence(
    steps: list[tuple[Outcome | str | None, bool]],
) -> None:
    status: Status = FRESH
    incidents: dict[str, set[Track]] = {}
    for number, (step, burns) in enumerate(steps):
        now = AT + 61.0 * number
        match step:
            case None:
                status, events = advance(status, Tick("shop"), POLICY, now)
            case "absent":
                status, events = advance(status, Absence("shop", now - 90, "no slot was used"), POLICY, now)
            case "removed":
                status, events = advance(
                    status, Removal("shop", "disabled by anna: why not" if burns else ""), POLICY, now
                )
            case _:
                status, events = advance(status, verdict(Outcome(step), number, burns=burns), POLICY, now)
        for one in events:
            assert track_of(one) is one.track
            assert one.kind is OPENING[one.track] or one.sequence > 1
            assert sentence_of(one)
            assert "no reason is known" not in sentence_of(one)
            incidents.setdefault(one.incident, set()).add(one.track)
    assert all(len(tracks) == 1 for tracks in incidents.values())

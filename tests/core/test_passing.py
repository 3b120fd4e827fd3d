from __future__ import annotations

from dataclasses import replace

import pytest

from heartbeat.core.incidents import News, emit
from heartbeat.core.model import Address, Event, Kind, Reason, Severity, Track
from heartbeat.core.passing import LOOK_AGAIN, Tick, owed, pass_time, rearm, wake_at
from heartbeat.core.policy import Policy
from heartbeat.core.status import FRESH, Acknowledgement, Incident, Status, incident_on, with_incident

AT = 1000.0
BY = Acknowledgement("ann", "on it", AT)
TOLD = Incident(
    "inc_1",
    AT,
    1,
    AT,
    AT,
    Severity.FAIL,
    (Address("oncall", "oncall/email"),),
    AT,
    Severity.FAIL,
    Severity.FAIL,
)
UNTOLD = Incident("inc_1", AT, 1, AT, AT, Severity.FAIL, untold="a silence")


def failing(incident: Incident, track: Track = Track.TARGET) -> Status:
    status = replace(
        FRESH,
        fail=True,
        reason=Reason.STATUS,
        sentence="it answered 500",
        broken_reason=Reason.PLUGIN,
        broken_sentence="it fell over",
        absent_sentence="it has not run for 3 slots",
        burning_sentence="burn 1h is 20, at most 14.4",
    )
    return with_incident(status, track, incident)


def tick(status: Status, policy: Policy, after: float, *released: Track) -> list[Event]:
    return list(pass_time(status, Tick("shop", released), policy, AT + after)[1])


def kinds(events: list[Event]) -> list[Kind]:
    return [event.kind for event in events]


@pytest.mark.parametrize(
    ("track", "severity", "reason", "sentence"),
    [
        (Track.TARGET, Severity.FAIL, Reason.STATUS, "it answered 500"),
        (Track.CHECK, Severity.OK, Reason.PLUGIN, "it fell over"),
        (Track.RUNS, Severity.OK, None, "it has not run for 3 slots"),
        (Track.BUDGET, Severity.WARN, Reason.LIMIT, "burn 1h is 20, at most 14.4"),
        (
            Track.FLAPPING,
            Severity.FAIL,
            Reason.STATUS,
            "its state changed 0 times in the last 20 runs; now it is fail: it answered 500",
        ),
    ],
)
def test_a_reminder_says_how_its_own_track_stands(
    track: Track, severity: Severity, reason: Reason | None, sentence: str
) -> None:
    status = failing(replace(TOLD, severity=Severity.OK if track is Track.FLAPPING else severity), track)
    assert tick(status, Policy(remind=60.0), 59.0) == []
    (event,) = tick(status, Policy(remind=60.0), 60.0)
    assert (event.kind, event.track, event.incident, event.sequence) == (Kind.REMINDER, track, "inc_1", 2)
    assert (event.severity, event.reason, event.sentence) == (severity, reason, sentence)


def test_reminders_of_a_target_wait_while_it_flaps_and_digests_come_instead() -> None:
    status = with_incident(failing(TOLD), Track.FLAPPING, replace(TOLD, id="inc_2", told_at=AT + 30))
    assert [event.incident for event in tick(status, Policy(remind=60.0), 95.0)] == ["inc_2"]


def test_nobody_is_reminded_of_what_somebody_takes_care_of_or_what_nobody_was_told() -> None:
    policy = Policy(remind=60.0, escalate=60.0)
    assert tick(failing(replace(TOLD, acknowledged=BY)), policy, 9999.0) == []
    assert tick(failing(UNTOLD), policy, 9999.0) == []
    assert tick(failing(TOLD), Policy(), 9999.0) == []


@pytest.mark.parametrize("track", [Track.TARGET, Track.CHECK, Track.RUNS])
def test_others_are_told_once_of_what_nobody_took_care_of(track: Track) -> None:
    status, policy = failing(TOLD, track), Policy(escalate=60.0)
    assert tick(status, policy, 59.0) == []
    status, (event,) = pass_time(status, Tick("shop"), policy, AT + 60.0)
    assert event.kind is Kind.ESCALATED
    assert tick(status, policy, 9999.0) == []


@pytest.mark.parametrize(
    ("track", "incident"),
    [
        (Track.TARGET, replace(TOLD, severity=Severity.WARN)),
        (Track.TARGET, replace(TOLD, first_told=None)),
        (Track.BUDGET, TOLD),
        (Track.FLAPPING, TOLD),
    ],
)
def test_others_are_not_told_of_warnings_budgets_and_what_nobody_was_told(track: Track, incident: Incident) -> None:
    assert tick(failing(incident, track), Policy(escalate=60.0), 9999.0) == []


def test_others_are_not_told_that_something_fails_which_flaps_and_is_well_at_the_moment() -> None:
    status = replace(with_incident(failing(TOLD), Track.FLAPPING, replace(TOLD, id="inc_2")), fail=False)
    assert tick(status, Policy(escalate=60.0), 9999.0) == []
    assert kinds(tick(replace(status, fail=True), Policy(escalate=60.0), 9999.0)) == [Kind.ESCALATED]


def test_what_was_kept_back_is_told_as_its_beginning_with_why_it_comes_now() -> None:
    assert tick(failing(UNTOLD), Policy(), 5.0) == []
    (event,) = tick(failing(UNTOLD), Policy(), 5.0, Track.TARGET)
    assert (event.kind, event.was, event.severity) == (Kind.RAISED, Severity.OK, Severity.FAIL)
    assert event.why == "it was kept back until now: a silence"


@pytest.mark.parametrize(
    ("told", "now", "kind"),
    [
        (Severity.WARN, Severity.FAIL, Kind.RAISED),
        (Severity.FAIL, Severity.WARN, Kind.EASED),
        (Severity.FAIL, Severity.FAIL, Kind.REMINDER),
    ],
)
def test_what_was_told_is_brought_up_to_what_is_so(told: Severity, now: Severity, kind: Kind) -> None:
    incident = replace(TOLD, severity=now, told_severity=told, untold="a silence")
    for acknowledged in (None, BY):
        status = failing(replace(incident, acknowledged=acknowledged))
        events = tick(status, Policy(remind=60.0), 5.0, Track.TARGET)
        if kind is Kind.REMINDER and acknowledged:
            assert events == []
            continue
        assert [(one.kind, one.was, one.severity) for one in events] == [(kind, told, now)]


def test_nobody_is_reminded_late_who_is_never_reminded() -> None:
    assert tick(failing(replace(TOLD, untold="a silence")), Policy(), 5.0, Track.TARGET) == []


def test_escalation_that_was_kept_back_comes_when_nothing_stands_against_it() -> None:
    status = failing(replace(TOLD, untold="a silence"))
    assert kinds(tick(status, Policy(escalate=60.0), 59.0, Track.TARGET)) == []
    assert kinds(tick(status, Policy(escalate=60.0), 61.0, Track.TARGET)) == [Kind.ESCALATED]
    assert kinds(tick(status, Policy(escalate=60.0), 61.0)) == []


def test_digests_that_were_kept_back_are_no_second_beginning() -> None:
    flapping = replace(TOLD, severity=Severity.FAIL, told_severity=Severity.OK, untold="a silence")
    status = failing(flapping, Track.FLAPPING)
    assert kinds(tick(status, Policy(remind=60.0), 5.0, Track.FLAPPING)) == [Kind.REMINDER]


def test_a_release_that_was_decided_before_it_flapped_tells_nothing() -> None:
    status = with_incident(failing(UNTOLD), Track.FLAPPING, replace(TOLD, id="inc_2"))
    assert tick(status, Policy(), 5.0, Track.TARGET) == []


def test_a_stale_release_of_what_is_told_or_over_by_now_is_harmless() -> None:
    assert tick(failing(TOLD), Policy(), 5.0, *Track) == []
    assert tick(FRESH, Policy(remind=1.0), 5.0, *Track) == []


def test_nothing_is_owed_of_what_was_told() -> None:
    assert owed(failing(TOLD), Track.TARGET, TOLD, Policy(remind=1.0), AT) is None


def test_the_next_tick_is_when_the_first_thing_is_due() -> None:
    status = failing(TOLD)
    assert wake_at(status, Policy()) is None
    assert wake_at(status, Policy(remind=60.0)) == AT + 60
    assert wake_at(status, Policy(remind=60.0, escalate=30.0)) == AT + 30
    assert wake_at(failing(UNTOLD), Policy()) == AT + LOOK_AGAIN
    assert wake_at(FRESH, Policy(remind=60.0)) is None


def test_another_policy_takes_hold_of_what_is_open() -> None:
    status = failing(TOLD)
    assert rearm(status, Policy()) is status
    assert rearm(status, Policy(remind=60.0)).wake_at == AT + 60
    assert rearm(rearm(status, Policy(remind=60.0)), Policy()) == status


def test_an_event_says_what_the_one_before_said() -> None:
    status, (first,) = emit(FRESH, Track.TARGET, Kind.RAISED, News("shop", Severity.WARN), AT)
    status, (second,) = emit(status, Track.TARGET, Kind.RAISED, News("shop", Severity.FAIL), AT + 1)
    assert (first.was, second.was, second.sequence) == (Severity.OK, Severity.WARN, 2)
    incident = incident_on(status, Track.TARGET)
    assert incident
    assert incident.severity is Severity.FAIL
    assert first.id != second.id

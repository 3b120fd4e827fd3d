from __future__ import annotations

from dataclasses import replace

import pytest

from heartbeat.core.decide import (
    NO_RECEIVER,
    NONE,
    Objections,
    decide,
    find_objection,
    find_released,
    pass_on,
)
from heartbeat.core.incidents import News, emit
from heartbeat.core.model import OPENING, Address, Delivery, DeliveryState, Event, Kind, Reason, Severity, Track
from heartbeat.core.policy import Policy, Routes
from heartbeat.core.status import FRESH, Acknowledgement, Incident, Status, incident_on, with_incident

AT = 1000.0
EVENT = Event(
    "evt_1",
    Kind.RAISED,
    "shop",
    "inc_1",
    1,
    AT,
    Severity.OK,
    Severity.FAIL,
    AT,
    Reason.STATUS,
    "it answered 500",
)
ANN = Address("oncall", "oncall/email", "a@example.com")
BOB = Address("oncall", "oncall/email", "b@example.com")
BOSS = (Address("boss", "boss/email"),)
QUIET = Objections(quiet="a silence")
EVERYTHING = Objections("gateway fails", "most checks fail", "a silence")


def tell(
    status: Status,
    kind: Kind,
    *ways_out: Address,
    against: Objections = NONE,
    track: Track = Track.TARGET,
    severity: Severity = Severity.FAIL,
    policy: Policy | None = None,
    at: float = AT,
) -> tuple[Status, tuple[Delivery, ...]]:
    """Make one event and decide on it."""
    status, (event,) = emit(status, track, kind, News("shop", severity), at)
    return decide(status, event, against, ways_out, policy or Policy())


def heard(deliveries: tuple[Delivery, ...]) -> list[Address]:
    return [one.address for one in deliveries if one.state is DeliveryState.PENDING]


def open_(status: Status, track: Track = Track.TARGET) -> Incident:
    incident = incident_on(status, track)
    assert incident
    return incident


def test_every_way_out_gets_a_delivery_of_its_own() -> None:
    _, deliveries = decide(FRESH, EVENT, NONE, (ANN, BOB), Policy())
    assert heard(deliveries) == [ANN, BOB]
    assert len({delivery.id for delivery in deliveries}) == 2
    assert deliveries == decide(FRESH, EVENT, NONE, (ANN, BOB), Policy())[1]


def test_where_nobody_is_told_the_reason_is_kept() -> None:
    _, (delivery,) = decide(FRESH, EVENT, NONE, (), Policy())
    assert delivery.state is DeliveryState.SUPPRESSED
    assert "no receiver" in delivery.note


def test_who_was_told_what_is_remembered() -> None:
    status, _ = tell(FRESH, Kind.RAISED, ANN, severity=Severity.WARN)
    status, _ = tell(status, Kind.RAISED, BOB, severity=Severity.FAIL, at=AT + 5)
    incident = open_(status)
    assert incident.told == (ANN, BOB)
    assert (incident.told_severity, incident.worst_told, incident.untold) == (Severity.FAIL, Severity.FAIL, "")
    assert incident.first_told == AT + 5  # it fails since then, and that is what others are told of if nobody cares
    status, _ = tell(status, Kind.EASED, BOB, severity=Severity.WARN, at=AT + 9)
    status, _ = tell(status, Kind.RAISED, BOB, severity=Severity.FAIL, at=AT + 12)
    assert (open_(status).first_told, open_(status).told_severity) == (AT + 5, Severity.FAIL)


@pytest.mark.parametrize(
    ("against", "track", "reason"),
    [
        (EVERYTHING, Track.TARGET, "gateway fails"),
        (EVERYTHING, Track.FLAPPING, "gateway fails"),
        (EVERYTHING, Track.BUDGET, "gateway fails"),
        (EVERYTHING, Track.CHECK, "a silence"),
        (EVERYTHING, Track.RUNS, "a silence"),
        (replace(EVERYTHING, dependency=""), Track.TARGET, "most checks fail"),
        (QUIET, Track.TARGET, "a silence"),
    ],
)
def test_what_stands_first_against_telling_is_the_reason(against: Objections, track: Track, reason: str) -> None:
    status, (delivery,) = tell(FRESH, OPENING[track], ANN, against=against, track=track, policy=Policy(hold=60.0))
    assert (delivery.state, delivery.note) == (DeliveryState.SUPPRESSED, reason)
    incident = open_(status, track)
    assert (incident.told, incident.first_told, incident.untold) == ((), None, reason)
    assert status.wake_at is not None


def test_what_may_pass_is_held_and_told_when_it_did_not() -> None:
    policy = Policy(hold=60.0)
    status, (delivery,) = tell(FRESH, Kind.RAISED, ANN, policy=policy)
    assert delivery.note == "it is held until Thu 1 Jan 1970 00:17:40 UTC, in case it passes"
    assert find_released(status, NONE, policy, AT + 59) == ()
    assert find_released(status, NONE, policy, AT + 60) == (Track.TARGET,)
    assert find_objection(Track.TARGET, open_(status), NONE, Policy(), AT) == ""


def test_an_end_is_told_to_those_who_heard_of_the_beginning_and_to_nobody_else() -> None:
    status, _ = tell(FRESH, Kind.RAISED, ANN)
    for kind in (Kind.RESOLVED, Kind.WITHDRAWN):
        _, deliveries = tell(status, kind, BOB, against=EVERYTHING)
        assert heard(deliveries) == [ANN]


@pytest.mark.parametrize("ways_out", [(), (BOB,)])
def test_an_end_of_what_nobody_heard_of_is_told_to_nobody(ways_out: tuple[Address, ...]) -> None:
    status, _ = tell(FRESH, Kind.RAISED, ANN, against=QUIET)
    _, (delivery,) = tell(status, Kind.RESOLVED, *ways_out)
    assert (delivery.state, delivery.note) == (
        DeliveryState.SUPPRESSED,
        "nobody was told that it began: a silence",
    )


def test_who_became_a_receiver_after_the_beginning_does_not_hear_of_the_end_alone() -> None:
    status, _ = tell(FRESH, Kind.RAISED)
    _, (delivery,) = tell(status, Kind.RESOLVED, BOB)
    assert (delivery.state, delivery.note) == (
        DeliveryState.SUPPRESSED,
        f"nobody was told that it began: {NO_RECEIVER}",
    )


def test_what_had_no_receiver_is_told_once_it_reaches_one() -> None:
    status, _ = tell(FRESH, Kind.RAISED)
    assert find_released(status, NONE, Policy(), AT + 5) == ()
    asked = []

    def reaches(kind: Kind, severity: Severity) -> bool:
        asked.append((kind, severity))
        return True

    assert find_released(status, NONE, Policy(), AT + 5, reaches) == (Track.TARGET,)
    assert asked == [(Kind.RAISED, Severity.FAIL)]
    assert find_released(status, QUIET, Policy(), AT + 5, reaches) == ()


def test_who_was_told_that_it_fails_hears_that_it_eased() -> None:
    status, _ = tell(FRESH, Kind.RAISED, ANN)
    status, deliveries = tell(status, Kind.EASED, BOB, severity=Severity.WARN)
    assert heard(deliveries) == [ANN, BOB]
    assert open_(status).told == (ANN, BOB)


def test_reminders_and_escalation_without_a_receiver_hold_nothing_back() -> None:
    status, _ = tell(FRESH, Kind.RAISED, ANN)
    for kind in (Kind.REMINDER, Kind.ESCALATED):
        after, (delivery,) = tell(status, kind)
        assert (delivery.note, open_(after).untold) == (NO_RECEIVER, "")


def test_whom_else_was_told_hears_of_the_end_too_and_changes_nothing_of_what_was_told() -> None:
    status, _ = tell(FRESH, Kind.RAISED, ANN, severity=Severity.WARN)
    before = open_(status)
    status, _ = tell(status, Kind.ESCALATED, *BOSS, severity=Severity.FAIL, at=AT + 9)
    incident = open_(status)
    assert incident.told == (ANN, *BOSS)
    assert (incident.first_told, incident.told_severity) == (before.first_told, before.told_severity)


def test_escalation_that_could_not_be_told_is_not_done() -> None:
    status, _ = tell(FRESH, Kind.RAISED, ANN)
    status, (event,) = emit(status, Track.TARGET, Kind.ESCALATED, News("shop", Severity.FAIL), AT + 60)
    status = with_incident(status, Track.TARGET, replace(open_(status), escalated=True))
    after, _ = decide(status, event, QUIET, BOSS, Policy(escalate=60.0))
    assert (open_(after).escalated, open_(after).untold) == (False, "a silence")
    after, _ = decide(status, event, NONE, BOSS, Policy(escalate=60.0))
    assert open_(after).escalated


def test_only_what_was_kept_back_is_released_and_not_while_it_flaps() -> None:
    told, _ = tell(FRESH, Kind.RAISED, ANN)
    assert find_released(told, NONE, Policy(remind=1.0), AT + 5) == ()
    kept, _ = tell(FRESH, Kind.RAISED, ANN, against=QUIET)
    assert find_released(kept, QUIET, Policy(), AT + 5) == ()
    assert find_released(kept, NONE, Policy(), AT + 5) == (Track.TARGET,)
    flapping, _ = tell(kept, Kind.FLAPPING, ANN, against=QUIET, track=Track.FLAPPING)
    assert find_released(flapping, NONE, Policy(), AT + 5) == (Track.FLAPPING,)


def test_what_somebody_takes_care_of_is_still_told_if_nobody_has_heard_of_it() -> None:
    status, _ = tell(FRESH, Kind.RAISED, ANN, against=QUIET)
    taken = replace(open_(status), acknowledged=Acknowledgement("ann", "on it", AT))
    assert find_released(with_incident(status, Track.TARGET, taken), NONE, Policy(), AT + 5) == (Track.TARGET,)


def test_what_is_passed_on_says_why_and_is_the_same_delivery_as_an_ordinary_one() -> None:
    _, (delivery,) = decide(FRESH, EVENT, NONE, (ANN,), Policy())
    (other,) = pass_on(delivery, (BOB,), AT + 9, "the mailbox is full")
    assert other.why == "oncall/email could not tell a@example.com: the mailbox is full"
    assert other.id == decide(FRESH, EVENT, NONE, (BOB,), Policy())[1][0].id


@pytest.mark.parametrize(
    ("routes", "kind", "severity", "told"),
    [
        (Routes(("a",)), Kind.RAISED, Severity.FAIL, ("a",)),
        (Routes(("a",), (("fail", ("b",)),)), Kind.RAISED, Severity.FAIL, ("b",)),
        (Routes(("a",), (("fail", ("b",)),)), Kind.RAISED, Severity.WARN, ("a",)),
        (Routes(("a",), (("fail", ("b",)), ("reminder", ("c",)))), Kind.REMINDER, Severity.FAIL, ("c",)),
        (Routes(("a",), (("fail", ("b",)),)), Kind.CHECK_BROKEN, Severity.OK, ("a",)),
        (Routes((), (("fail", ("b",)),)), Kind.CHECK_BROKEN, Severity.OK, ("b",)),
        (Routes((), (("fail", ("b",)),)), Kind.RAISED, Severity.WARN, ()),
        (Routes((), (("fail", ("b",)), ("flapping", ()))), Kind.FLAPPING, Severity.OK, ()),
        (Routes(("a",), (), ("d",)), Kind.ESCALATED, Severity.FAIL, ("d",)),
        (Routes(("a",)), Kind.ESCALATED, Severity.FAIL, ()),
    ],
)
def test_a_kind_is_looked_for_first_then_a_severity_and_nothing_is_kept_from_everyone_by_the_way(
    routes: Routes, kind: Kind, severity: Severity, told: tuple[str, ...]
) -> None:
    assert routes.named(kind, severity) == told
    assert routes.receivers(replace(EVENT, kind=kind, severity=severity)) == told


def test_everyone_who_may_be_told_is_named_once() -> None:
    assert Routes(("a", "b"), (("fail", ("b", "c")),), ("a", "d")).everyone == ("a", "b", "c", "d")

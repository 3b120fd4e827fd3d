from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from heartbeat.core.advance import Removal, advance
from heartbeat.core.decide import NONE, decide
from heartbeat.core.model import Address, Delivery, Event, Kind, Outcome, Reason, Run, Severity, Track, Verdict
from heartbeat.core.passing import Tick
from heartbeat.core.policy import Latch, Policy
from heartbeat.core.status import (
    FRESH,
    Acknowledgement,
    Incident,
    Sample,
    Status,
    incident_on,
    incidents,
    renew,
    shift,
    with_incident,
)

STATUS = TypeAdapter(Status)
ONCALL = (Address("oncall", "oncall/email"),)
TIMES = {"at", "since", "told_at", "opened", "first_told", "last_success", "wake_at"}
"""Every field that holds a time."""
FULL = Incident(
    "inc_1",
    100.0,
    3,
    130.0,
    110.0,
    Severity.FAIL,
    ONCALL,
    115.0,
    Severity.FAIL,
    Severity.FAIL,
    "a silence",
    Acknowledgement("ann", "on it", 120.0),
    escalated=True,
)


def everything() -> Status:
    """Return a status with every field filled in."""
    status = replace(
        FRESH,
        warn=True,
        fail=True,
        since=100.0,
        reason=Reason.STATUS,
        sentence="it answered 500",
        recent=(Sample(100.0, Severity.FAIL), Sample(110.0, Severity.OK)),
        errors=(False, True),
        events=7,
        up=False,
        last_success=90.0,
        wake_at=140.0,
        held=(("duration", Severity.WARN),),
        states=(Severity.FAIL,),
    )
    for track in Track:
        status = with_incident(status, track, FULL)
    return status


def times(value: Any) -> list[float]:
    """Return all times in nested dataclasses, in order."""
    if isinstance(value, tuple):
        return [at for item in value for at in times(item)]
    if not is_dataclass(value):
        return []
    found: list[float] = []
    for field in fields(value):
        item = getattr(value, field.name)
        found += [item] if field.name in TIMES and item is not None else times(item)
    return found


def kinds_of_fields(cls: type) -> set[str]:
    return {field.name for field in fields(cls) if "float" in str(field.type)}


def test_every_float_that_is_held_is_known_here_as_a_time() -> None:
    held = kinds_of_fields(Status) | kinds_of_fields(Incident) | kinds_of_fields(Sample)
    assert held | kinds_of_fields(Acknowledgement) == TIMES


@pytest.mark.parametrize("seconds", [-3600.0, 86400.0])
def test_a_step_of_the_clock_moves_all_times_and_nothing_else(seconds: float) -> None:
    before = everything()
    after = shift(before, seconds)
    assert times(after) == [at + seconds for at in times(before)]
    assert shift(after, -seconds) == before


def test_a_step_of_the_clock_leaves_what_is_not_known_unknown() -> None:
    bare = Incident("inc_1", 1.0, 1, 1.0)
    moved = shift(with_incident(FRESH, Track.TARGET, bare), 10.0)
    assert moved == with_incident(FRESH, Track.TARGET, replace(bare, since=11.0, told_at=11.0, opened=10.0))


def test_each_track_has_an_incident_of_its_own() -> None:
    for number, track in enumerate(Track):
        one = Incident(f"inc_{number}", 1.0, 1, 1.0)
        status = with_incident(FRESH, track, one)
        assert [other for other in Track if incident_on(status, other)] == [track]
        assert list(incidents(status)) == [(track, one)]
        assert with_incident(status, track, None) == FRESH


def test_a_full_status_survives_the_store() -> None:
    assert STATUS.validate_json(STATUS.dump_json(everything())) == everything()


OLD = (
    b'{"warn": true, "fail": true, "broken": true, "since": 1000.0, "reason": "status", "sentence": "it answered 500",'
    b' "recent": [{"at": 1000.0, "severity": 2}], "errors": [true, true, true], "distorted": 0,'
    b' "incident": {"id": "inc_a", "since": 990.0, "sequence": 1, "told_at": 1000.0},'
    b' "broken_incident": {"id": "inc_b", "since": 980.0, "sequence": 2, "told_at": 985.0},'
    b' "broken_reason": "plugin", "broken_sentence": "it fell over", "events": 3, "up": false, "last_success": 900.0,'
    b' "wake_at": 4600.0}'
)
"""What the version before wrote: its incidents knew neither their severity nor who was told."""


def old() -> Status:
    return renew(STATUS.validate_json(OLD))


def verdict(severity: Severity, at: float, outcome: Outcome = Outcome.OK) -> Verdict:
    outcome = Outcome.FAIL if severity is Severity.FAIL else outcome
    return Verdict(Run("run", "shop", at, 0, at, 5.0), at, outcome, severity, Reason.STATUS, "it answered 500")


def go_on(status: Status, change: Any, policy: Policy, at: float) -> tuple[Status, list[Event], list[Any]]:
    status, events = advance(status, change, policy, at)
    told: list[Delivery] = []
    for event in events:
        status, deliveries = decide(status, event, NONE, ONCALL, policy)
        told += deliveries
    return status, list(events), told


POLICY = Policy(broken=Latch(3, 3), remind=3600.0)


def test_what_an_earlier_version_left_open_tells_nothing_new() -> None:
    status, told, _ = go_on(old(), verdict(Severity.OK, 1060.0, Outcome.ERROR), POLICY, 1060.0)
    assert told == []
    _, told, _ = go_on(status, Tick("shop", tuple(Track)), Policy(), 1120.0)
    assert told == []
    _, told, _ = go_on(status, verdict(Severity.FAIL, 1120.0), POLICY, 1120.0)
    assert [event.kind for event in told] == [Kind.CHECK_REPAIRED]


def test_what_an_earlier_version_left_open_ends_for_those_who_are_configured() -> None:
    status, told, deliveries = go_on(old(), verdict(Severity.OK, 1060.0), POLICY, 1060.0)
    assert [event.kind for event in told] == [Kind.CHECK_REPAIRED, Kind.RESOLVED]
    assert [(event.incident, event.sequence) for event in told] == [("inc_b", 3), ("inc_a", 2)]
    assert told[1].was is Severity.FAIL
    assert [delivery.address for delivery in deliveries] == [*ONCALL, *ONCALL]
    assert (status.incident, status.broken_incident) == (None, None)


def test_what_an_earlier_version_left_open_is_withdrawn_or_reminded_of_as_it_stands() -> None:
    _, told, deliveries = go_on(old(), Removal("shop"), POLICY, 1060.0)
    assert [event.kind for event in told] == [Kind.WITHDRAWN, Kind.WITHDRAWN]
    assert [delivery.address for delivery in deliveries] == [*ONCALL, *ONCALL]
    _, told, _ = go_on(old(), Tick("shop"), POLICY, 4600.0)
    assert [(event.kind, event.severity) for event in told] == [
        (Kind.REMINDER, Severity.FAIL),
        (Kind.REMINDER, Severity.OK),
    ]


def test_what_an_earlier_version_left_open_escalates_once_that_is_asked_for() -> None:
    policy = Policy(escalate=60.0)
    assert go_on(old(), Tick("shop"), policy, 1044.0)[1] == []
    assert [event.track for event in go_on(old(), Tick("shop"), policy, 1045.0)[1]] == [Track.CHECK]
    assert [event.track for event in go_on(old(), Tick("shop"), policy, 1060.0)[1]] == [Track.TARGET, Track.CHECK]


def test_a_status_of_today_is_left_as_it_is() -> None:
    assert renew(FRESH) == FRESH
    assert renew(everything()) == everything()
    for policy in (Policy(), Policy(hold=60.0)):
        status, _, _ = go_on(FRESH, verdict(Severity.WARN, 1000.0), policy, 1000.0)
        assert renew(status) == status

"""PagerDuty and Opsgenie: what opens, what closes, and how urgent it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from heartbeat.channels.opsgenie import Opsgenie
from heartbeat.channels.pagerduty import PagerDuty
from heartbeat.core.batch import single
from heartbeat.core.model import OVER, Delivery, Kind, Severity, Track

Deliver = Callable[..., Delivery]
KEY = "0123456789abcdef0123456789ABCDEF"
SEVERITIES = [
    (Kind.RAISED, Severity.FAIL, "trigger", "critical", "P1"),
    (Kind.RAISED, Severity.WARN, "trigger", "warning", "P3"),
    (Kind.EASED, Severity.WARN, "trigger", "warning", "P3"),
    (Kind.REMINDER, Severity.FAIL, "trigger", "critical", "P1"),
    (Kind.CHECK_BROKEN, Severity.OK, "trigger", "error", "P3"),
    (Kind.DRILL, Severity.OK, "trigger", "info", "P5"),
    (Kind.MISSED, Severity.OK, "trigger", "error", "P3"),
    (Kind.FLAPPING, Severity.OK, "trigger", "warning", "P3"),
    (Kind.FLAPPING, Severity.FAIL, "trigger", "error", "P3"),
    (Kind.BUDGET_BURNING, Severity.WARN, "trigger", "warning", "P3"),
    (Kind.BUDGET_BURNING, Severity.FAIL, "trigger", "critical", "P1"),
    (Kind.ESCALATED, Severity.FAIL, "trigger", "critical", "P1"),
]


def pagerduty(delivery: Delivery) -> dict[str, Any]:
    channel = PagerDuty.model_validate({"routing_key": KEY})
    whole: dict[str, Any] = json.loads(channel.render(single(delivery), 0.0).body)
    return whole


def opsgenie(delivery: Delivery, **options: Any) -> tuple[str, dict[str, Any]]:
    channel = Opsgenie.model_validate({"api_key": "key-of-an-integration", **options})
    message = channel.render(single(delivery), 0.0)
    return channel.letter(single(delivery), message).url.get_secret_value(), json.loads(message.body)


@pytest.mark.parametrize("case", SEVERITIES, ids=str)
def test_what_is_bad_opens_as_urgent_as_it_is(deliver: Deliver, case: tuple[Kind, Severity, str, str, str]) -> None:
    kind, severity, action, word, priority = case
    delivery = deliver(kind=kind, severity=severity)
    event = pagerduty(delivery)
    assert (event["event_action"], event["payload"]["severity"]) == (action, word)
    assert event["dedup_key"] == delivery.event.incident
    url, alert = opsgenie(delivery)
    assert url == "https://api.opsgenie.com/v2/alerts"
    assert (alert["alias"], alert["priority"]) == (delivery.event.incident, priority)


def test_what_nobody_acknowledged_is_urgent_whatever_it_is_about(deliver: Deliver) -> None:
    delivery = deliver(kind=Kind.ESCALATED, track=Track.RUNS, severity=Severity.OK)
    assert pagerduty(delivery)["payload"]["severity"] == "error"
    assert opsgenie(delivery)[1]["priority"] == "P1"


def test_a_reminder_is_as_bad_as_what_it_reminds_of(deliver: Deliver) -> None:
    for track, word in ((Track.CHECK, "error"), (Track.RUNS, "error"), (Track.FLAPPING, "warning")):
        delivery = deliver(kind=Kind.REMINDER, track=track, severity=Severity.OK)
        assert pagerduty(delivery)["payload"]["severity"] == word
        assert opsgenie(delivery)[1]["priority"] == "P3"


@pytest.mark.parametrize("kind", sorted(OVER))
def test_the_end_of_an_incident_closes_what_it_opened(deliver: Deliver, kind: Kind) -> None:
    delivery = deliver(kind=kind, severity=Severity.OK)
    assert pagerduty(delivery) == {"event_action": "resolve", "dedup_key": delivery.event.incident}
    url, note = opsgenie(delivery)
    assert url == f"https://api.opsgenie.com/v2/alerts/{delivery.event.incident}/close?identifierType=alias"
    assert set(note) == {"source", "note"}


def test_the_key_is_in_what_is_sent_and_not_in_what_is_rendered(deliver: Deliver) -> None:
    channel = PagerDuty.model_validate({"routing_key": KEY})
    batch = single(deliver())
    message = channel.render(batch, 0.0)
    assert KEY.encode() not in message.body
    assert json.loads(channel.letter(batch, message).body)["routing_key"] == KEY


def test_teams_tags_and_priorities_are_those_of_the_options(deliver: Deliver) -> None:
    options = {"teams": ["ops"], "tags": ["a"], "priority": "P2", "base_url": "https://api.eu.opsgenie.com/"}
    url, alert = opsgenie(deliver(), **options)
    assert url == "https://api.eu.opsgenie.com/v2/alerts"
    assert alert["responders"] == [{"type": "team", "name": "ops"}]
    assert (alert["tags"], alert["priority"]) == (["a"], "P2")
    assert "responders" not in opsgenie(deliver())[1]


def test_who_is_told_in_place_of_another_learns_why(deliver: Deliver) -> None:
    delivery = replace(deliver(), why="oncall/email could not tell a@x.test")
    assert pagerduty(delivery)["payload"]["custom_details"]["why"] == delivery.why
    assert delivery.why in opsgenie(delivery)[1]["description"]


@pytest.mark.parametrize("key", ["", "short", KEY + "0", KEY[:-1] + "-"])
def test_a_routing_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(ValidationError, match="32 letters and digits"):
        PagerDuty.model_validate({"routing_key": key})

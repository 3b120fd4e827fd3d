from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from heartbeat.channels.formats import FORMATS, alertmanager, cloudevents, fingerprint, native, without_evidence
from heartbeat.core.batch import single
from heartbeat.core.model import OVER, Address, Delivery, Kind, Severity
from heartbeat.core.payload import encode, payload
from heartbeat.core.trace import traceparent

Deliver = Callable[..., Delivery]
Golden = Callable[[str, Any], None]
RESOLVED = {"kind": Kind.RESOLVED, "sequence": 2, "was": Severity.FAIL, "severity": Severity.OK}


@pytest.mark.parametrize("name", list(FORMATS))
@pytest.mark.parametrize(("case", "changes"), [("raised", {}), ("resolved", RESOLVED)])
def test_each_format_is_as_in_its_file(
    deliver: Deliver, golden: Golden, name: str, case: str, changes: dict[str, Any]
) -> None:
    whole, content_type = FORMATS[name](single(deliver(**changes)))
    golden(f"webhook/{name}-{case}", {"content_type": content_type, "body": whole})


def test_native_is_the_payload(deliver: Deliver) -> None:
    delivery = deliver()
    assert native(single(delivery)) == (payload(delivery.event), "application/json")


def test_alertmanager_has_exactly_the_keys_of_version_4(deliver: Deliver) -> None:
    whole, _ = alertmanager(single(deliver()))
    assert set(whole) == {
        "version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels", "commonLabels",
        "commonAnnotations", "routeLabels", "externalURL", "notification_reason", "alerts",
    }  # fmt: skip
    assert set(whole["alerts"][0]) == {
        "status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint",
    }  # fmt: skip


def test_an_alert_keeps_its_labels_through_the_incident_and_ends_with_it(deliver: Deliver) -> None:
    firing, _ = alertmanager(single(deliver()))
    eased, _ = alertmanager(single(deliver(kind=Kind.EASED, severity=Severity.WARN, sequence=2)))
    over, _ = alertmanager(single(deliver(**RESOLVED)))
    alerts = [whole["alerts"][0] for whole in (firing, eased, over)]
    for key in ("labels", "fingerprint", "startsAt"):
        assert alerts[0][key] == alerts[1][key] == alerts[2][key]
    assert firing["groupKey"] == over["groupKey"]
    assert [alert["status"] for alert in alerts] == ["firing", "firing", "resolved"]
    assert [alert["endsAt"] == "0001-01-01T00:00:00Z" for alert in alerts] == [True, True, False]
    reasons = [whole["notification_reason"] for whole in (firing, eased, over)]
    assert reasons == ["first notification", "new alerts added", "all alerts resolved"]


def test_what_was_kept_back_until_now_is_the_first_that_its_receiver_hears(deliver: Deliver) -> None:
    told = (Address("oncall", "oncall/webhook"),)
    first, worse, again = (
        deliver(kind=kind, sequence=3, untold="silenced by anna", told=known)
        for kind, known in ((Kind.RAISED, ()), (Kind.RAISED, told), (Kind.REMINDER, told))
    )
    reasons = [alertmanager(single(one))[0]["notification_reason"] for one in (first, worse, again)]
    assert reasons == ["first notification", "new alerts added", "repeat interval elapsed"]


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_fires_or_is_resolved(deliver: Deliver, kind: Kind) -> None:
    whole, _ = alertmanager(single(deliver(kind=kind)))
    assert whole["status"] == ("resolved" if kind in OVER else "firing")


def test_a_broken_check_is_another_alert_than_its_failing_target(deliver: Deliver) -> None:
    failing, _ = alertmanager(single(deliver()))
    broken, _ = alertmanager(single(deliver(kind=Kind.CHECK_BROKEN, severity=Severity.OK)))
    assert failing["alerts"][0]["fingerprint"] != broken["alerts"][0]["fingerprint"]
    assert failing["groupKey"] != broken["groupKey"]


def test_the_fingerprint_is_that_of_prometheus() -> None:
    # The vectors of prometheus/common, model/signature_test.go and the empty set.
    assert fingerprint({}) == "cbf29ce484222325"
    vector = {"name": "garland, briggs", "fear": "love is not enough"}
    assert int(fingerprint(vector), 16) == 5_799_056_148_416_392_346


def test_a_cloudevent_has_what_the_specification_requires(deliver: Deliver) -> None:
    delivery = deliver()
    whole, content_type = cloudevents(single(delivery))
    assert content_type == "application/cloudevents+json"
    assert whole["specversion"] == "1.0"
    assert whole["id"] == delivery.event.id
    assert whole["source"] == "/heartbeat/eu"
    assert whole["type"] == "heartbeat.check.raised"
    assert whole["data"] == payload(delivery.event)["data"]


def test_a_location_of_any_text_makes_a_source_that_is_a_uri(deliver: Deliver) -> None:
    whole, _ = cloudevents(single(deliver(context={"location": "büro 2/<x>"})))
    assert whole["source"] == "/heartbeat/b%C3%BCro%202%2F%3Cx%3E"
    assert cloudevents(single(deliver(context={})))[0]["source"] == "/heartbeat"


@pytest.mark.parametrize("make", [native, cloudevents])
def test_evidence_is_left_out_of_what_is_too_much(deliver: Deliver, make: Any) -> None:
    body = encode(make(single(deliver()))[0])
    shorter = without_evidence(body)
    assert json.loads(shorter)["data"]["result"]["evidence"] == {}
    assert without_evidence(shorter) == shorter


@pytest.mark.parametrize("body", [b"no json", b"[]", b'{"data":null}', b'{"data":{"result":null}}', b'{"data":[1]}'])
def test_what_is_not_ours_stays_as_it_is(body: bytes) -> None:
    assert without_evidence(body) == body


def test_a_cloud_event_has_a_trace_where_the_run_has_one(deliver: Deliver) -> None:
    traced, _ = cloudevents(single(deliver()))
    assert traced["traceparent"] == traceparent("run_1")
    untraced: tuple[dict[str, Any], ...] = ({"context": {}}, {"run": None})
    for changes in untraced:
        whole, _ = cloudevents(single(deliver(**changes)))
        assert "traceparent" not in whole

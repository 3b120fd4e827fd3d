from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from heartbeat.channels import DeliveryFailed
from heartbeat.channels.alertmanager import Alertmanager, instance_of
from heartbeat.core.batch import Batch, single
from heartbeat.core.model import OVER, Address, Delivery, Kind, Severity, Track
from heartbeat.core.trace import trace_id
from heartbeat.http import engine
from heartbeat.testing.webhook import Answer, Misbehaviour, Receiver, webhook_receiver

Deliver = Callable[..., Delivery]
AT = 1_795_269_731.25
NOW = AT + 5


@pytest.fixture(autouse=True)
async def _closed_engine() -> AsyncIterator[None]:
    yield
    engine().close()


def channel(*urls: str, **options: Any) -> Alertmanager:
    return Alertmanager.model_validate({"urls": urls or ["http://am.test:9093"]} | options)


def address(receiver: Receiver) -> str:
    return f"http://127.0.0.1:{receiver.port}"


def to(instance: str, delivery: Delivery) -> Batch:
    return single(replace(delivery, address=Address("oncall", "oncall/alertmanager", instance_of(instance))))


def alert_of(delivery: Delivery, **options: Any) -> dict[str, Any]:
    (alert,) = json.loads(channel(**options).render(single(delivery), NOW).body)
    assert isinstance(alert, dict)
    return alert


def test_a_raised_event_becomes_an_alert_whose_end_is_open(deliver: Deliver) -> None:
    assert alert_of(deliver()) == {
        "labels": {
            "alertname": "HeartbeatCheckFailed",
            "check": "shop-login",
            "location": "eu",
            "team": "shop",
            "type": "http",
        },
        "annotations": {
            "summary": "shop-login: the answer was 500",
            "description": "the answer was 500. duration: 420 ms; at most 300 ms allowed. expected 200, observed 500",
            "severity": "fail",
            "reason": "status",
            "incident": "inc_fedcba9876543210fedcba98765432",
            "run": "run_1",
            "trace_id": trace_id("run_1"),
            "runbook_url": "https://wiki.test/shop",
        },
        "startsAt": "2026-11-21T14:01:11.250Z",
    }


def test_labels_and_start_stay_the_same_through_an_incident(deliver: Deliver) -> None:
    events = [
        deliver(severity=Severity.WARN),
        deliver(kind=Kind.RAISED, severity=Severity.FAIL, sequence=2, at=AT + 60),
        deliver(kind=Kind.REMINDER, severity=Severity.FAIL, sequence=3, at=AT + 120),
        deliver(kind=Kind.EASED, severity=Severity.WARN, sequence=4, at=AT + 180),
        deliver(kind=Kind.RESOLVED, severity=Severity.OK, sequence=5, at=AT + 240),
        deliver(kind=Kind.WITHDRAWN, severity=Severity.WARN, sequence=5, at=AT + 240),
    ]
    alerts = [alert_of(event) for event in events]
    assert len({json.dumps(alert["labels"]) for alert in alerts}) == 1
    assert len({alert["startsAt"] for alert in alerts}) == 1
    assert [alert["annotations"].get("severity") for alert in alerts[:4]] == ["warn", "fail", "fail", "warn"]


@pytest.mark.parametrize("kind", sorted(OVER))
def test_the_end_of_an_incident_is_the_end_of_the_alert_however_late_it_is_told(deliver: Deliver, kind: Kind) -> None:
    assert alert_of(deliver(kind=kind, at=AT + 1))["endsAt"] == "2026-11-21T14:02:12.250Z"


def test_a_broken_check_has_an_alert_of_its_own_from_beginning_to_end(deliver: Deliver) -> None:
    ok = Severity.OK
    broken = [
        deliver(kind=Kind.CHECK_BROKEN, severity=ok),
        deliver(kind=Kind.CHECK_REPAIRED, severity=ok),
        deliver(kind=Kind.WITHDRAWN, severity=ok, was=ok),
    ]
    assert {alert_of(event)["labels"]["alertname"] for event in broken} == {"HeartbeatCheckBroken"}
    assert "severity" not in alert_of(broken[0])["annotations"]


ALERTS = [
    (Track.RUNS, Kind.MISSED, Kind.RESUMED, "HeartbeatCheckNotRunning", None),
    (Track.BUDGET, Kind.BUDGET_BURNING, Kind.BUDGET_SAFE, "HeartbeatErrorBudgetBurning", "fail"),
    (Track.FLAPPING, Kind.FLAPPING, Kind.SETTLED, "HeartbeatCheckFlapping", "fail"),
]


@pytest.mark.parametrize(("track", "begins", "ends", "name", "severity"), ALERTS)
def test_each_track_has_an_alert_of_its_own_from_beginning_to_end(  # noqa: PLR0917 - the columns of a table
    deliver: Deliver, track: Track, begins: Kind, ends: Kind, name: str, severity: str | None
) -> None:
    kinds = (begins, Kind.REMINDER, Kind.ESCALATED, Kind.WITHDRAWN, ends)
    alerts = [alert_of(deliver(kind=kind, track=track)) for kind in kinds]
    assert len({json.dumps(alert["labels"]) for alert in alerts}) == 1
    assert alerts[0]["labels"]["alertname"] == name
    assert alerts[0]["annotations"].get("severity") == severity
    assert ["endsAt" in alert for alert in alerts] == [False, False, False, True, True]


def test_what_flaps_is_a_warning_at_least_until_it_settles(deliver: Deliver) -> None:
    flapping = [
        deliver(kind=kind, track=Track.FLAPPING, severity=Severity.OK) for kind in (Kind.FLAPPING, Kind.SETTLED)
    ]
    assert [alert_of(one)["annotations"]["severity"] for one in flapping] == ["warn", "ok"]


def sent(delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the alert as it leaves at ``NOW``, although it was rendered an hour ago."""
    monkeypatch.setattr("heartbeat.channels.alertmanager.time.time", lambda: NOW)
    batch = to("http://am.test:9093", delivery)
    (alert,) = json.loads(channel().letter(batch, channel().render(batch, NOW - 3600)).body)
    assert isinstance(alert, dict)
    return alert


def test_an_alert_stands_for_four_rounds_from_when_it_leaves(deliver: Deliver, monkeypatch: pytest.MonkeyPatch) -> None:
    alert = sent(deliver(), monkeypatch)
    assert (alert["startsAt"], alert["endsAt"]) == ("2026-11-21T14:01:11.250Z", "2026-11-21T14:06:16.250Z")


def test_an_alert_that_nobody_asserts_again_stands_for_a_day(deliver: Deliver, monkeypatch: pytest.MonkeyPatch) -> None:
    fallen_back = replace(deliver(), why="oncall/email could not tell a@example.com")
    assert sent(fallen_back, monkeypatch)["endsAt"] == "2026-11-22T14:02:16.250Z"


def test_an_end_is_not_moved_when_it_leaves_late(deliver: Deliver, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sent(deliver(kind=Kind.RESOLVED), monkeypatch)["endsAt"] == "2026-11-21T14:02:11.250Z"


def test_an_alert_never_ends_before_it_starts(deliver: Deliver, monkeypatch: pytest.MonkeyPatch) -> None:
    for alert in (
        sent(deliver(kind=Kind.RESOLVED, since=AT + 10, at=AT), monkeypatch),
        sent(deliver(since=AT + 86_400), monkeypatch),
    ):
        assert alert["startsAt"] == alert["endsAt"]


def test_labels_of_the_channel_are_added_and_those_of_the_check_win(deliver: Deliver) -> None:
    labels = alert_of(deliver(), labels={"severity": "page", "team": "other"})["labels"]
    assert (labels["severity"], labels["team"]) == ("page", "shop")


def test_labels_without_a_value_are_left_out(deliver: Deliver) -> None:
    labels = alert_of(deliver(context={"type": "http", "labels": {"team": ""}, "location": ""}))["labels"]
    assert labels == {"alertname": "HeartbeatCheckFailed", "check": "shop-login", "type": "http"}


@pytest.mark.parametrize(
    ("page", "link"), [("https://hb.test/checks/shop", "https://hb.test/checks/shop"), ("hb.test", None), (None, None)]
)
def test_the_page_of_the_check_is_linked_where_one_is_known(deliver: Deliver, page: Any, link: str | None) -> None:
    context = {"type": "http", "page": page} if page else {"type": "http"}
    assert alert_of(deliver(context=context)).get("generatorURL") == link


def test_a_drill_is_an_alert_of_its_own(deliver: Deliver) -> None:
    assert alert_of(deliver(kind=Kind.DRILL))["labels"]["alertname"] == "HeartbeatDrill"


def test_what_a_target_says_is_inert(deliver: Deliver) -> None:
    annotations = alert_of(deliver(sentence="<!channel> <b>\x1b[31m\nalert \ud800"))["annotations"]
    assert annotations["summary"] == "shop-login: \u2039!channel\u203a \u2039b\u203a [31m alert"
    assert "<" not in json.dumps(annotations)


async def test_every_instance_is_a_recipient_of_its_own(deliver: Deliver) -> None:
    async with webhook_receiver() as first, webhook_receiver() as second:
        hook = channel(address(first), address(second) + "/am/")
        assert hook.recipients() == (f"127.0.0.1:{first.port}", f"127.0.0.1:{second.port}/am")
        first.script(Answer(503))
        batches = [to(url, deliver()) for url in hook.urls]
        with pytest.raises(DeliveryFailed) as caught:
            await hook.send(batches[0], hook.render(batches[0], NOW))
        assert not caught.value.permanent
        await hook.send(batches[1], hook.render(batches[1], NOW))
        await hook.send(batches[0], hook.render(batches[0], NOW))
    assert [request.path for request in first.requests] == ["/api/v2/alerts"] * 2
    assert [request.path for request in second.requests] == ["/am/api/v2/alerts"]
    assert first.requests[0].headers["content-type"] == "application/json"


async def test_a_refused_alert_is_final_and_its_answer_is_told(deliver: Deliver) -> None:
    async with webhook_receiver() as receiver:
        receiver.script(Answer(400, (("content-type", "application/json"),), b'"start time must be before end time"'))
        hook = channel(address(receiver))
        batch = to(hook.urls[0], deliver())
        with pytest.raises(DeliveryFailed, match="start time must be before end time") as caught:
            await hook.send(batch, hook.render(batch, NOW))
    assert caught.value.permanent
    assert len(receiver.requests) == 1


async def test_a_doubtful_failure_is_no_reason_to_repeat_the_same_bytes(deliver: Deliver) -> None:
    async with webhook_receiver() as receiver:
        receiver.script(Misbehaviour.RESET)
        hook = channel(address(receiver))
        batch = to(hook.urls[0], deliver())
        with pytest.raises(DeliveryFailed) as caught:
            await hook.send(batch, hook.render(batch, NOW))
    assert (caught.value.permanent, caught.value.ambiguous) == (False, False)


async def test_headers_are_sent_and_shown_nowhere(deliver: Deliver) -> None:
    async with webhook_receiver() as receiver:
        hook = channel(address(receiver), headers={"Authorization": "Bearer CANARY"})
        batch = to(hook.urls[0], deliver())
        receiver.script(Answer(401, body=b"Bearer CANARY is unknown"))
        with pytest.raises(DeliveryFailed) as caught:
            await hook.send(batch, hook.render(batch, NOW))
    assert receiver.requests[0].headers["authorization"] == "Bearer CANARY"
    assert "CANARY" not in repr(hook) + caught.value.sentence
    assert caught.value.retry_after == 600


async def test_an_instance_that_is_not_configured_any_more_is_given_up(deliver: Deliver) -> None:
    batch = to("http://gone.test:9093", deliver())
    with pytest.raises(DeliveryFailed, match=r"gone\.test:9093") as caught:
        await channel().send(batch, channel().render(batch, NOW))
    assert caught.value.permanent


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"urls": []}, "at least 1"),
        ({"urls": ["am:9093"]}, "https://host/path"),
        ({"urls": ["http://hb:pw@am:9093"]}, "user name"),
        ({"urls": ["http://am:9093?a=b"]}, "no query"),
        ({"urls": ["http://am:9093", "http://am:9093/"]}, "twice"),
        ({"labels": {"alertname": "x"}}, "label of your own"),
        ({"labels": {"a-b": "x"}}, "label of your own"),
        ({"headers": {"X-A": "1\r\nX-B: 2"}}, "one line"),
        ({"resend_every": "100ms"}, "greater than or equal to 1"),
    ],
)
def test_a_wrong_option_is_refused_and_says_what_to_change(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Alertmanager.model_validate({"urls": ["http://am:9093"]} | change)

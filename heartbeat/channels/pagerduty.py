"""The channel ``pagerduty``: incidents as alerts of PagerDuty, by its Events API v2."""

from __future__ import annotations

import json
import re
from typing import ClassVar

from pydantic import SecretStr, field_validator

from heartbeat.channels import DeliveryFailed, Rendered
from heartbeat.channels.alertmanager import UNKNOWN
from heartbeat.channels.chat import safe_link
from heartbeat.channels.posting import Endpoint, Letter, OverHTTP, document
from heartbeat.core.batch import Batch
from heartbeat.core.model import OVER, Event, Severity, Track
from heartbeat.core.payload import encode, payload
from heartbeat.core.sentences import sentence_of, state_of, track_of
from heartbeat.core.text import plain
from heartbeat.core.times import timestamp
from heartbeat.http.message import Response

SEVERITIES = {Severity.FAIL: "critical", Severity.WARN: "warning", Severity.OK: "info"}


class PagerDuty(OverHTTP):
    """Alerts of a service in PagerDuty: an incident triggers one, and its end resolves it. Nothing acknowledges it."""

    kind: ClassVar[str] = "pagerduty"
    login: ClassVar[str] = "the routing_key"

    routing_key: SecretStr
    """The integration key of the service (Events API v2): 32 letters and digits."""
    url: Endpoint = "https://events.pagerduty.com/v2/enqueue"
    """Where events are taken; ``https://events.eu.pagerduty.com/v2/enqueue`` for accounts in the EU."""

    @field_validator("routing_key")
    @classmethod
    def _check_key(cls, value: SecretStr) -> SecretStr:
        if not re.fullmatch(r"[A-Za-z0-9]{32}", value.get_secret_value()):
            raise ValueError("the routing_key must be the 32 letters and digits of an Events API v2 integration")
        return value

    def render(self, batch: Batch, at: float) -> Rendered:  # noqa: ARG002 - machines are told the event, not the delay
        """Turn an event into one of theirs; ``dedup_key`` is the incident, so that its events find one another."""
        (delivery,) = batch.deliveries
        event = delivery.event
        over = event.kind in OVER
        whole = {"event_action": "resolve" if over else "trigger", "dedup_key": plain(event.incident, 255)}
        return Rendered(encode(whole if over else {**whole, **_alert(event, delivery.why)}), (), "application/json")

    def letter(self, batch: Batch, message: Rendered) -> Letter:  # noqa: ARG002 - all goes to one place
        """Return the request; the key, which ``render`` leaves out, is a part of its body."""
        body = encode({"routing_key": self.routing_key.get_secret_value(), **json.loads(message.body)})
        return Letter(SecretStr(self.url), body, message.headers, message.content_type)

    def shorten(self, body: bytes) -> bytes:
        """Return the event without details."""
        whole = json.loads(body)
        whole.get("payload", {}).pop("custom_details", None)
        return encode(whole)

    def accepts(self, response: Response, host: str) -> str | DeliveryFailed:
        """Look at ``status``, which is ``success`` where the event was taken."""
        outcome = super().accepts(response, host)
        status = document(response).get("status")
        if isinstance(outcome, str) and status != "success":
            return DeliveryFailed(f"{host} answers {response.status}, but not success: {plain(status, 100)}")
        return outcome


def severity_of(event: Event) -> str:
    """Return one of PagerDuty's four severities; ``error`` where the target may be well, or is from time to time."""
    track = track_of(event)
    if track is Track.FLAPPING:
        return "error" if event.severity is Severity.FAIL else "warning"
    return "error" if track in UNKNOWN else SEVERITIES[event.severity]


def _alert(event: Event, why: str) -> dict[str, object]:
    context = event.context
    runbook = safe_link(context.get("runbook"))
    body = {
        "summary": plain(f"{state_of(event)}: {plain(event.check, 200)}: {sentence_of(event)}", 1024),
        "source": plain(context.get("location") or event.check, 200),
        "severity": severity_of(event),
        "timestamp": timestamp(event.at),
        "component": plain(event.check, 200),
        "class": str(event.reason or event.kind),
        "custom_details": payload(event, why=why)["data"],
    }
    links = {"links": [{"href": runbook, "text": "Runbook"}]} if runbook else {}
    return {"payload": body, "client": "Heartbeat", **links}

"""The formats of the webhook: our own, Alertmanager's version 4, CloudEvents 1.0. Pure: the same bytes every time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from heartbeat.channels.alertmanager import annotations_of, labels_of
from heartbeat.channels.chat import safe_link
from heartbeat.core.batch import Batch
from heartbeat.core.model import OPENING, OVER, Event, Kind
from heartbeat.core.payload import encode, payload
from heartbeat.core.text import plain
from heartbeat.core.times import timestamp
from heartbeat.core.trace import traceparent

JSON = "application/json"
ZERO_TIME = "0001-01-01T00:00:00Z"
"""How Go writes a time that is not set: the end of an alert that fires (Alertmanager, template/template.go)."""

Format = tuple[dict[str, Any], str]
"""A document and its content type."""


def native(batch: Batch) -> Format:
    """Return our own payload, version 1."""
    (delivery,) = batch.deliveries
    return payload(delivery.event, why=delivery.why), JSON


def cloudevents(batch: Batch) -> Format:
    """Return a CloudEvent 1.0 in structured mode: our payload's data in its envelope.

    ``source`` is a path made of our location; together with ``id`` it is unique, as section 3.1.1 asks.
    """
    (event,) = batch.events
    whole, _ = native(batch)
    location = plain(event.context.get("location", ""), 200)
    envelope = {
        "specversion": "1.0",
        "id": plain(event.id, 80),
        "source": "/heartbeat" + (f"/{quote(location, safe='')}" if location else ""),
        "type": whole["type"],
        "subject": plain(event.check, 200),
        "time": whole["timestamp"],
        "datacontenttype": JSON,
        **_tracing(event),
        "data": whole["data"],
    }
    return envelope, "application/cloudevents+json"


def _tracing(event: Event) -> dict[str, str]:
    """Return the extension for distributed tracing (CloudEvents 1.0, extensions/distributed-tracing.md)."""
    return {"traceparent": traceparent(event.run.id)} if event.run and event.context.get("trace_id") else {}


def alertmanager(batch: Batch) -> Format:
    """Return what Alertmanager's webhook sends, version "4", as a group of one alert."""
    (event,) = batch.events
    labels, annotations = labels_of(event), dict(annotations_of(event))
    over = event.kind in OVER
    status = "resolved" if over else "firing"
    alert = {
        "status": status,
        "labels": labels,
        "annotations": annotations,
        "startsAt": timestamp(event.since),
        "endsAt": timestamp(event.at) if over else ZERO_TIME,
        "generatorURL": safe_link(event.context.get("page")),
        "fingerprint": fingerprint(labels),
    }
    group = {name: labels[name] for name in ("alertname", "check")}
    written = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in sorted(group.items()))
    whole = {
        "receiver": plain(batch.address.receiver, 200),
        "status": status,
        "alerts": [alert],
        "groupLabels": group,
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "routeLabels": {},
        "externalURL": "",
        "version": "4",
        "groupKey": f"{{}}:{{{written}}}",
        "truncatedAlerts": 0,
        "notification_reason": _reason_to_notify(event),
    }
    return whole, JSON


FORMATS: Mapping[str, Callable[[Batch], Format]] = {
    "native": native,
    "alertmanager": alertmanager,
    "cloudevents": cloudevents,
}


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return Prometheus's fingerprint of labels: FNV-1a in 64 bits over sorted names and values (common/model)."""
    value = 14_695_981_039_346_656_037
    for name in sorted(labels):
        for byte in b"".join((name.encode(), b"\xff", labels[name].encode(), b"\xff")):
            value = ((value ^ byte) * 1_099_511_628_211) & 0xFFFF_FFFF_FFFF_FFFF
    return f"{value:016x}"


def without_evidence(body: bytes) -> bytes:
    """Return one of our own documents without what a receiver may find too long or may not like; others unchanged."""
    try:
        whole: dict[str, Any] = json.loads(body)
        if whole["data"]["result"]["evidence"]:
            whole["data"]["result"]["evidence"] = {}
            return encode(whole)
    except (ValueError, KeyError, TypeError):
        pass
    return body


def _reason_to_notify(event: Event) -> str:
    """Say why this is sent in Alertmanager's own words (notify/notify.go)."""
    if event.kind in OVER:
        return "all alerts resolved"
    if event.kind is Kind.REMINDER:
        return "repeat interval elapsed"
    is_first = event.sequence == 1 or (event.kind in OPENING.values() and event.untold and not event.told)
    return "first notification" if is_first else "new alerts added"

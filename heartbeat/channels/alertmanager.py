"""The channel ``alertmanager``: an incident as an alert, posted to every instance of a Prometheus Alertmanager.

An Alertmanager believes what it was told last, and forgets it at ``endsAt`` and at its own restart. So every event is
delivered once to each instance, like to any receiver; and beside that ``heartbeat.reassert`` tells how things stand,
again and again.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from heartbeat.channels import DeliveryFailed, Rendered
from heartbeat.channels.posting import Endpoint, Letter, OverHTTP
from heartbeat.channels.reaching import reach_all, reach_server
from heartbeat.check import Duration
from heartbeat.core.batch import Batch
from heartbeat.core.model import OVER, Event, Kind, Severity, Track
from heartbeat.core.sentences import sentence_of, track_of
from heartbeat.core.text import plain
from heartbeat.core.times import timestamp

PATH = "/api/v2/alerts"
HEALTHY = "/-/healthy"
FAILURES = 4
"""An alert stands for so many rounds without us: Prometheus' number, for two failures of each side."""
ALONE = 86_400.0
"""Seconds that an alert stands which nobody asserts again, as it came from another receiver that could not be told."""
NAMES = {
    Track.TARGET: "HeartbeatCheckFailed",
    Track.CHECK: "HeartbeatCheckBroken",
    Track.RUNS: "HeartbeatCheckNotRunning",
    Track.BUDGET: "HeartbeatErrorBudgetBurning",
    Track.FLAPPING: "HeartbeatCheckFlapping",
}
"""What the alerts are called: a check can be in trouble on several tracks at once, and each has its own."""
DRILL = "HeartbeatDrill"
UNKNOWN = frozenset({Track.CHECK, Track.RUNS})
"""The tracks of a check that says nothing of its target, which may be well."""
OWN_LABELS = frozenset({"alertname", "check", "type", "location"})
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,99}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_BRACKETS = str.maketrans("<>", "\u2039\u203a")


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as an Alertmanager knows it: equal labels are the same alert; times are seconds since the epoch.

    ``ends`` is None while that is to be filled in when it leaves.
    """

    labels: tuple[tuple[str, str], ...]
    annotations: tuple[tuple[str, str], ...]
    starts: float
    ends: float | None
    page: str = ""


class Alertmanager(OverHTTP):
    """Alerts for Prometheus' Alertmanager: ``HeartbeatCheckFailed``, and ``HeartbeatCheckBroken`` for a check at fault.

    One that does not run is ``HeartbeatCheckNotRunning``, one whose state keeps changing ``HeartbeatCheckFlapping``,
    one whose objective is at stake ``HeartbeatErrorBudgetBurning``.

    Labels are the alert's identity, so they stay the same through an incident: check, type, location and the check's
    own labels. How bad it is can change, and is the annotation ``severity``. To route by a label ``severity``, as
    rules of Prometheus do, write it: ``labels: {severity: page}`` here or at the check.
    """

    kind: ClassVar[str] = "alertmanager"
    login: ClassVar[str] = "headers"

    urls: tuple[Endpoint, ...] = Field(min_length=1, max_length=20)
    """Every instance, as ``http://alertmanager-0:9093``, not a balancer: they do not pass alerts on to one another."""
    labels: Mapping[str, str] = Field(default_factory=dict)
    """Labels to add to every alert; those of the check win."""
    headers: Mapping[str, SecretStr] = Field(default_factory=dict)
    """Headers to add, as for authorization."""
    timeout: Duration = Field(default=10.0, gt=0, le=300)
    """Seconds for one attempt at one instance."""
    resend_every: Duration = Field(default=60.0, ge=1, le=3600)
    """Seconds between two times of telling how things stand."""

    @field_validator("urls")
    @classmethod
    def _check_urls(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(urlsplit(url).query for url in value):
            raise ValueError("a url must lead to an Alertmanager, as http://host:9093, and have no query")
        if len({instance_of(url) for url in value}) < len(value):
            raise ValueError("names an instance twice")
        return value

    @field_validator("labels")
    @classmethod
    def _check_labels(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for name in value:
            if not _LABEL.fullmatch(name) or name in OWN_LABELS:
                raise ValueError(f"{plain(name, 40)!r} is no name for a label of your own; use letters, digits and _")
        return value

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, value: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        for name, text in value.items():
            if not _HEADER.fullmatch(name) or not re.fullmatch(r"[\t -~]*", text.get_secret_value()):
                raise ValueError(f"the header {plain(name, 40)!r} must be one line of ASCII")
        return value

    def recipients(self) -> tuple[str, ...]:
        """Return the instances: each is told, and answers, on its own."""
        return tuple(map(instance_of, self.urls))

    def render(self, batch: Batch, at: float) -> Rendered:  # noqa: ARG002 - until when it stands is known when it leaves
        """Turn an event into an alert that has ended, or whose end is left open: these bytes may leave much later."""
        (event,) = batch.events
        return Rendered(write([self.alert(event, event.at if event.kind in OVER else None)]), (), "application/json")

    def letter(self, batch: Batch, message: Rendered) -> Letter:
        """Return the request to one instance; alerts whose end is open stand until they are asserted again."""
        url = next((url for url in self.urls if instance_of(url) == batch.address.recipient), "")
        if not url:
            raise DeliveryFailed(f"{batch.address.recipient} is not among the urls any more", permanent=True)
        stands = ALONE if any(one.why for one in batch.deliveries) else FAILURES * self.resend_every
        body = until(message.body, time.time() + stands) if batch.deliveries else message.body
        headers = tuple((name, value.get_secret_value()) for name, value in self.headers.items())
        return Letter(SecretStr(url.rstrip("/") + PATH), body, headers)

    async def reach(self) -> tuple[str, ...]:
        """Ask each instance whether it is well. Raises ``DeliveryFailed``."""
        return await reach_all(*(asyncio.ensure_future(self._visit(url)) for url in self.urls))

    async def _visit(self, url: str) -> tuple[str, ...]:
        steps = await reach_server(url, timeout=self.timeout, tls=self._tls())
        headers = tuple((name, value.get_secret_value()) for name, value in self.headers.items())
        question = Letter(SecretStr(url.rstrip("/") + HEALTHY), b"", headers, method="GET")
        response = await self._post(question)
        answer = f"{instance_of(url)} answers {response.status} at {HEALTHY}"
        if response.status in (401, 403):
            raise DeliveryFailed(f"{answer}: check {self.login}", permanent=True)
        if response.status >= 500:
            raise DeliveryFailed(answer)
        return (*steps, answer)

    async def send(self, batch: Batch, message: Rendered) -> str:
        """Post the alert. A second time does nothing, so after a doubtful failure it may be made anew."""
        try:
            return await super().send(batch, message)
        except DeliveryFailed as failed:
            failed.ambiguous = False
            raise

    def alert(self, event: Event, ends: float | None) -> Alert:
        """Return the alert of an incident as an event tells of it."""
        labels = {**self.labels, **labels_of(event)}
        starts = event.since if ends is None else min(event.since, ends)
        return Alert(tuple(sorted(labels.items())), annotations_of(event), starts, ends, page_of(event))


def labels_of(event: Event) -> dict[str, str]:
    """Return what an alert is known by: the same from the beginning of an incident to its end, and after a restart."""
    context = event.context
    named = {
        **(context.get("labels") or {}),
        "alertname": name_of(event),
        "check": event.check,
        "type": context.get("type", ""),
        "location": context.get("location", ""),
    }
    return {name: plain(value, 200) for name, value in sorted(named.items()) if value}


def page_of(event: Event) -> str:
    """Return the page of the check where one is known; anything but a URL makes an Alertmanager refuse the alert."""
    page = event.context.get("page", "")
    return page if isinstance(page, str) and re.fullmatch(r"https?://[!-~]{1,1000}", page) else ""


def annotations_of(event: Event) -> tuple[tuple[str, str], ...]:
    """Return what people read of an alert. Brackets are replaced: in a chat they could call a whole channel."""
    said = plain(sentence_of(event), 1000).translate(_BRACKETS)
    found = [f"{finding.limit}: {finding.observed}; {finding.expected}" for finding in event.findings[:10]]
    result = event.result
    if result and (result.expected or result.observed):
        found.append(f"expected {result.expected or 'something else'}, observed {result.observed or 'nothing'}")
    annotations = {
        "summary": plain(f"{event.check}: {said}", 300),
        "description": plain(". ".join([said, *found]), 2000).translate(_BRACKETS),
        "severity": severity_of(event),
        "reason": str(event.reason or ""),
        "incident": event.incident,
        "run": plain(event.run.id if event.run else "", 80),
        "trace_id": plain(event.context.get("trace_id", ""), 32),
        "runbook_url": plain(event.context.get("runbook", ""), 1000),
    }
    return tuple((name, text) for name, text in annotations.items() if text)


def write(alerts: Iterable[Alert]) -> bytes:
    """Write alerts as the API v2 reads them."""
    whole = [_as_json(alert) for alert in alerts]
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()


def _as_json(alert: Alert) -> dict[str, Any]:
    return {
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "startsAt": timestamp(alert.starts),
        **({} if alert.ends is None else {"endsAt": timestamp(alert.ends)}),
        **({"generatorURL": alert.page} if alert.page else {}),
    }


def until(body: bytes, at: float) -> bytes:
    """Return written alerts with an end for those that have none; none starts after it, or it would be refused."""
    whole: list[dict[str, Any]] = json.loads(body)
    end = timestamp(at)
    filled = [{"endsAt": end, **one, "startsAt": min(one["startsAt"], one.get("endsAt", end))} for one in whole]
    return json.dumps(filled, ensure_ascii=False, separators=(",", ":")).encode()


def name_of(event: Event) -> str:
    """Return the alert's name."""
    return DRILL if event.kind is Kind.DRILL else NAMES[track_of(event)]


def severity_of(event: Event) -> str:
    """Return how bad it is, or nothing where nothing is known of the target; what flaps is a warning at least."""
    track = track_of(event)
    if track in UNKNOWN:
        return ""
    flaps = track is Track.FLAPPING and event.kind not in OVER
    return max(event.severity, Severity.WARN if flaps else Severity.OK).word


def instance_of(url: str) -> str:
    """Return what an instance is called: its address, and the path where it has one."""
    parts = urlsplit(url)
    return f"{parts.netloc}{parts.path}".rstrip("/")

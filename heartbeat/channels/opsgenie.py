"""The channel ``opsgenie``: incidents as alerts of Opsgenie, or of what Jira Service Management has in its place."""

from __future__ import annotations

import json
from typing import ClassVar, Literal
from urllib.parse import quote

from pydantic import Field, SecretStr, field_validator

from heartbeat.channels import Rendered
from heartbeat.channels.chat import fit
from heartbeat.channels.posting import Endpoint, Letter, OverHTTP, Token
from heartbeat.core.batch import Batch
from heartbeat.core.message import Message, compose
from heartbeat.core.model import OVER, Event, Kind
from heartbeat.core.payload import encode
from heartbeat.core.sentences import is_urgent
from heartbeat.core.text import cut, plain

MESSAGE = 130
DESCRIPTION = 15_000
DETAILS = 8000
"""Characters of all details together."""

Priority = Literal["P1", "P2", "P3", "P4", "P5"]


class Opsgenie(OverHTTP):
    """Alerts in Opsgenie: an incident opens one, and its end closes it."""

    kind: ClassVar[str] = "opsgenie"
    login: ClassVar[str] = "the api_key"

    api_key: Token
    """The key of an API integration; one of the account cannot make alerts."""
    base_url: Endpoint = "https://api.opsgenie.com"
    """Where the API is found: ``https://api.eu.opsgenie.com`` for accounts in the EU."""
    priority: Priority = "P1"
    """Of a target that fails, an error budget that burns as fast, and of what nobody has acknowledged in time."""
    warn_priority: Priority = "P3"
    """Of all else: a warning, a check that is itself broken, does not run, or flaps."""
    teams: tuple[str, ...] = Field(default=(), max_length=50)
    """Teams that respond, by name; the integration's own if left out."""
    tags: tuple[str, ...] = Field(default=(), max_length=20)
    """Tags to add, at most 50 characters each."""

    @field_validator("api_key")
    @classmethod
    def _check_key(cls, value: SecretStr) -> SecretStr:
        if len(value.get_secret_value()) < 8:
            raise ValueError("the api_key must be that of an API integration")
        return value

    def render(self, batch: Batch, at: float) -> Rendered:
        """Turn an event into an alert to open, or into the note with which one is closed."""
        (event,) = batch.events
        message = compose(batch, at)
        note = {"source": "Heartbeat", "note": fit(message.headline, 1000)}
        return Rendered(encode(note if event.kind in OVER else self._alert(event, message)), (), "application/json")

    def letter(self, batch: Batch, message: Rendered) -> Letter:
        """Return the request; the alias is the incident, so that opening twice makes one alert."""
        (event,) = batch.events
        alias = quote(alias_of(event), safe="")
        path = f"/{alias}/close?identifierType=alias" if event.kind in OVER else ""
        url = SecretStr(f"{self.base_url.rstrip('/')}/v2/alerts{path}")
        headers = (("Authorization", f"GenieKey {self.api_key.get_secret_value()}"),)
        return Letter(url, message.body, headers, message.content_type)

    def shorten(self, body: bytes) -> bytes:
        """Return the alert without description and details."""
        whole = json.loads(body)
        return encode({name: value for name, value in whole.items() if name not in ("description", "details")})

    def _alert(self, event: Event, message: Message) -> dict[str, object]:
        responders = [{"type": "team", "name": plain(team, 100)} for team in self.teams]
        return {
            "message": cut(message.headline, MESSAGE),
            "alias": alias_of(event),
            "description": fit(message.text, DESCRIPTION),
            "entity": plain(event.check, 512),
            "source": "Heartbeat",
            "priority": self._priority_of(event),
            "tags": [plain(tag, 50) for tag in self.tags],
            "details": _details(message),
            **({"responders": responders} if responders else {}),
        }

    def _priority_of(self, event: Event) -> Priority:
        if event.kind is Kind.DRILL:
            return "P5"
        return self.priority if is_urgent(event) else self.warn_priority


def alias_of(event: Event) -> str:
    """Return what Opsgenie knows the incident by."""
    return plain(event.incident, 512)


def _details(message: Message) -> dict[str, str]:
    details, room = {}, DETAILS
    for name, value in message.facts:
        room -= len(name) + len(value)
        if room > 0:
            details[name] = value
    return details

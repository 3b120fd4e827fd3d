"""The channel ``ntfy``: a push message to a topic of ntfy, published as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, ClassVar, Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, field_validator

from heartbeat.channels import Departure, ForPeople, Rendered
from heartbeat.channels.chat import fit, links_of, tone_of, utf8
from heartbeat.channels.posting import Letter, OverHTTP, SecretURL, Token
from heartbeat.core.batch import Batch
from heartbeat.core.message import TROUBLES, Message, compose
from heartbeat.core.payload import encode
from heartbeat.core.text import cut

MESSAGE_BYTES = 4000
"""What is longer than 4096 becomes an attachment."""
PRIORITIES = {"min": 1, "low": 2, "default": 3, "high": 4, "urgent": 5}

Priority = Literal["min", "low", "default", "high", "urgent"]


class Ntfy(OverHTTP, ForPeople):
    """Push messages on phones, through ntfy.sh or a server of one's own."""

    kind: ClassVar[str] = "ntfy"
    login: ClassVar[str] = "the token, and whether it may write to the topic"

    url: SecretURL
    """The topic, as ``https://ntfy.sh/mytopic``. Who knows it can read and write, so it is kept secret."""
    token: Token = SecretStr("")
    """An access token (``tk_...``), where the topic is protected."""
    priority: Priority = "urgent"
    """Of a failing target, and of what nobody acknowledged: ``urgent`` rings until it is seen, ``high``, ``default``,
    ``low`` and ``min`` less. All else has one step less, and good news is never above ``default``."""
    tags: tuple[str, ...] = Field(default=(), max_length=10)
    """Tags to add; short codes of emojis become emojis."""

    @field_validator("url")
    @classmethod
    def _check_topic(cls, value: SecretStr) -> SecretStr:
        topic = urlsplit(value.get_secret_value()).path.strip("/")
        if not topic or "/" in topic:
            raise ValueError("the url must be that of a topic, as https://ntfy.sh/mytopic")
        return value

    def render(self, batch: Batch, at: float) -> Rendered:
        """Turn a batch into a push message; its text is plain, without Markdown."""
        message = compose(batch, at, group_wait=self.group_wait, room=1000)
        text = fit(message.text.removeprefix(message.headline).strip(), MESSAGE_BYTES, utf8)
        body: dict[str, Any] = {
            "title": cut(message.headline, 250),
            "message": text,
            "priority": self._priority_of(message),
            "tags": [tone_of(message.state).sign, *self.tags],
        }
        for _, url in links_of(message.parts[0])[:1]:
            body["click"] = url
        return Rendered(encode(body), (), "application/json")

    def letter(self, batch: Batch, message: Rendered) -> Letter:  # noqa: ARG002 - all goes to one place
        """Return the request to the server's root, with the topic in the body, where it is text and never a path."""
        parts = urlsplit(self.url.get_secret_value())
        body = encode({"topic": unquote(parts.path.strip("/")), **json.loads(message.body)})
        token = self.token.get_secret_value()
        headers = (("Authorization", f"Bearer {token}"),) if token else ()
        return Letter(SecretStr(f"{parts.scheme}://{parts.netloc}/"), body, headers, message.content_type)

    def departure(self, batch: Batch, message: Rendered) -> Departure:
        """Return the request; who knows the topic in it can read and write."""
        leaves = super().departure(batch, message)
        path = urlsplit(self.url.get_secret_value()).path
        return replace(leaves, hidden=(*leaves.hidden, unquote(path.strip("/"))))

    def shorten(self, body: bytes) -> bytes:
        """Return the message with its first lines alone."""
        whole = json.loads(body)
        return encode({**whole, "message": whole["message"].partition("\n\n")[0]})

    def _priority_of(self, message: Message) -> int:
        priority = PRIORITIES[self.priority]
        if message.urgent:
            return priority
        return max(1, min(priority - 1, 4 if message.state in TROUBLES else 3))

"""The channel ``telegram``: a message by a bot of Telegram to a chat."""

from __future__ import annotations

import json
import re
from html import escape
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, SecretStr, field_validator

from heartbeat.channels import SLOW_RETRY, DeliveryFailed, ForPeople, Rendered
from heartbeat.channels.chat import fit, split_headline, utf16
from heartbeat.channels.posting import Endpoint, Letter, OverHTTP, document, said
from heartbeat.core.batch import Batch
from heartbeat.core.message import compose
from heartbeat.core.payload import encode
from heartbeat.core.text import cut
from heartbeat.http.message import Response

LIMIT = 4096
"""Code units of a message, after its markup is read."""


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Telegram(OverHTTP, ForPeople):
    """Messages in a chat, group or channel of Telegram."""

    kind: ClassVar[str] = "telegram"
    login: ClassVar[str] = "the token, and whether the bot is in the chat"

    token: SecretStr
    """The bot's token, as BotFather gives it: ``123456:ABC...``."""
    chat_id: Annotated[str, BeforeValidator(_as_text, json_schema_input_type=str | int)]
    """Where to: the number of a chat (negative for groups), or ``@name`` of a public channel."""
    topic: int = Field(default=0, ge=0)
    """The topic of a forum (``message_thread_id``); none if left out."""
    base_url: Endpoint = "https://api.telegram.org"
    """Where the Bot API is found; a server of one's own can be named here."""

    @field_validator("token")
    @classmethod
    def _check_token(cls, value: SecretStr) -> SecretStr:
        if not re.fullmatch(r"[0-9]{1,20}:[A-Za-z0-9_-]{8,100}", value.get_secret_value()):
            raise ValueError("the token must look like 123456:ABC-DEF, as BotFather gives it")
        return value

    @field_validator("chat_id")
    @classmethod
    def _check_chat(cls, value: str) -> str:
        if not re.fullmatch(r"-?[0-9]{1,20}|@[A-Za-z0-9_]{4,64}", value):
            raise ValueError("the chat_id must be the number of a chat, as -1001234567890, or a public channel's @name")
        return value

    def render(self, batch: Batch, at: float) -> Rendered:
        """Turn a batch into a text. What a target said is code: there Telegram finds no mentions, no links."""
        message = compose(batch, at, group_wait=self.group_wait, room=1500)
        state, headline = split_headline(message)
        rest = message.text.removeprefix(message.headline).strip()
        headline = cut(headline, 1000)
        text = fit(rest, LIMIT - utf16(state) - utf16(headline) - 10, utf16)
        body: dict[str, Any] = {
            "chat_id": self.chat_id,
            "text": f"<b>{_inert(state)}</b>\n<code>{_inert(headline)}</code>\n\n<pre>{_inert(text)}</pre>",
            "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": True},
        }
        if self.topic:
            body["message_thread_id"] = self.topic
        return Rendered(encode(body), (), "application/json")

    def letter(self, batch: Batch, message: Rendered) -> Letter:  # noqa: ARG002 - all goes to one place
        """Return the request; the token is a part of its path."""
        url = f"{self.base_url.rstrip('/')}/bot{self.token.get_secret_value()}/sendMessage"
        return Letter(SecretStr(url), message.body, message.headers, message.content_type)

    def shorten(self, body: bytes) -> bytes:
        """Return the message without its details."""
        whole = json.loads(body)
        return encode({**whole, "text": whole["text"].partition("\n\n<pre>")[0]})

    def accepts(self, response: Response, host: str) -> str | DeliveryFailed:
        """Look at ``ok``; a token that nobody has is answered with 404, and for a person to mend."""
        outcome = super().accepts(response, host)
        whole = document(response)
        if isinstance(outcome, str) and whole.get("ok") is not True:
            return DeliveryFailed(f"{host} answers {said(response)}, but not ok")
        if response.status == 404:
            return DeliveryFailed(f"{host} answers {said(response)}: check {self.login}", retry_after=SLOW_RETRY)
        made = whole.get("result")
        number = made.get("message_id") if isinstance(made, dict) else None
        return f"{response.status} message {number}" if isinstance(outcome, str) and number else outcome


def _inert(text: str) -> str:
    """Escape what Telegram reads as HTML; quotes matter only within attributes, of which there are none."""
    return escape(text, quote=False)

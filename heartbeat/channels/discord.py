"""The channel ``discord``: an embed to a webhook of Discord."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from pydantic import SecretStr

from heartbeat.channels import DeliveryFailed, ForPeople, Rendered
from heartbeat.channels.chat import fenced, fit, links_of, split_headline, tone_of, utf16
from heartbeat.channels.posting import Letter, OverHTTP, SecretURL, document
from heartbeat.core.batch import Batch
from heartbeat.core.message import compose
from heartbeat.core.payload import encode
from heartbeat.core.text import cut
from heartbeat.http.message import Response

CONTENT = 500
DESCRIPTION = 4096
"""Of an embed; Discord takes 6000 in all of a message's embeds."""


class Discord(OverHTTP, ForPeople):
    """Messages in a channel of Discord."""

    kind: ClassVar[str] = "discord"
    login: ClassVar[str] = "the url"

    url: SecretURL
    """The webhook's URL, from the channel's settings; ``?thread_id=...`` at its end posts into a thread."""

    def render(self, batch: Batch, at: float) -> Rendered:
        """Turn a batch into a line for notifications and an embed; whatever a target said stands in code."""
        message = compose(batch, at, group_wait=self.group_wait, room=1500)
        state, headline = split_headline(message)
        text = fit(fenced(message.text).strip(), DESCRIPTION - 10, utf16)
        embed: dict[str, Any] = {
            "title": state,
            "description": f"```\n{text}\n```",
            "color": tone_of(message.state).colour,
        }
        for _, url in links_of(message.parts[0])[:1]:
            embed["url"] = url
        body = {
            "content": f"**{state}** `{cut(fenced(headline), CONTENT)}`",
            "embeds": [embed],
            "allowed_mentions": {"parse": []},
        }
        return Rendered(encode(body), (), "application/json")

    def letter(self, batch: Batch, message: Rendered) -> Letter:  # noqa: ARG002 - all goes to one place
        """Return the request; ``wait`` has Discord answer once it has the message, not before."""
        url = self.url.get_secret_value()
        waiting = url if "wait=" in url else f"{url}{'&' if '?' in url else '?'}wait=true"
        return Letter(SecretStr(waiting), message.body, message.headers, message.content_type)

    def shorten(self, body: bytes) -> bytes:
        """Return the message without its embed."""
        return encode({name: value for name, value in json.loads(body).items() if name != "embeds"})

    def accepts(self, response: Response, host: str) -> str | DeliveryFailed:
        """Return the id of the message that was made; how long to wait after 429 stands in the JSON."""
        outcome = super().accepts(response, host)
        made = document(response).get("id")
        return f"{response.status} message {made}" if isinstance(outcome, str) and isinstance(made, str) else outcome

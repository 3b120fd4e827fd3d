"""The channel ``slack``: a message of blocks to an incoming webhook of Slack, or of what understands the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar

from heartbeat.channels import DeliveryFailed, ForPeople, Rendered
from heartbeat.channels.chat import (
    LEFT_OUT,
    MOST_ROOM,
    as_full_as_fits,
    brief,
    fenced,
    fit,
    lines,
    links_of,
)
from heartbeat.channels.posting import Letter, OverHTTP, SecretURL, document, said
from heartbeat.core.batch import Batch
from heartbeat.core.message import Message, Part, compose
from heartbeat.core.payload import encode
from heartbeat.core.text import cut
from heartbeat.http.message import Response

HEADER = 150
SECTION = 3000
FALLBACK = 3500
"""Characters of the text that stands in for blocks; Slack cuts at 4000."""
TOTAL = 12_000
"""Bytes of a message: from about 13,000 characters of blocks on Slack says ``msg_blocks_too_long``."""
BLOCKS = 50


class Slack(OverHTTP, ForPeople):
    """Messages in a channel of Slack."""

    kind: ClassVar[str] = "slack"
    login: ClassVar[str] = "the url"

    url: SecretURL
    """The incoming webhook's URL. Mattermost and others that take the same messages show their plain text."""

    def render(self, batch: Batch, at: float) -> Rendered:
        """Turn a batch into blocks, and a text for notifications and for clients without blocks."""
        message = compose(batch, at, group_wait=self.group_wait, room=MOST_ROOM)
        return Rendered(as_full_as_fits(message, _body, TOTAL), (), "application/json")

    def letter(self, batch: Batch, message: Rendered) -> Letter:  # noqa: ARG002 - all goes to one place
        """Return the request."""
        return Letter(self.url, message.body, message.headers, message.content_type)

    def shorten(self, body: bytes) -> bytes:
        """Return the message without blocks."""
        return encode({name: value for name, value in json.loads(body).items() if name != "blocks"})

    def accepts(self, response: Response, host: str) -> str | DeliveryFailed:
        """Look whether it says ``ok``: a page of a proxy in between is answered with 200, too."""
        outcome = super().accepts(response, host)
        whole = document(response)
        taken = response.body.strip() == b"ok" or whole.get("ok") is True or whole.get("success") is True
        if isinstance(outcome, str) and not taken:
            return DeliveryFailed(f"{host} answers {said(response)}, but not ok")
        return outcome


def _body(message: Message, parts: tuple[Part, ...], *, left_out: bool) -> bytes:
    whole = {
        "text": _within(message.text, SECTION // 2 if left_out else FALLBACK),
        "mrkdwn": False,
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": list(_blocks(message, parts, left_out=left_out))[:BLOCKS],
    }
    return encode(whole)


def escape(text: str) -> str:
    """Escape what Slack reads as markup: three characters, says its reference. Without ``<`` there are no mentions."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _blocks(message: Message, parts: tuple[Part, ...], *, left_out: bool) -> Iterator[dict[str, Any]]:
    yield {"type": "header", "text": _header(message.headline)}
    above = [*message.notes, *message.listed]
    if len(message.headline) > HEADER:
        above.insert(0, message.headline)
    if above:
        yield {"type": "section", "text": _plain("\n".join(above), SECTION)}
    for part in parts:
        if message.listed:
            yield {"type": "divider"}
            yield {"type": "section", "text": _plain(cut(part.headline, 500), SECTION)}
        yield from _details(part)
    if not parts:
        yield {"type": "section", "text": _plain(lines(brief(message.parts[0])), SECTION)}
    if left_out:
        yield {"type": "context", "elements": [_plain(LEFT_OUT, SECTION)]}


def _details(part: Part) -> Iterator[dict[str, Any]]:
    yield {"type": "section", "text": _plain(lines(part.facts), SECTION)}
    for name, text in part.evidence:
        code = _within(fenced(text), SECTION - 200)
        yield {"type": "section", "text": _markup(f"{escape(fenced(name))}\n```\n{code}\n```")}
    links = " · ".join(f"<{escape(url)}|{title}>" for title, url in links_of(part))
    elements = [_plain(f"Why this message: {part.why}.", 500), *([_markup(links)] if links else [])]
    yield {"type": "context", "elements": elements}


def _plain(text: str, limit: int) -> dict[str, Any]:
    """Return a text without any markup."""
    return {"type": "plain_text", "text": _within(text, limit) or "-", "emoji": False}


def _header(headline: str) -> dict[str, Any]:
    """Return the headline as far as a header holds it; the whole stands below it then."""
    limit = HEADER
    while _escaped_length(cut(headline, limit)) > HEADER:
        limit -= 10
    return {"type": "plain_text", "text": escape(cut(headline, limit)), "emoji": False}


def _markup(text: str) -> dict[str, Any]:
    """Return a text in which only our own links and code are markup; ``verbatim`` keeps Slack from finding more."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _within(text: str, limit: int) -> str:
    """Escape and cut: an entity is never cut in two."""
    return escape(fit(text, limit, _escaped_length))


def _escaped_length(text: str) -> int:
    return len(escape(text))

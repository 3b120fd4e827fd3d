"""The channel ``teams``: an adaptive card to a workflow of Microsoft Teams."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, ClassVar

from heartbeat.channels import DeliveryFailed, ForPeople, Rendered
from heartbeat.channels.chat import (
    CUT_HERE,
    LEFT_OUT,
    MOST_ROOM,
    as_full_as_fits,
    brief,
    links_of,
    tone_of,
)
from heartbeat.channels.posting import RETRIED, Letter, OverHTTP, SecretURL, said
from heartbeat.core.batch import Batch
from heartbeat.core.message import Message, Part, compose
from heartbeat.core.payload import encode
from heartbeat.core.text import cut
from heartbeat.http.message import Response

CARD_BYTES = 14_000
"""Teams takes about 28 kB, and counts two bytes for what is one of ours."""
LINES = 80
LISTED = 30
_FAILED_INSIDE = re.compile(r"(?:fail|error)[^0-9]{0,80}?\b([45][0-9]{2})\b", re.IGNORECASE)


class Teams(OverHTTP, ForPeople):
    """Cards in a channel or chat of Microsoft Teams."""

    kind: ClassVar[str] = "teams"
    login: ClassVar[str] = "the url"

    url: SecretURL
    """The URL of a workflow "post to a channel when a webhook request is received"; Office 365 connectors are gone."""

    def render(self, batch: Batch, at: float) -> Rendered:
        """Turn a batch into an adaptive card."""
        message = compose(batch, at, group_wait=self.group_wait, room=MOST_ROOM)
        return Rendered(as_full_as_fits(message, _body, CARD_BYTES), (), "application/json; charset=utf-8")

    def letter(self, batch: Batch, message: Rendered) -> Letter:  # noqa: ARG002 - all goes to one place
        """Return the request."""
        return Letter(self.url, message.body, message.headers, message.content_type)

    def shorten(self, body: bytes) -> bytes:
        """Return a card of the headline alone."""
        whole = json.loads(body)
        card = whole["attachments"][0]["content"]
        card["body"] = card["body"][:1]
        card.pop("actions", None)
        return encode(whole)

    def accepts(self, response: Response, host: str) -> str | DeliveryFailed:
        """Look for a failure inside of an answer of 200: Teams tells so that it did not take the card."""
        outcome = super().accepts(response, host)
        inside = response.body[:1000].decode(errors="replace")
        if isinstance(outcome, str) and "deliver" in inside.lower() and "fail" in inside.lower():
            code = _FAILED_INSIDE.search(inside)
            final = code is not None and code[1].startswith("4") and int(code[1]) not in RETRIED
            return DeliveryFailed(f"{host} answers {said(response)}", permanent=final)
        return outcome


def _body(message: Message, parts: tuple[Part, ...], *, left_out: bool) -> bytes:
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": cut(message.headline, 300),
        "msteams": {"width": "Full"},
        "body": list(_elements(message, parts, left_out=left_out)),
    }
    links = links_of(message.parts[0])
    if links:
        card["actions"] = [{"type": "Action.OpenUrl", "title": title, "url": url} for title, url in links]
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return encode({"type": "message", "attachments": [attachment]})


def _elements(message: Message, parts: tuple[Part, ...], *, left_out: bool) -> Iterator[dict[str, Any]]:
    title = _text(cut(message.headline, 600), size="Medium", weight="Bolder")
    yield {"type": "Container", "style": tone_of(message.state).style, "bleed": True, "items": [title]}
    listed = message.listed[: LISTED if parts else LISTED // 3]
    for line in (*message.notes, *(cut(line, 200) for line in listed)):
        yield _text(line)
    for part in parts:
        if message.listed:
            yield _text(cut(part.headline, 500), weight="Bolder") | {"separator": True, "spacing": "Medium"}
        yield from _details(part)
    if not parts:
        yield from (_pair(name, value) for name, value in brief(message.parts[0]))
    if len(message.listed) > len(listed) or len(message.parts) > len(parts):
        yield _text(CUT_HERE.strip(), isSubtle=True)
    if left_out:
        yield _text(LEFT_OUT, isSubtle=True)


def _details(part: Part) -> Iterator[dict[str, Any]]:
    for name, value in part.facts:
        yield _pair(name, value)
    yield _text(f"Why this message: {part.why}.", isSubtle=True)
    for name, text in part.evidence:
        yield _text(name, weight="Bolder") | {"spacing": "Small"}
        lines = text.split("\n")
        for line in lines[:LINES]:
            yield _text(line or " ", fontType="Monospace") | {"spacing": "None"}
        if len(lines) > LINES:
            yield _text(f"[cut here: {len(lines) - LINES} more lines]", isSubtle=True)


def _text(text: str, **looks: Any) -> dict[str, Any]:
    """Return a line as a RichTextBlock: its runs know no Markdown, which a TextBlock would read."""
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **looks}]}


def _pair(name: str, value: str) -> dict[str, Any]:
    runs = [{"type": "TextRun", "text": f"{name}: ", "weight": "Bolder"}, {"type": "TextRun", "text": value}]
    return {"type": "RichTextBlock", "inlines": runs, "spacing": "None"}

"""What arrived at the receivers, and what they said to it: the soak's own knowledge, beside that of the daemon."""

from __future__ import annotations

import email
import json
import re
from dataclasses import dataclass, field
from email.policy import default
from itertools import count

EVENT = re.compile(r"evt_[0-9a-f]{30}")
PART = re.compile(r"^event: +(evt_[0-9a-f]{30})$", re.MULTILINE)
SPAN = re.compile(r"tells number (\d+) to (\d+) of this incident")


@dataclass(slots=True)
class Message:
    """One message that arrived as a whole. ``id`` is the same on every attempt; ``way`` is channel and recipient.

    ``arrived`` and ``answered`` are moments of one count for all messages, so that they can be compared.
    """

    way: str
    id: str
    events: frozenset[str]
    """Ids of the events that it names."""
    spans: dict[str, tuple[int, int]]
    """Of the events that it tells in detail: from which to which number of their incident it tells; 0, 0 alone."""
    content: bytes
    text: str
    arrived: int
    answered: int | None = None
    acknowledged: bool = False


@dataclass(slots=True)
class Journal:
    """All messages, in the order in which they arrived."""

    messages: list[Message] = field(default_factory=list)
    _moments: count[int] = field(default_factory=count)

    def arrive(self, way: str, identity: str, text: str, content: bytes) -> Message:
        """Take a message down; it has no answer yet."""
        events = frozenset(EVENT.findall(text))
        message = Message(way, identity, events, find_spans(text), content, text, next(self._moments))
        self.messages.append(message)
        return message

    def dump(self) -> str:
        """Return one line of JSON per message, to see what happened."""
        return "\n".join(
            json.dumps({name: str(getattr(one, name)) for name in Message.__slots__ if name != "content"})
            for one in self.messages
        )

    def answer(self, message: Message, *, acknowledged: bool) -> None:
        """Note that an answer has left as a whole."""
        message.answered, message.acknowledged = next(self._moments), acknowledged


def find_spans(text: str) -> dict[str, tuple[int, int]]:
    """Return what a text says in detail of how many events it tells, by the newest of them."""
    begun = list(PART.finditer(text))
    ends = [*(part.start() for part in begun[1:]), len(text)]
    found = {part[1]: SPAN.search(text, part.end(), end) for part, end in zip(begun, ends, strict=False)}
    return {event: (int(span[1]), int(span[2])) if span else (0, 0) for event, span in found.items()}


def read_post(headers: dict[str, str], body: bytes) -> tuple[str, str, bytes]:
    """Return id, text and bytes of a post in the native format: the text names its event.

    Raises:
        ValueError: the id of the message is not that of the event.
    """
    identity, named = headers.get("webhook-id", ""), str(json.loads(body)["data"]["event"])
    if identity != named:
        raise ValueError(f"webhook-id {identity} carries the event {named}")
    return identity, f"event: {named}", body


def read_mail(content: bytes) -> tuple[str, str, bytes]:
    """Return id, text and bytes of a mail: the text is all headers and the plain part, decoded."""
    mail = email.message_from_bytes(content, policy=default)
    headers = "\n".join(f"{name}: {value}" for name, value in mail.items())
    body = mail.get_body(("plain",))
    return str(mail["Message-ID"]), f"{headers}\n\n{body.get_content() if body else ''}", content

"""What is to be said of a rehearsal: why a check is silent, what would cross to whom, and what nothing of it proves."""

from __future__ import annotations

import email
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from email.header import decode_header, make_header
from email.policy import compat32

from heartbeat.config import Config
from heartbeat.core.batch import stories
from heartbeat.core.model import Outcome, Severity
from heartbeat.core.policy import Latch
from heartbeat.core.sentences import why_of
from heartbeat.rehearsal.reach import redactor_of
from heartbeat.rehearsal.shelf import Shown
from heartbeat.state import Live

NOT_PROVED = (
    "that a receiver takes the message, passes it on, and somebody reads it: heartbeat test-alert shows that",
    "how the daemon runs: these checks ran here, as this user, with this environment and network",
    "what depends on the past: limits on windows, objectives and flapping began with nothing, as after a first start",
    "what people said to the running daemon: its silences, acknowledgements and switched-off checks are not known here",
    "what many failures at once lead to: storms are not looked for",
    "what comes later: reminders, escalation, a hold, the end: heartbeat simulate shows that",
    "retries, the fallback, and what was never sent after a crash: nothing was refused here",
)
"""What a dry run does not show, in sentences."""
MAIL = "message/rfc822"


@dataclass(frozen=True, slots=True)
class Letter:
    """One message that would have left, fit to be shown: no secret is in it.

    ``body`` are its exact bytes, but for secrets that were taken out: ``redacted`` says whether any were.
    """

    receiver: str
    channel: str
    kind: str
    recipient: str
    checks: tuple[str, ...]
    why: tuple[str, ...]
    to: str
    headers: tuple[tuple[str, str], ...]
    content_type: str
    body: bytes
    redacted: bool
    at: float

    def text(self) -> str:
        """Return the body as people read it: of a mail its headers and its text."""
        return _mail_text(self.body) if self.content_type == MAIL else self.body.decode(errors="replace")

    def body_data(self) -> dict[str, str]:
        """Return the body for JSON: its text, or base64 of what is none."""
        try:
            return {"body": self.body.decode()}
        except UnicodeDecodeError:
            return {"body_base64": b64encode(self.body).decode()}


def letter_of(config: Config, shown: Shown) -> Letter:
    """Return a message without the secrets that it holds."""
    batch, leaves = shown.batch, shown.leaves
    redact = redactor_of(config, shown.channel, leaves.hidden)
    body = _redacted(leaves.body, redact)
    headers = tuple((name, redact(value)) for name, value in leaves.headers)
    address = batch.address
    why = (*(one.why for one in batch.deliveries), *(why_of(story) for story in stories(batch)))
    return Letter(
        receiver=address.receiver,
        channel=address.channel,
        kind=shown.channel.kind,
        recipient=address.recipient,
        checks=tuple(dict.fromkeys(event.check for event in batch.events)),
        why=tuple(dict.fromkeys(filter(None, why))),
        to=redact(leaves.to),
        headers=headers,
        content_type=shown.message.content_type,
        body=body,
        redacted=(body, headers) != (leaves.body, leaves.headers),
        at=batch.deliveries[0].sealed_at,
    )


def _redacted(body: bytes, redact: Callable[[str], str]) -> bytes:
    text = body.decode(errors="surrogateescape")
    clean = redact(text)
    return body if clean == text else clean.encode(errors="surrogateescape")


def _mail_text(body: bytes) -> str:
    mail = email.message_from_bytes(body, policy=compat32)
    heads = [f"{name}: {make_header(decode_header(mail[name]))}" for name in ("From", "To", "Subject") if mail[name]]
    parts = [part.get_payload(decode=True) for part in mail.walk() if part.get_content_type() == "text/plain"]
    texts = [part.decode(errors="replace") for part in parts if isinstance(part, bytes)]
    return "\n".join([*heads, "", *texts])


def why_silent(live: Live) -> str:
    """Say why a run led to no event: all is well, or which policy waits for what."""
    verdict, status, policy = live.verdict, live.status, live.config.policy
    if verdict is None:
        return "it did not run"
    if verdict.distorted:
        return "the result was distorted by our own lag, and decides nothing"
    if verdict.outcome is Outcome.ERROR:
        return _waiting("that the check itself is broken", policy.broken, sum(status.errors))
    if verdict.severity > status.severity:
        latch = policy.fail if verdict.severity is Severity.FAIL else policy.warn
        count = sum(sample.severity >= verdict.severity for sample in status.recent[-latch.window :])
        return _waiting(f"a {'failure' if verdict.severity is Severity.FAIL else 'warning'}", latch, count)
    return "nothing is wrong" if not status.severity else "nothing has changed"


def _waiting(what: str, latch: Latch, count: int) -> str:
    return f"the policy waits: it tells {what} after {latch.raise_} of {latch.window} runs, and so far it is {count}"

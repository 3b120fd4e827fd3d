"""A message as the bytes of a mail: the same for a delivery every time, with headers that nothing can break out of.

Headers are written with the older ``email.message`` classes: ``EmailMessage`` of Python 3.11 turns long ids in
References into encoded words, which ends a thread, and lets an encoded line feed through as a header of its own.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.charset import QP, Charset
from email.header import Header
from email.message import Message as Mime
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from email.policy import compat32
from email.utils import format_datetime
from hashlib import blake2b
from html import escape

from heartbeat.core.message import Message, compose, subject
from heartbeat.core.model import Delivery
from heartbeat.core.text import plain

HEADER_CHARACTERS = 200
ADDRESS_CHARACTERS = 600
_ON_THE_WIRE = compat32.clone(linesep="\r\n", mangle_from_=False, max_line_length=998)
_COLOURS = {"FAILING": "#b00020", "WARNING": "#b26a00", "CHECK BROKEN": "#5b3cc4"}


def mail(delivery: Delivery, sender: str) -> bytes:
    """Return the mail: text and HTML, threaded under its incident, dated by the event."""
    message = compose(delivery.event)
    # "=_" cannot occur in quoted-printable text, so no evidence can contain the boundary.
    whole = MIMEMultipart("alternative", boundary=f"=_{_digest(delivery.id)}")
    whole.attach(_part(message.text, "plain"))
    whole.attach(_part(html(message), "html"))
    _add_headers(whole, delivery, sender, message.subject, message.state)
    if message.urgent:
        whole["Importance"] = "high"
    return whole.as_bytes(policy=_ON_THE_WIRE)


def plain_mail(delivery: Delivery, sender: str, remark: str) -> bytes:
    """Return a mail with the bare news, for when the full one cannot be made or is refused. Same ids, same thread."""
    event = delivery.event
    news = f"{event.kind}: {plain(event.check, 200)}: {plain(event.sentence, 300)}"
    whole = _part(
        f"{news}\n\nseverity: {event.severity.word}\nincident: {plain(event.incident, 80)}\n\n{remark}\n", "plain"
    )
    _add_headers(whole, delivery, sender, subject(event), str(event.kind).upper())
    return whole.as_bytes(policy=_ON_THE_WIRE)


def header_value(text: object, limit: int = HEADER_CHARACTERS) -> str:
    """Return a text that is safe in a header: one line, bounded, and without encoded words of others."""
    return plain(plain(text, limit).replace("=?", "= ?").replace("?=", "? ="), limit)


def html(message: Message) -> str:
    """Return the HTML alternative: escaped throughout, no images, nothing loaded from anywhere."""
    colour = _COLOURS.get(message.state, "#1b5e20")
    rows = "\n".join(
        f'<tr><td style="padding-right:1em;color:#555">{escape(name)}</td><td>{escape(value)}</td></tr>'
        for name, value in message.facts
    )
    evidence = "\n".join(
        f'<h4>{escape(name)}</h4>\n<pre style="background:#f4f4f4;padding:.5em">{escape(text)}</pre>'
        for name, text in message.evidence
    )
    warning = f"<p><b>{escape(message.warning)}</b></p>\n" if message.warning else ""
    return (
        '<!doctype html>\n<html><body style="font-family:sans-serif">\n'
        f'<p style="color:{colour};font-size:120%"><b>{escape(message.headline)}</b></p>\n{warning}'
        f"<table>\n{rows}\n</table>\n<p>Why this message: {escape(message.why)}.</p>\n{evidence}\n</body></html>\n"
    )


def _add_headers(whole: Mime, delivery: Delivery, sender: str, title: str, state: str) -> None:
    event, recipient = delivery.event, delivery.address.recipient
    domain = sender.rpartition("@")[2]
    root = f"<incident-{_token(event.incident)}@{domain}>"
    headers = {
        "From": f'"Heartbeat {state}" <{sender}>',
        "To": recipient,
        "Subject": title,
        "Date": format_datetime(datetime.fromtimestamp(int(event.at), UTC)),
        "Message-ID": f"<{_token(event.id)}.{_digest(recipient)}@{domain}>",
        # No mail has the root's id: it holds the thread together also when the first mail was lost.
        "In-Reply-To": root,
        "References": root,
        "Auto-Submitted": "auto-generated",  # RFC 3834
        "X-Auto-Response-Suppress": "All",
        "List-Id": f"Heartbeat <heartbeat.{domain}>",  # RFC 2919
        "X-Heartbeat-Check": event.check,
        "X-Heartbeat-Kind": event.kind,
        "X-Heartbeat-Severity": event.severity.word,
        "X-Heartbeat-Incident": event.incident,
        "X-Heartbeat-Event": event.id,
    }
    for name, value in headers.items():
        is_text = name == "Subject" or name.startswith("X-")
        whole[name] = _encoded(name, header_value(value, HEADER_CHARACTERS if is_text else ADDRESS_CHARACTERS))


def _encoded(name: str, value: str) -> str:
    return value if value.isascii() else Header(value, "utf-8", header_name=name).encode(linesep="\r\n")


def _part(text: str, subtype: str) -> Mime:
    charset = Charset("utf-8")
    charset.body_encoding = QP
    part = MIMENonMultipart("text", subtype, charset="utf-8")
    part.set_payload(text, charset)
    return part


def _token(identity: str) -> str:
    """Return an id as it may stand within a message id; ours always may."""
    return identity if identity.replace("_", "").isalnum() and identity.isascii() else _digest(identity)


def _digest(text: str) -> str:
    return blake2b(text.encode(errors="replace"), digest_size=8).hexdigest()

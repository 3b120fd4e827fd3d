"""A batch as the bytes of a mail: the same for the same arguments, with headers that nothing can break out of.

Headers are written with the older ``email.message`` classes: ``EmailMessage`` of Python 3.11 turns long ids in
References into encoded words, which ends a thread, and lets an encoded line feed through as a header of its own.
"""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from email.charset import BASE64, QP, Charset
from email.header import Header
from email.message import Message as Mime
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from email.policy import compat32
from email.utils import format_datetime
from hashlib import blake2b

from heartbeat.channels.html import html
from heartbeat.core.batch import Batch, stories
from heartbeat.core.message import Message, compose, subject
from heartbeat.core.model import Event, Severity
from heartbeat.core.text import plain

MAIL_BYTES = 100_000
HEADER_CHARACTERS = 200
ADDRESS_CHARACTERS = 600
ROOTS = 20
"""Threads that one mail joins at most."""
_ROOM = (10_000, 1000)
# Long lines are folded at blanks only, so that ids stay whole.
_ON_THE_WIRE = compat32.clone(linesep="\r\n", mangle_from_=False, max_line_length=900)


def mail(batch: Batch, sender: str, at: float, group_wait: float = 0.0) -> bytes:
    """Return the mail as it leaves at a time: text and HTML, threaded under its incidents, at most 100 kB."""
    for room in _ROOM:
        body = _mail(compose(batch, at, group_wait=group_wait, room=room), batch, sender, at)
        if len(body) <= MAIL_BYTES:
            return body
    return plain_mail(batch, sender, at, "The full text is too long for a mail.")


def plain_mail(batch: Batch, sender: str, at: float, remark: str) -> bytes:
    """Return a mail with the bare news, for when the full one cannot be made or is refused. Same ids, same threads."""
    newest = [story.newest for story in stories(batch)]
    news = "\n\n".join(_bare(event) for event in newest[:ROOTS])
    more = f"\n\nand {len(newest) - ROOTS} more incidents" if len(newest) > ROOTS else ""
    whole = _part(f"{news}{more}\n\n{remark}\n", "plain")
    _add(whole, _headers(batch, sender, at, subject(*batch.events), str(newest[0].kind).upper()))
    return whole.as_bytes(policy=_ON_THE_WIRE)


def header_value(text: object, limit: int = HEADER_CHARACTERS) -> str:
    """Return a text that is safe in a header: one line, bounded, and without encoded words of others."""
    return plain(plain(text, limit).replace("=?", "= ?").replace("?=", "? ="), limit)


def _mail(message: Message, batch: Batch, sender: str, at: float) -> bytes:
    # "=_" cannot occur in quoted-printable or base64, so no evidence can contain the boundary.
    whole = MIMEMultipart("alternative", boundary=f"=_{_digest(batch.id)}")
    whole.attach(_part(message.text, "plain"))
    whole.attach(_part(html(message), "html"))
    _add(whole, _headers(batch, sender, at, message.subject, message.state))
    if message.urgent:
        whole["Importance"] = "high"
    return whole.as_bytes(policy=_ON_THE_WIRE)


def _bare(event: Event) -> str:
    news = f"{event.kind}: {plain(event.check, 200)}: {plain(event.sentence, 300)}"
    return f"{news}\n\nseverity: {event.severity.word}\nincident: {plain(event.incident, 80)}"


def _headers(batch: Batch, sender: str, at: float, title: str, state: str) -> dict[str, str]:
    """Return the headers. The date is that of leaving: mail programs sort by it, and what is late must not hide."""
    recipient, domain = batch.address.recipient, sender.rpartition("@")[2]
    leaves = int(max([at, *(event.at for event in batch.events)]))
    threads = roots(batch, domain)
    return {
        "From": f'"Heartbeat {state}" <{sender}>',
        "To": recipient,
        "Subject": title,
        "Date": format_datetime(datetime.fromtimestamp(leaves, UTC)),
        "Message-ID": f"<{_token(batch.id)}.{_digest(recipient)}@{domain}>",
        # RFC 5322 3.6.4. No mail has a root's id: it holds the thread together also when the first mail was lost.
        "In-Reply-To": threads[-1],
        "References": " ".join(threads),
        "Thread-Index": _thread_index(batch),
        "Auto-Submitted": "auto-generated",  # RFC 3834
        "X-Auto-Response-Suppress": "All",
        "List-Id": f"Heartbeat <heartbeat.{domain}>",  # RFC 2919
        **_own_headers(batch),
    }


def _add(whole: Mime, headers: dict[str, str]) -> None:
    for name, value in headers.items():
        if name != "References":  # many ids, each made of harmless characters
            is_text = name == "Subject" or name.startswith("X-")
            value = header_value(value, HEADER_CHARACTERS if is_text else ADDRESS_CHARACTERS)  # noqa: PLW2901 - made safe
        whole[name] = value if value.isascii() else Header(value, "utf-8", header_name=name).encode(linesep="\r\n")


def roots(batch: Batch, domain: str) -> list[str]:
    """Return the ids that stand for the incidents, the oldest first in every mail, so that chains of them agree."""
    began = {event.incident: (event.since, event.incident) for event in batch.events}
    return [f"<incident-{_token(incident)}@{domain}>" for incident in sorted(began, key=began.__getitem__)[:ROOTS]]


def _own_headers(batch: Batch) -> dict[str, str]:
    """Return what filters of recipients can go by; of several incidents the worst comes first."""
    newest = [story.newest for story in stories(batch)]
    return {
        "X-Heartbeat-Check": ", ".join(dict.fromkeys(event.check for event in newest[:ROOTS])),
        "X-Heartbeat-Kind": ", ".join(dict.fromkeys(event.kind for event in newest)),
        "X-Heartbeat-Severity": max((event.severity for event in newest), default=Severity.OK).word,
        "X-Heartbeat-Incident": ", ".join(event.incident for event in newest[:5]),
        "X-Heartbeat-Event": ", ".join(event.id for event in newest[:5]),
    }


def _thread_index(batch: Batch) -> str:
    """Return what Outlook and Exchange thread by (MS-OXOMSG 2.2.1.3): 6 bytes of a time and 16 that say which thread.

    They go by it before they look at References; it is the same in all mails on the same incidents.
    """
    began = min(event.since for event in batch.events)
    ticks = int((max(began, 0.0) + 11_644_473_600) * 10_000_000)  # of 100 ns since 1601
    which = " ".join(sorted({event.incident for event in batch.events}))
    header = (ticks >> 16).to_bytes(6, "big") + blake2b(which.encode(errors="replace"), digest_size=16).digest()
    return b64encode(header).decode()


def _part(text: str, subtype: str) -> Mime:
    """Return a text as quoted-printable, readable in the source, or as base64 where that is far shorter."""
    raw = text.encode()
    charset = Charset("utf-8")
    charset.body_encoding = QP if sum(byte > 126 for byte in raw) * 6 < len(raw) else BASE64
    part = MIMENonMultipart("text", subtype, charset="utf-8")
    part.set_payload(text, charset)
    return part


def _token(identity: str) -> str:
    """Return an id as it may stand within a message id; ours always may."""
    harmless = identity.replace("_", "").isalnum() and identity.isascii() and len(identity) <= 64
    return identity if harmless else _digest(identity)


def _digest(text: str) -> str:
    return blake2b(text.encode(errors="replace"), digest_size=8).hexdigest()

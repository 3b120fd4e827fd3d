"""The demo's mail server: a real SMTP server on loopback that keeps what it is given."""

from __future__ import annotations

import asyncio
import email
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import default
from socket import socket
from typing import Any

from heartbeat.demo.arrivals import Arrivals


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as it arrived: the envelope, and the bytes between DATA and the dot."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes

    @property
    def message(self) -> EmailMessage:
        """The mail, parsed."""
        return email.message_from_bytes(self.content, policy=default)

    def tells(self, kind: str, check: str) -> bool:
        """Say whether it is about this kind of event of this check."""
        return (self.message["X-Heartbeat-Kind"], self.message["X-Heartbeat-Check"]) == (kind, check)

    def __str__(self) -> str:
        """Return the mail as it arrived, save for its HTML part, which says the same as its text."""
        whole = self.content.decode(errors="replace")
        page = self.message.get_body(("html",))
        if page is not None:
            source = str(page.get_payload())
            whole = whole.replace(source, f"(the same as a page: {len(source)} characters, not shown here)\n")
        return whole


class _Handler:
    def __init__(self, mails: Arrivals[Mail]) -> None:
        self._mails = mails

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self._mails.add(Mail(envelope.mail_from, tuple(envelope.rcpt_tos), envelope.content))
        return "250 OK, thank you"


@asynccontextmanager
async def mail_server(mails: Arrivals[Mail], sock: socket) -> AsyncIterator[None]:
    """Take mail on a listening socket.

    Raises:
        ModuleNotFoundError: aiosmtpd, of the extra ``demo``, is not installed.
    """
    from aiosmtpd.smtp import SMTP  # noqa: PLC0415 - an extra, which only the demo needs

    handler = _Handler(mails)
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(handler, enable_SMTPUTF8=True, hostname="mail.demo"), sock=sock
    )
    try:
        yield
    finally:
        server.close()

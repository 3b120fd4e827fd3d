"""A mail server on loopback that keeps what it receives, and misbehaves as told. Needs aiosmtpd (extra ``demo``)."""

from __future__ import annotations

import asyncio
import email
import ssl
import warnings
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import Message
from typing import Any, Final

HANG: Final = "hang"
"""A scripted reply: none, ever."""
DROP: Final = "drop"
"""A scripted reply: the connection is closed; a mail is kept first, as if the reply had been lost."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as it arrived."""

    sender: str
    recipient: str
    content: bytes

    @property
    def parsed(self) -> Message:
        """The mail as the standard library reads it."""
        return email.message_from_bytes(self.content)


class Inbox:
    """What a mail server received; ``wire`` is every byte that clients sent, after decryption."""

    def __init__(self) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.mails: list[Mail] = []
        self.wire = bytearray()
        self.logins: list[str] = []
        self.connections = 0
        self._replies: defaultdict[str, deque[str]] = defaultdict(deque)
        self._arrived = asyncio.Condition()
        self._heard = asyncio.Event()

    def script(self, command: str, *replies: str) -> None:
        """Give the next replies to ``CONNECT``, ``MAIL``, ``RCPT``, ``DATA`` or ``AUTH``; then all is well again."""
        self._replies[command].extend(replies)

    def reply_to(self, command: str) -> str | None:
        """Take the next scripted reply, if there is one."""
        replies = self._replies[command]
        return replies.popleft() if replies else None

    async def keep(self, mail: Mail) -> None:
        """Take a mail in and tell those who wait."""
        async with self._arrived:
            self.mails.append(mail)
            self._arrived.notify_all()

    def take(self, data: bytes) -> None:
        """Note what a client sent."""
        self.wire += data
        self._heard.set()

    async def hear(self, words: bytes, times: int = 1, within: float = 10.0) -> None:
        """Wait until clients have sent these bytes that often. Raises TimeoutError."""
        async with asyncio.timeout(within):
            while self.wire.count(words) < times:
                self._heard.clear()
                await self._heard.wait()

    async def wait(self, count: int, within: float = 10.0) -> list[Mail]:
        """Wait until that many mails are there, and return all. Raises TimeoutError."""
        async with asyncio.timeout(within), self._arrived:
            await self._arrived.wait_for(lambda: len(self.mails) >= count)
        return list(self.mails)


@asynccontextmanager
async def mail_server(
    *,
    tls: ssl.SSLContext | None = None,
    implicit: bool = False,
    user: tuple[str, str] | None = None,
    auth_in_plain: bool = False,
    port: int = 0,
) -> AsyncIterator[Inbox]:
    """Serve on a free port of loopback.

    Args:
        tls: the server's context; without one STARTTLS is not offered.
        implicit: speak TLS from the first byte.
        user: name and password that are accepted; without them AUTH is not needed.
        auth_in_plain: offer AUTH without TLS too.
        port: a fixed port, or 0 for a free one.
    """
    inbox = Inbox()
    protocols: set[asyncio.Protocol] = set()
    loop = asyncio.get_running_loop()
    # aiosmtpd does not see that a connection was TLS from the start, and would not offer AUTH on it.
    make = _protocol_factory(inbox, protocols, None if implicit else tls, user, auth_in_plain or implicit)
    server = await loop.create_server(make, inbox.host, port, ssl=tls if implicit else None)
    inbox.port = server.sockets[0].getsockname()[1]
    try:
        yield inbox
    finally:
        server.close()
        for protocol in list(protocols):
            _end(protocol)
        await server.wait_closed()
        await asyncio.sleep(0)


def _end(protocol: Any) -> None:
    if protocol._handler_coroutine is not None:  # noqa: SLF001 - a hanging handler can only be ended by its task
        protocol._handler_coroutine.cancel()  # noqa: SLF001 - the same
    if protocol.transport is not None:
        protocol.transport.abort()


def _protocol_factory(
    inbox: Inbox,
    protocols: set[asyncio.Protocol],
    tls: ssl.SSLContext | None,
    user: tuple[str, str] | None,
    auth_in_plain: bool,
) -> Any:
    from aiosmtpd.smtp import SMTP  # noqa: PLC0415 - an extra: only those who serve mail need it

    class Protocol(SMTP):
        def connection_made(self, transport: Any) -> None:
            inbox.connections += 1
            protocols.add(self)
            super().connection_made(transport)

        def connection_lost(self, error: Exception | None) -> None:
            protocols.discard(self)
            super().connection_lost(error)

        def data_received(self, data: bytes) -> None:
            inbox.take(data)
            super().data_received(data)

        async def push(self, status: Any) -> None:
            if str(status).startswith("220 mail.test"):
                status = await _obey(self, inbox.reply_to("CONNECT")) or status
            await super().push(status)
            if str(status).startswith("421") and self.transport is not None:
                self.transport.close()

    def make() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # aiosmtpd objects to AUTH in plain text, which is what a test asks for
            return Protocol(
                _Handler(inbox),
                hostname="mail.test",
                tls_context=tls,
                authenticator=_authenticator(inbox, user) if user else None,
                auth_required=user is not None,
                auth_require_tls=not auth_in_plain,
                loop=asyncio.get_running_loop(),
            )

    return make


def _authenticator(inbox: Inbox, user: tuple[str, str]) -> Any:
    from aiosmtpd.smtp import AuthResult  # noqa: PLC0415 - as above

    def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> Any:
        name = data.login.decode()
        inbox.logins.append(name)
        return AuthResult(success=(name, data.password.decode()) == user, handled=False)

    return authenticate


async def _obey(server: Any, reply: str | None) -> str | None:
    if reply == HANG:
        await asyncio.Event().wait()
    if reply == DROP:
        server.transport.close()
    return reply


class _Handler:
    """The hooks of aiosmtpd, which finds them by name."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    async def handle_MAIL(self, server: Any, _session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802 - aiosmtpd's name
        reply = await _obey(server, self._inbox.reply_to("MAIL"))
        if reply is None:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return reply or "250 OK"

    async def handle_RCPT(self, server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802 - aiosmtpd's name
        reply = await _obey(server, self._inbox.reply_to("RCPT"))
        if reply is None:
            envelope.rcpt_tos.append(address)
        return reply or "250 OK"

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        reply = self._inbox.reply_to("DATA")
        if reply is None or reply == DROP:
            for recipient in envelope.rcpt_tos:
                await self._inbox.keep(Mail(envelope.mail_from, recipient, envelope.content))
        return await _obey(server, reply) or f"250 OK queued as {len(self._inbox.mails)}"

    async def handle_AUTH(self, server: Any, _session: Any, _envelope: Any, _args: Any) -> Any:  # noqa: N802 - aiosmtpd's name
        from aiosmtpd.smtp import MISSING  # noqa: PLC0415 - an extra: only those who serve mail need it

        return await _obey(server, self._inbox.reply_to("AUTH")) or MISSING

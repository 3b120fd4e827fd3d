"""Conversations with mail servers: opened with enforced TLS, kept for the next mail of a burst, one at a time.

A connection is shared by all that go to one server with one login. Who waits too long for it opens a second one for
itself: a server that keeps one mail waiting must not hold up the others.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal
from weakref import WeakKeyDictionary

from aiosmtplib import (
    SMTP,
    SMTPDataError,
    SMTPException,
    SMTPHeloError,
    SMTPRecipientRefused,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)
from pydantic import SecretStr

from heartbeat.channels import SLOW_RETRY, DeliveryFailed

IDLE_SECONDS = 10.0
"""How long a connection is kept for the next mail."""
PATIENCE = 3.0
"""Seconds to wait for the connection that another mail uses, before a second one is opened."""
QUIT_SECONDS = 1.0
MAILS_AT_MOST = 50
"""Mails over one connection; servers cut off who goes on much longer."""
GOODBYE = 421
TOO_LARGE = 552
"""Of the size that MAIL announces (RFC 1870 6.1): it says nothing about the sender."""


@dataclass(frozen=True, slots=True)
class Server:
    """A mail server as one login sees it. ``timeout`` is in seconds, for each step of the conversation."""

    host: str
    port: int
    tls: Literal["starttls", "implicit", "none"]
    username: str
    password: SecretStr
    ca_file: str
    greeting: str
    """The name that we introduce ourselves with."""
    timeout: float


@dataclass(slots=True, eq=False)
class Desk:
    """Where the connection to a server lies between two mails."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    idle: SMTP | None = None
    used: int = 0
    timer: asyncio.TimerHandle | None = None
    parting: asyncio.Task[None] | None = None

    def take(self) -> SMTP | None:
        """Take the connection, where there is one that is still open."""
        client, self.idle = self.idle, None
        if self.timer is not None:
            self.timer.cancel()
        return client if client is not None and client.is_connected else None

    async def keep(self, client: SMTP) -> None:
        """Lay a connection down for the next mail, or part from it where it has served its time."""
        self.used += 1
        if self.used >= MAILS_AT_MOST or not client.is_connected:
            await part(client)
            return
        self.idle = client
        self.timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self.expire)

    def expire(self) -> None:
        """Part from a connection that nobody has asked for."""
        if (client := self.take()) is not None:
            self.parting = asyncio.create_task(part(client), name="smtp quit")

    async def clear(self) -> None:
        """Part from the connection that lies here, if there is one."""
        if (client := self.take()) is not None:
            await part(client)
        if self.parting is not None:
            await self.parting


_desks: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Server, Desk]] = WeakKeyDictionary()


@dataclass(slots=True)
class Transaction:
    """One mail to one recipient. ``in_doubt`` is set while the server may have it, and has not said so."""

    server: Server
    sender: str
    recipient: str
    in_doubt: bool = False

    async def carry(self, body: bytes) -> str:
        """Hand the mail over; return the server's answer. Raises ``SMTPException``, ``OSError``, ``DeliveryFailed``."""
        async with _desk(self.server) as desk:
            client = desk.take()
            if client is not None:
                try:
                    return await self._over(desk, client, body)
                except (SMTPException, OSError) as error:
                    if self.in_doubt or not has_parted(error):
                        raise  # what is over is over; but a server that left while we were silent is asked again
            desk.used = 0
            return await self._over(desk, await connect(self.server), body)

    async def _over(self, desk: Desk, client: SMTP, body: bytes) -> str:
        """Send over an open connection, and keep that where it is sound."""
        try:
            answer = await self._submit(client, body)
        except (SMTPResponseException, SMTPRecipientsRefused) as error:
            if has_parted(error) or not await _is_reset(client):
                client.close()
            else:
                await desk.keep(client)
            raise
        except BaseException:
            client.close()
            raise
        await desk.keep(client)
        return answer

    async def _submit(self, client: SMTP, body: bytes) -> str:
        """Send envelope and mail step by step, so that it is known in which one the conversation broke off."""
        await greet(client)
        size = [f"size={len(body)}"] if client.supports_extension("size") else []
        try:
            await client.mail(self.sender, options=size)
            await client.rcpt(self.recipient)
        except SMTPSenderRefused as error:
            if error.code == TOO_LARGE:
                raise SMTPDataError(error.code, error.message) from error
            raise
        except SMTPRecipientRefused as error:
            raise SMTPRecipientsRefused([error]) from error
        self.in_doubt = True
        try:
            answer = await client.data(body)
        except SMTPResponseException as error:
            self.in_doubt = not 400 <= error.code < 600  # no refusal, and no answer that makes sense
            raise
        self.in_doubt = False
        return answer.message


async def connect(server: Server) -> SMTP:
    """Open a conversation: TLS as configured or not at all, then the login."""
    client = SMTP(
        hostname=server.host,
        port=server.port,
        local_hostname=server.greeting,
        timeout=server.timeout,
        use_tls=server.tls == "implicit",
        start_tls=False,  # done by hand: the library's own None would be content with plain text
        tls_context=None if server.tls == "none" else await asyncio.to_thread(load_trust, server.ca_file),
    )
    try:
        await client.connect()
        if server.tls == "starttls":
            await _secure(client, server.host)
        if server.username:
            await _login(client, server)
    except BaseException:
        client.close()
        raise
    return client


async def part(client: SMTP) -> None:
    """Say goodbye and close."""
    with suppress(SMTPException, OSError):  # the mails are accepted; how we part changes nothing
        await client.quit(timeout=QUIT_SECONDS)
    client.close()


async def let_go(server: Server) -> None:
    """Close the connection that is kept for the next mail, if there is one."""
    desk = _desks.get(asyncio.get_running_loop(), {}).pop(server, None)
    if desk is not None:
        await desk.clear()


def has_parted(error: Exception) -> bool:
    """Say whether the server has closed the conversation, or is about to (421, RFC 5321 3.8)."""
    if isinstance(error, SMTPRecipientsRefused):
        return any(refused.code == GOODBYE for refused in error.recipients)
    if isinstance(error, SMTPResponseException):
        return error.code == GOODBYE
    return isinstance(error, SMTPServerDisconnected | ConnectionError)


def load_trust(ca_file: str) -> ssl.SSLContext:
    """Return the context that verifies servers, loaded once for every version of the file."""
    try:
        changed = Path(ca_file).stat().st_mtime_ns if ca_file else 0
        return _build_trust(ca_file, changed)
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(f"ca_file {ca_file} cannot be used: {error.strerror or error}") from error


@lru_cache(maxsize=16)
def _build_trust(ca_file: str, _changed: int) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file or None)


@asynccontextmanager
async def _desk(server: Server) -> AsyncIterator[Desk]:
    """Wait for the turn at a server's desk; where that takes too long, give a desk of one's own."""
    desk = _desks.setdefault(asyncio.get_running_loop(), {}).setdefault(server, Desk())
    try:
        async with asyncio.timeout(PATIENCE):
            await desk.turn.acquire()
    except TimeoutError:
        own = Desk()
        try:
            yield own
        finally:
            await own.clear()
        return
    try:
        yield desk
    finally:
        desk.turn.release()


async def greet(client: SMTP) -> None:
    """Introduce ourselves, where that was not done."""
    if client.is_ehlo_or_helo_needed:
        try:
            await client.ehlo()
        except SMTPHeloError:
            await client.helo()


async def _is_reset(client: SMTP) -> bool:
    """Clear what a refusal left of the envelope, and say whether the conversation can go on."""
    try:
        await client.rset(timeout=QUIT_SECONDS)
    except (SMTPException, OSError):
        return False
    return True


async def _secure(client: SMTP, host: str) -> None:
    await client.ehlo()
    if not client.supports_extension("starttls"):
        sentence = f"{host} does not offer STARTTLS; nothing was sent in plain text"
        raise DeliveryFailed(sentence, retry_after=SLOW_RETRY)
    await client.starttls()


async def _login(client: SMTP, server: Server) -> None:
    """Try the password once. The library's own login tries it with every mechanism, which locks accounts."""
    await greet(client)
    ways = {"plain": client.auth_plain, "login": client.auth_login, "cram-md5": client.auth_crammd5}
    offered = [way for name, way in ways.items() if name in client.supported_auth_methods]
    if not offered:
        raise DeliveryFailed(f"{server.host} offers no way to log in that we know", retry_after=SLOW_RETRY)
    await offered[0](server.username, server.password.get_secret_value())

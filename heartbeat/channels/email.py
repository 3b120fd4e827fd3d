"""The channel ``email``: one mail per recipient over SMTP, with TLS that is never negotiated away."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from aiosmtplib import (
    SMTPAuthenticationError,
    SMTPDataError,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
)
from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from heartbeat.channels import SLOW_RETRY, DeliveryFailed, Departure, ForPeople, Rendered
from heartbeat.channels.mailbox import reach_mailbox
from heartbeat.channels.mime import mail, plain_mail
from heartbeat.channels.smtp import Server, Transaction, let_go, load_trust
from heartbeat.core.batch import Batch
from heartbeat.core.text import plain

ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")
PORTS = {"implicit": 465, "starttls": 587, "none": 25}


def _default_sender() -> str:
    return f"heartbeat@{socket.gethostname()}"


class Email(ForPeople):
    """Mail over SMTP. Every recipient gets a mail of its own, and is tracked by itself."""

    model_config = ConfigDict(populate_by_name=True)
    kind: ClassVar[str] = "email"

    to: tuple[str, ...] = Field(min_length=1)
    """The recipients, as plain addresses."""
    sender: str = Field(default_factory=_default_sender, alias="from")
    """The address that the mails come from."""
    server: str
    """The mail server: ``smtp://host:port``; the port follows from ``tls`` where it is left out."""
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    """``starttls`` and ``implicit`` (from the first byte) are enforced; ``none`` is plain text."""
    username: str = ""
    """The account at the mail server; none if left out."""
    password: SecretStr = SecretStr("")
    """Its password."""
    ca_file: str = ""
    """Certificates to trust instead of the system's."""
    local_hostname: str = ""
    """The name we greet the server with; the machine's name where it is left out."""

    @field_validator("to", "sender")
    @classmethod
    def _check_addresses(cls, value: Any) -> Any:
        for address in (value,) if isinstance(value, str) else value:
            if not ADDRESS.fullmatch(address):
                raise ValueError(f"{address!r} is no plain mail address; write it as name@example.com, in ASCII")
        if not isinstance(value, str) and len(set(value)) < len(value):
            raise ValueError("a recipient is named twice")
        return value

    @field_validator("ca_file")
    @classmethod
    def _check_ca_file(cls, value: str) -> str:
        if value:
            load_trust(value)
        return value

    @field_validator("local_hostname")
    @classmethod
    def _check_local_hostname(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9._:\[\]-]*", value):
            raise ValueError(f"{value!r} is no host name")
        return value

    @model_validator(mode="after")
    def _check_server(self) -> Email:
        scheme, _, _ = self.server.partition("://")
        if scheme not in ("smtp", "smtps") or not self.host or self._has_more_than_host():
            raise ValueError("the server must be written as smtp://host or smtp://host:port, and nothing more")
        if scheme == "smtps" and self.tls != "implicit":
            raise ValueError("smtps:// means TLS from the first byte: write tls: implicit beside it, or smtp://")
        if bool(self.username) != bool(self.password.get_secret_value()):
            raise ValueError("username and password belong together: give both or none")
        if self.username and self.tls == "none" and not _is_loopback(self.host):
            raise ValueError("a password would cross the network in plain text: use tls: starttls or tls: implicit")
        return self

    @property
    def host(self) -> str:
        """The name of the mail server."""
        return urlsplit(self.server).hostname or ""

    @property
    def port(self) -> int:
        """The port of the mail server."""
        return urlsplit(self.server).port or PORTS[self.tls]

    def recipients(self) -> tuple[str, ...]:
        """Return the recipients; each gets its own delivery."""
        return self.to

    def render(self, batch: Batch, at: float) -> Rendered:
        """Turn a batch into the bytes of a mail; where that fails, into a plain mail that tells the essentials."""
        try:
            body = mail(batch, self.sender, at, self.group_wait)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the text, the alert must still go out
            body = plain_mail(batch, self.sender, at, f"The full text could not be made ({type(error).__name__}).")
        return Rendered(body, content_type="message/rfc822")

    async def send(self, batch: Batch, message: Rendered) -> str:
        """Hand the mail to the server; return its answer. Raises ``DeliveryFailed``."""
        transaction = Transaction(self._server(), self.sender, batch.address.recipient)
        try:
            async with asyncio.timeout(self.timeout):
                return plain(await self._carry(transaction, batch, message.body), 200)
        except (SMTPException, OSError) as error:
            raise failure(error, self.host, ambiguous=transaction.in_doubt) from error

    def departure(self, batch: Batch, message: Rendered) -> Departure:
        """Return the envelope and the mail."""
        to = f"MAIL FROM:<{self.sender}> RCPT TO:<{batch.address.recipient}> at {self.host}:{self.port}"
        return Departure(to, message.body, hidden=(self.password.get_secret_value(),))

    async def reach(self) -> tuple[str, ...]:
        """Connect, secure, log in, name sender and recipients, and take that back. Raises ``DeliveryFailed``."""
        try:
            async with asyncio.timeout(self.timeout):
                return await reach_mailbox(self._server(), self.sender, self.to)
        except (SMTPException, OSError) as error:
            raise failure(error, self.host) from error

    async def aclose(self) -> None:
        """Close the connection that is kept for the next mail."""
        await let_go(self._server())

    async def _carry(self, transaction: Transaction, batch: Batch, body: bytes) -> str:
        try:
            return await transaction.carry(body)
        except SMTPDataError as error:
            if not 500 <= error.code < 600:
                raise
            # RFC 5321 4.2.3: 552 is too large, 554 not acceptable; the bare news may pass where evidence does not.
            at = batch.deliveries[0].sealed_at
            return await transaction.carry(plain_mail(batch, self.sender, at, "The mail server refused the full text."))

    def _server(self) -> Server:
        return Server(
            host=self.host,
            port=self.port,
            tls=self.tls,
            username=self.username,
            password=self.password,
            ca_file=self.ca_file,
            greeting=self.local_hostname or _greeting_name(),
            timeout=self.timeout,
        )

    def _has_more_than_host(self) -> bool:
        try:
            parts = urlsplit(self.server)
            return bool(
                parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc or parts.port == 0
            )
        except ValueError:  # a port that is no number
            return True


def failure(error: Exception, host: str, *, ambiguous: bool = False) -> DeliveryFailed:
    """Say what an error of the SMTP client means for the delivery.

    It is ambiguous where the conversation broke off after the mail was handed over and before the server's answer.

    A refused recipient is final. A refused login, sender or greeting is for a person to mend: it is tried again
    slowly, so that nobody's account is locked. Everything else, and every answer 4yz, is tried again.
    """
    if isinstance(error, SMTPRecipientsRefused):
        refused = error.recipients[0]
        return DeliveryFailed(f"{host} refuses the recipient: {_answer(refused)}", permanent=refused.code >= 500)
    if isinstance(error, SMTPResponseException):
        return _refusal(error, host, ambiguous=ambiguous)
    if isinstance(error, ssl.SSLCertVerificationError) or isinstance(error.__cause__, ssl.SSLCertVerificationError):
        return DeliveryFailed(f"the certificate of {host} is not trusted: {plain(error, 200)}")
    if isinstance(error, TimeoutError):
        return DeliveryFailed(f"{host} did not answer in time", ambiguous=ambiguous)
    return DeliveryFailed(f"the connection to {host} failed: {plain(error, 200)}", ambiguous=ambiguous)


def _refusal(error: SMTPResponseException, host: str, *, ambiguous: bool) -> DeliveryFailed:
    answer = _answer(error)
    slowly = SLOW_RETRY if error.code >= 500 else None
    if isinstance(error, SMTPAuthenticationError):
        return DeliveryFailed(f"{host} refuses the user name or password: {answer}", retry_after=slowly)
    if isinstance(error, SMTPSenderRefused):
        return DeliveryFailed(f"{host} refuses the sender address: {answer}", retry_after=slowly)
    if isinstance(error, SMTPDataError):
        return DeliveryFailed(
            f"{host} refuses the mail: {answer}", permanent=error.code >= 500 and not ambiguous, ambiguous=ambiguous
        )
    return DeliveryFailed(f"{host} answers {answer}", retry_after=slowly, ambiguous=ambiguous)


def _answer(error: SMTPResponseException) -> str:
    return plain(f"{error.code} {error.message}", 200)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _greeting_name() -> str:
    """Return the machine's name, or an address literal where it has no full one (RFC 5321 4.1.4)."""
    name = socket.gethostname()
    return name if "." in name else "[127.0.0.1]"

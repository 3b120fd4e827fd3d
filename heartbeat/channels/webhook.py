"""The channel ``webhook``: an event as JSON, signed as Standard Webhooks 1.0.0 says, to one URL."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from heartbeat.channels import SLOW_RETRY, Channel, DeliveryFailed, Duration, Rendered
from heartbeat.check import CheckBroken, CheckFailed
from heartbeat.core.batch import Batch
from heartbeat.core.payload import encode, payload
from heartbeat.core.text import plain
from heartbeat.http.engine import fetch
from heartbeat.http.guard import guard_webhook_target
from heartbeat.http.message import TLS, Request, Response, Trace

SECRET_PREFIX = "whsec_"  # noqa: S105 - the mark of a secret, not one
SECRET_BYTES = 24
ANSWER_BYTES = 4096
RETRY_AFTER_MOST = 3600.0
OWN_HEADERS = frozenset({"connection", "content-length", "content-type", "host", "idempotency-key",
                         "transfer-encoding", "webhook-id", "webhook-signature", "webhook-timestamp"})  # fmt: skip
RETRIED = frozenset({408, 409, 421, 423, 424, 425, 429})
SHORTENED = frozenset({400, 413})
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")


class Webhook(Channel):
    """One POST per event, as JSON. Any 2xx acknowledges it; redirects are not followed."""

    kind: ClassVar[str] = "webhook"

    url: SecretStr
    """Where to: http or https. It is kept secret, as many receivers know their callers by it alone."""
    secret: SecretStr = SecretStr("")
    """The key of the signature: ``whsec_`` and base64 of 24 to 64 bytes, or at least 24 bytes as they are."""
    headers: Mapping[str, SecretStr] = Field(default_factory=dict)
    """Headers to add, as for authorization."""
    timeout: Duration = Field(default=15.0, gt=0, le=300)
    ca_file: str = ""
    """Certificates to trust instead of the system's."""
    verify: bool = True
    """Whether the receiver's certificate is verified."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError("the url must be written as https://host/path")
        if "@" in parts.netloc or parts.fragment:
            raise ValueError("the url may hold neither a user name nor a fragment; write headers: {Authorization: ...}")
        if not re.fullmatch(r"[!-~]+", value.get_secret_value()):
            raise ValueError("the url must be in ASCII and without spaces; percent-encode the rest")
        return value

    @field_validator("secret")
    @classmethod
    def _check_secret(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value():
            key_of(value.get_secret_value())
        return value

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, value: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        for name, text in value.items():
            if not _HEADER_NAME.fullmatch(name) or not re.fullmatch(r"[\t -~]*", text.get_secret_value()):
                raise ValueError(f"the header {plain(name, 40)!r} must be one line of ASCII")
            if name.lower() in OWN_HEADERS:
                raise ValueError(f"the header {name} is set by the channel itself; leave it out")
        return value

    @field_validator("ca_file")
    @classmethod
    def _check_ca_file(cls, value: str) -> str:
        if value and not Path(value).is_file():
            raise ValueError(f"ca_file {value} is no file that can be read")
        return value

    @property
    def host(self) -> str:
        """The receiver's host: all of the URL that may be shown."""
        return urlsplit(self.url.get_secret_value()).hostname or ""

    def render(self, batch: Batch, at: float) -> Rendered:  # noqa: ARG002 - machines are told the event, not the delay
        """Turn a delivery into the body and the headers that are the same on every attempt."""
        (event,) = batch.events
        # The quotes are those of a structured field, as draft-ietf-httpapi-idempotency-key-header asks.
        headers = (("webhook-id", event.id), ("Idempotency-Key", f'"{event.id}"'))
        return Rendered(encode(payload(event)), headers, "application/json")

    async def send(self, batch: Batch, message: Rendered) -> str:
        """Post the message; return the receiver's answer. Raises ``DeliveryFailed``."""
        response = await self._post(batch.id, message, message.body)
        shorter = without_evidence(message.body)
        if response.status in SHORTENED and shorter != message.body:
            response = await self._post(batch.id, message, shorter)
        if 200 <= response.status < 300:
            return plain(f"{response.status} {response.body[:200].decode(errors='replace')}", 200)
        raise refusal(response, self.host, time.time())

    async def _post(self, identity: str, message: Rendered, body: bytes) -> Response:
        request = Request(
            url=self.url.get_secret_value(),
            method="POST",
            headers=(*message.headers, *self._attempt_headers(identity, body, int(time.time()))),
            body=body,
            content_type=message.content_type,
            body_limit=ANSWER_BYTES,
            decode=False,
            tls=TLS(verify=self.verify, ca_file=self.ca_file),
            address_guard=guard_webhook_target,
        )
        trace = Trace()
        try:
            return await fetch(request, timeout=self.timeout, trace=trace)
        except CheckFailed as error:
            if trace.response is not None:  # the status has come, and it alone decides; the body may drip for ever
                return trace.response
            slowly = SLOW_RETRY if isinstance(error, CheckBroken) and error.reason == "config" else None
            sentence = error.sentence.replace(request.url, self.host)
            raise DeliveryFailed(sentence, retry_after=slowly) from None  # the cause may name the URL

    def _attempt_headers(self, identity: str, body: bytes, at: int) -> tuple[tuple[str, str], ...]:
        """Return what is new on every attempt: the time and, with a secret, the signature; and the user's headers."""
        secret = self.secret.get_secret_value()
        signed = (("webhook-signature", sign(key_of(secret), identity, at, body)),) if secret else ()
        own = tuple((name, value.get_secret_value()) for name, value in self.headers.items())
        return (("webhook-timestamp", str(at)), *signed, *own)


def sign(key: bytes, identity: str, at: int, body: bytes) -> str:
    """Return the symmetric signature of Standard Webhooks 1.0.0 over id, time and body."""
    content = b".".join((identity.encode(), str(at).encode(), body))
    return f"v1,{base64.b64encode(hmac.digest(key, content, 'sha256')).decode()}"


def key_of(secret: str) -> bytes:
    """Return the key that a secret stands for. Raises ``ValueError`` where it is too weak."""
    if secret.startswith(SECRET_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error:
            raise ValueError("the secret must be base64 after whsec_") from None
    else:
        key = secret.encode()
    if len(key) < SECRET_BYTES:
        raise ValueError(f"the secret has {len(key)} bytes; make one of at least {SECRET_BYTES} random bytes")
    return key


def refusal(response: Response, host: str, now: float) -> DeliveryFailed:
    """Say what an answer that is no 2xx means (Standard Webhooks 1.0.0, RFC 9110).

    The receiver's trouble is tried again. A login that it refuses is for a person to mend, and tried again slowly.
    What it says about the request itself is final: the same request would get the same answer.
    """
    status = response.status
    asked = retry_after(response.header("retry-after"), now)
    if 300 <= status < 400:
        elsewhere = origin(response.header("location") or "")
        return DeliveryFailed(f"{host} answers {status} and points to {elsewhere}: change the url", permanent=True)
    if status in (401, 403):
        slowly = max(asked or 0.0, SLOW_RETRY)
        return DeliveryFailed(f"{host} answers {status}: check secret and headers", retry_after=slowly)
    if status == 410:
        return DeliveryFailed(f"{host} answers 410: this receiver is gone for good, remove it", permanent=True)
    final = 400 <= status < 500 and status not in RETRIED
    return DeliveryFailed(f"{host} answers {status}", permanent=final, retry_after=None if final else asked)


def retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds that a Retry-After asks for, in [0, 1 h]; None where it is absent or says nothing.

    RFC 9110 10.2.3: a number of seconds, or a date.
    """
    text = (value or "").strip()
    if re.fullmatch(r"[0-9]{1,20}", text):
        seconds = float(text)
    else:
        try:
            date = parsedate_to_datetime(text)
            seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    return min(max(seconds, 0.0), RETRY_AFTER_MOST)


def origin(url: str) -> str:
    """Return scheme and host of a URL, the parts that hold no secret."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    return plain(f"{parts.scheme}://{host}", 200) if host else "another path"


def without_evidence(body: bytes) -> bytes:
    """Return the body without what a receiver may find too long or may not like."""
    whole: dict[str, Any] = json.loads(body)
    if whole["data"]["result"]:
        whole["data"]["result"]["evidence"] = {}
    return encode(whole)

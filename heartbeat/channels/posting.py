"""What all channels that speak HTTP share: one request, what its answer means, and how long to wait after it."""

from __future__ import annotations

import json
import re
import time
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import isnan
from pathlib import Path
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from heartbeat.channels import SLOW_RETRY, Channel, DeliveryFailed, Departure, Rendered
from heartbeat.channels.hidden import parts_of, secrets_of, words_of
from heartbeat.channels.reaching import reach_server
from heartbeat.check import CheckBroken, CheckFailed, Duration
from heartbeat.core.batch import Batch
from heartbeat.core.text import plain
from heartbeat.http.engine import fetch
from heartbeat.http.guard import guard_webhook_target
from heartbeat.http.message import TLS, Request, Response, Trace
from heartbeat.redaction import Redactor

ANSWER_BYTES = 4096
ANSWER_CHARACTERS = 200
RETRY_AFTER_MOST = 3600.0
RETRIED = frozenset({408, 409, 421, 423, 424, 425, 429})
SHORTENED = frozenset({400, 413})
OWN_HEADERS = frozenset({"connection", "content-length", "content-type", "host", "idempotency-key",
                         "transfer-encoding", "webhook-id", "webhook-signature", "webhook-timestamp"})  # fmt: skip
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")


def check_url(value: SecretStr) -> SecretStr:
    """Return a URL that a message can be posted to. Raises ``ValueError``."""
    check_endpoint(value.get_secret_value())
    return value


def check_endpoint(value: str) -> str:
    """Return a URL without userinfo, fragment or spaces. Raises ``ValueError``, and does not say which URL it was."""
    try:
        parts = urlsplit(value)
        is_whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # its text would quote the URL
        is_whole = False
    if not is_whole:
        raise ValueError("the url must be written as https://host/path")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError("the url may hold neither a user name nor a fragment; write headers: {Authorization: ...}")
    if not re.fullmatch(r"[!-~]+", value):
        raise ValueError("the url must be in ASCII and without spaces; percent-encode the rest")
    return value


def check_file(value: str) -> str:
    """Return the path of a file that is there, or nothing. Raises ``ValueError``."""
    if value and not Path(value).is_file():
        raise ValueError(f"ca_file {value} is no file that can be read")
    return value


def check_token(value: SecretStr) -> SecretStr:
    """Return a credential that fits into a header or a URL. Raises ``ValueError``."""
    if not re.fullmatch(r"[!-~]*", value.get_secret_value()):
        raise ValueError("must be one word of ASCII; look for a space or a line break at its end")
    return value


def check_header(name: str, value: SecretStr) -> None:
    """Raise ``ValueError`` for a header that is not one line of ASCII, or that every request has anyway."""
    if not _HEADER_NAME.fullmatch(name) or not re.fullmatch(r"[\t -~]*", value.get_secret_value()):
        raise ValueError(f"the header {plain(name, 40)!r} must be one line of ASCII")
    if name.lower() in OWN_HEADERS:
        raise ValueError(f"the header {name} is set by the channel itself; leave it out")


SecretURL = Annotated[SecretStr, AfterValidator(check_url)]
"""Where to post to, kept secret: many services know their callers by it alone."""
Endpoint = Annotated[str, AfterValidator(check_endpoint)]
"""Where a service is found; no secret."""
Token = Annotated[SecretStr, AfterValidator(check_token)]
"""A credential in one word."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One request to a receiver. What may hold a secret is not in its ``repr``."""

    url: SecretStr
    body: bytes = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    content_type: str = "application/json"
    method: str = "POST"

    @property
    def host(self) -> str:
        """The receiver's host: all of the URL that may be shown."""
        return urlsplit(self.url.get_secret_value()).hostname or ""


class OverHTTP(Channel):
    """A channel whose last hop is one request; the answer says what became of it. Redirects are not followed."""

    login: ClassVar[str] = "secret and headers"
    """Which options the receiver knows us by: what to look at when it refuses us."""

    timeout: Duration = Field(default=15.0, gt=0, le=300)
    """Seconds for one attempt, from the connection to the receiver's answer."""
    ca_file: Annotated[str, AfterValidator(check_file)] = ""
    """Certificates to trust instead of the system's."""
    verify: bool = True
    """Whether the receiver's certificate is verified."""

    @abstractmethod
    def letter(self, batch: Batch, message: Rendered) -> Letter:
        """Return the request for a message: its URL and headers with the secrets that ``render`` leaves out."""

    def shorten(self, body: bytes) -> bytes:
        """Return a shorter, plainer body for a receiver that answers 400 or 413; the same where there is none."""
        return body

    def accepts(self, response: Response, host: str) -> str | DeliveryFailed:
        """Return the receiver's answer, or why it is none. Services that say 200 and mean an error look closer."""
        return verdict(response, host, time.time(), self.login)

    async def send(self, batch: Batch, message: Rendered) -> str:
        """Post the message; return the receiver's answer. Raises ``DeliveryFailed``."""
        letter = self.letter(batch, message)
        response = await self._post(letter)
        shorter = self.shorten(message.body) if response.status in SHORTENED else message.body
        if shorter != message.body:
            letter = self.letter(batch, replace(message, body=shorter))
            response = await self._post(letter)
        outcome = self.accepts(response, letter.host)
        if isinstance(outcome, str):
            return self._scrub(letter, outcome)
        sentence = self._scrub(letter, outcome.sentence)
        raise DeliveryFailed(
            sentence, permanent=outcome.permanent, retry_after=outcome.retry_after, ambiguous=outcome.ambiguous
        )

    def departure(self, batch: Batch, message: Rendered) -> Departure:
        """Return the request; what is the same for every request of ours is left out."""
        letter = self.letter(batch, message)
        headers = (*letter.headers, ("Content-Type", letter.content_type))
        to = f"{letter.method} {letter.url.get_secret_value()}"
        return Departure(to, letter.body, headers, tuple(words_of(self)))

    async def reach(self) -> tuple[str, ...]:
        """Resolve, connect and do the TLS handshake. Raises ``DeliveryFailed``."""
        return await reach_server(self.door(), timeout=self.timeout, tls=self._tls())

    def door(self) -> str:
        """Return a URL of the server that takes the messages."""
        found = getattr(self, "url", None) or getattr(self, "base_url", "")
        return found.get_secret_value() if isinstance(found, SecretStr) else str(found)

    def _tls(self) -> TLS:
        return TLS(verify=self.verify, ca_file=self.ca_file)

    def _scrub(self, letter: Letter, text: str) -> str:
        """Take our secrets out of what the receiver said: pages of errors like to repeat the path."""
        redactor = Redactor()
        for value in (letter.url.get_secret_value(), *secrets_of(self)):
            for part in parts_of(value):
                redactor.add("secret", part)
        return redactor(text)

    async def _post(self, letter: Letter) -> Response:
        return await post(letter, timeout=self.timeout, tls=self._tls())


async def post(letter: Letter, *, timeout: float, tls: TLS) -> Response:  # noqa: ASYNC109 - libcurl keeps it, and says so
    """Make the request once: no redirects, no proxies of the environment, no metadata addresses, 4 KiB of answer.

    Raises:
        DeliveryFailed: no answer came; ambiguous where the request may have arrived. It never names the URL.
    """
    request = Request(
        url=letter.url.get_secret_value(),
        method=letter.method,
        headers=letter.headers,
        body=None if letter.method == "GET" else letter.body,
        content_type=letter.content_type,
        body_limit=ANSWER_BYTES,
        decode=False,
        tls=tls,
        address_guard=guard_webhook_target,
    )
    trace = Trace()
    try:
        return await fetch(request, timeout=timeout, trace=trace)
    except CheckFailed as error:
        if trace.response is not None:  # the status has come, and it alone decides; the body may drip for ever
            return trace.response
        ours = isinstance(error, CheckBroken)
        slowly = SLOW_RETRY if ours and error.reason == "config" else None
        sent = not ours and "processing" in trace.phases  # the phase that begins when the request can go out
        sentence = error.sentence.replace(request.url, letter.host)
        raise DeliveryFailed(sentence, retry_after=slowly, ambiguous=sent) from None  # the cause may name the URL


def verdict(response: Response, host: str, now: float, login: str = OverHTTP.login) -> str | DeliveryFailed:
    """Return an acknowledgement as text, or what another answer means (Standard Webhooks 1.0.0, RFC 9110).

    The receiver's trouble is tried again. A login that it refuses is for a person to mend, and tried again slowly.
    What it says about the request itself is final: the same request would get the same answer. Behind a gateway that
    ran out of time (504) the receiver may have the message.
    """
    status = response.status
    if 200 <= status < 300:
        return said(response)
    asked = patience(response, now)
    answer = f"{host} answers {said(response)}"
    if 300 <= status < 400:
        elsewhere = origin(response.header("location") or "")
        return DeliveryFailed(f"{host} answers {status} and points to {elsewhere}: change the url", permanent=True)
    if status in (401, 403):
        return DeliveryFailed(f"{answer}: check {login}", retry_after=max(asked or 0.0, SLOW_RETRY))
    if status == 410:
        return DeliveryFailed(f"{answer}: this receiver is gone for good, remove it", permanent=True)
    final = 400 <= status < 500 and status not in RETRIED
    return DeliveryFailed(answer, permanent=final, retry_after=None if final else asked, ambiguous=status == 504)


def said(response: Response) -> str:
    """Return status and text of an answer in one line; a page of HTML is no answer, only its status is."""
    if "html" in (response.header("content-type") or "").lower() or response.body.lstrip()[:1] == b"<":
        return str(response.status)
    return plain(f"{response.status} {response.body.decode(errors='replace')}", ANSWER_CHARACTERS)


def document(response: Response) -> Mapping[str, Any]:
    """Return the JSON object of an answer; an empty one where it is none."""
    try:
        found = json.loads(response.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def patience(response: Response, now: float) -> float | None:
    """Return the seconds that an answer asks us to wait: by its header, or as chat services do, in its JSON."""
    whole = document(response)
    inner = whole.get("parameters")
    told = (whole.get("retry_after"), inner.get("retry_after") if isinstance(inner, dict) else None)
    asked = (retry_after(response.header("retry-after"), now), *map(_clamped, told))
    return max((seconds for seconds in asked if seconds is not None), default=None)


def retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds that a Retry-After asks for, in [0, 1 h]; None where it is absent or says nothing.

    RFC 9110 10.2.3: a number of seconds, or a date.
    """
    text = (value or "").strip()
    if re.fullmatch(r"[0-9]{1,20}", text):
        return _clamped(float(text))
    try:
        date = parsedate_to_datetime(text)
        return _clamped((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _clamped(seconds: object) -> float | None:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return None
    if isinstance(seconds, float) and isnan(seconds):
        return None
    return float(min(max(seconds, 0), RETRY_AFTER_MOST))


def origin(url: str) -> str:
    """Return scheme and host of a URL, the parts that hold no secret."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    return plain(f"{parts.scheme}://{host}", 200) if host else "another path"

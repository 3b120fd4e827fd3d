"""httpx on the engine: a transport that carries raw bytes, and a client with our defaults."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from heartbeat.check import CheckBroken, CheckFailed
from heartbeat.http.cookies import Cookies
from heartbeat.http.engine import fetch
from heartbeat.http.message import USER_AGENT, Pairs, Request, Response, Trace, target
from heartbeat.http.text import clean, safe_url
from heartbeat.lean import hidden

with hidden("httpx._main"):
    import httpx

LONGEST = 3600.0  # seconds, where the caller set no timeout at all
CHUNK = 64 * 1024
ENCODINGS = frozenset({"gzip", "x-gzip", "deflate"})
ORIGIN = "heartbeat_origin"
"""Where a request notes its origin for those that redirects make of it: httpx hands the extensions on."""


class CurlTransport(httpx.AsyncBaseTransport):
    """Sends httpx requests over the running loop's engine.

    The engine has one deadline for the whole exchange: the longest of httpx's four timeouts, and never more than
    ``remaining()`` seconds. What httpx has no words for (``tls``, ``family``, ``proxy``, ``http_version``,
    ``body_limit``, ``address_guard``) is taken from ``options``. A body longer than ``body_limit`` bytes, as sent or
    when unpacked, raises ``httpx.DecodingError`` where it is read. ``CheckBroken`` passes through: it is not httpx's.

    ``marks`` are headers for every request but those to which a redirect led from another origin; a request's own win.
    ``cookies`` is the jar of the client, whose rules are stricter than those by which httpx sends what is in it.
    """

    def __init__(
        self,
        options: Request | None = None,
        *,
        remaining: Callable[[], float] | None = None,
        marks: Pairs = (),
        cookies: Cookies | None = None,
    ) -> None:
        self._options = options or Request(url="")
        self._remaining = remaining
        self._marks = marks
        self._cookies = cookies

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; redirects, cookies and decoding are httpx's."""
        if request.url.scheme not in ("http", "https") or not request.url.host:
            raise httpx.UnsupportedProtocol(f"no request to {safe_url(str(request.url))}", request=request)
        ours = await self._translate(request)
        trace = Trace()
        try:
            response = await fetch(ours, timeout=self._timeout(request), trace=trace, marks=self._marks_for(request))
        except CheckBroken:
            raise
        except CheckFailed as error:
            raise _exception(error, trace, request) from error
        return httpx.Response(
            response.status,
            headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers],
            stream=_Body(response, ours.body_limit, request),
            extensions={"http_version": f"HTTP/{response.http_version}".encode(), "heartbeat_trace": trace},
        )

    async def _translate(self, request: httpx.Request) -> Request:
        body = await request.aread()
        names = (b"host", b"content-length", b"transfer-encoding", b"connection")  # libcurl's business
        own = request.headers.raw
        host = [(name, value) for name, value in own if name.lower() == b"host" and value != request.url.netloc]
        kept = [(name, value) for name, value in own if name.lower() not in names]
        if self._cookies is not None:
            kept = [*_strict(kept, self._cookies, str(request.url))]
        sent = body or request.method in ("POST", "PUT", "PATCH")
        return replace(
            self._options,
            url=str(request.url),
            method=request.method,
            headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in (*host, *kept)),
            body=body if sent else None,
            user_agent="",
            decode=False,
        )

    def _marks_for(self, request: httpx.Request) -> Pairs:
        here = target(str(request.url))
        return self._marks if request.extensions.setdefault(ORIGIN, here) == here else ()

    def _timeout(self, request: httpx.Request) -> float:
        asked = [value for value in request.extensions.get("timeout", {}).values() if value is not None]
        seconds = max(asked, default=LONGEST)
        return seconds if self._remaining is None else min(seconds, self._remaining())


def _strict(headers: Iterable[tuple[bytes, bytes]], cookies: Cookies, url: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield the headers with the cookies that belong to a URL."""
    written = ""
    for name, value in headers:
        if name.lower() == b"cookie":
            written = value.decode("latin-1")
        else:
            yield name, value
    if sent := cookies.jar.strict(url, written):
        yield b"Cookie", sent.encode("latin-1", "replace")


class _Body(httpx.AsyncByteStream):
    """The raw body of an answer, which refuses to be more than the limit, packed or unpacked."""

    def __init__(self, response: Response, limit: int, request: httpx.Request) -> None:
        self._response = response
        self._limit = limit
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        body = self._response.body
        problem = _objection(self._response, self._limit)
        if problem and self._response.header("content-encoding"):  # httpx would unpack all that it is given
            raise httpx.DecodingError(problem, request=self._request)
        for start in range(0, len(body), CHUNK):
            yield body[start : start + CHUNK]
        if problem:
            raise httpx.DecodingError(problem, request=self._request)


def _objection(response: Response, limit: int) -> str:
    """Say why httpx should not read a body to its end, or nothing."""
    encoding = (response.header("content-encoding") or "identity").strip().lower()
    if response.truncated:
        return f"the body is longer than {limit} bytes"
    if encoding == "identity" or not response.body:
        return ""
    if encoding not in ENCODINGS:
        return f"the body has the content encoding {clean(encoding, 40)}, which was not asked for"
    return f"the body unpacks to more than {limit} bytes" if _unpacks_beyond(response.body, limit) else ""


def _unpacks_beyond(body: bytes, limit: int) -> bool:
    """Say whether a packed body (gzip or zlib, RFC 1952 and 1950, or raw deflate) is longer than the limit."""
    for bits in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):
        try:
            return len(zlib.decompressobj(bits).decompress(body, limit + 1)) > limit
        except zlib.error:
            continue
    return False  # httpx will say what is wrong with it


def _exception(error: CheckFailed, trace: Trace, request: httpx.Request) -> httpx.TransportError:
    """Return the exception that httpx users know for a failure of the target."""
    if error.reason == "timeout":
        kind: type[httpx.TransportError] = httpx.ReadTimeout if "processing" in trace.phases else httpx.ConnectTimeout
    elif error.reason in ("resolve", "connect", "tls", "certificate"):
        kind = httpx.ConnectError
    else:
        kind = httpx.ReadError if error.reason == "reset" else httpx.RemoteProtocolError
    return kind(error.sentence, request=request)


def client(
    *, transport: httpx.AsyncBaseTransport | None = None, follow_redirects: bool = False, **kwargs: Any
) -> httpx.AsyncClient:
    """Return an ``httpx.AsyncClient`` on the engine: nothing from the environment, no redirects unless asked for."""
    kwargs.setdefault("trust_env", False)
    headers = httpx.Headers(kwargs.pop("headers", None))
    headers.setdefault("User-Agent", USER_AGENT)
    headers.setdefault("Accept-Encoding", "gzip, deflate")  # what can be unpacked within the limit
    used = transport or CurlTransport()
    return httpx.AsyncClient(transport=used, headers=headers, follow_redirects=follow_redirects, **kwargs)

"""One exchange on one easy handle: its options, and what takes the answer in."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import certifi
import pycurl

from heartbeat.http.lines import further_lines, header_lines
from heartbeat.http.message import HEADER_LIMIT, AddressGuard, Pairs, Request, Target, Trace

DEBIAN_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
DNS_SECONDS = 60  # not 0: what RESOLVE puts into the cache would be stale at once, and libcurl would look it up itself
TLS_VERSIONS = {"1.2": pycurl.SSLVERSION_TLSv1_2, "1.3": pycurl.SSLVERSION_TLSv1_3}
HTTP_VERSIONS = {
    "": pycurl.CURL_HTTP_VERSION_2TLS,
    "1.1": pycurl.CURL_HTTP_VERSION_1_1,
    "2": pycurl.CURL_HTTP_VERSION_2TLS,
    "3": pycurl.CURL_HTTP_VERSION_3ONLY,
}
# OpenSSL 3.5 and newer make a key for X25519MLKEM768 in every hello, which costs a sixth of the handshake. This order
# makes one for X25519; a server that insists on another asks for it with one more round trip (RFC 8446 section 4.1.4).
GROUPS = "X25519:P-256:P-384:P-521:X25519MLKEM768"
_OPENSSL = re.search(r"OpenSSL/(\d+)\.(\d+)", pycurl.version)
HAS_GROUPS = _OPENSSL is not None and (int(_OPENSSL[1]), int(_OPENSSL[2])) >= (3, 5)
# The same for every request. The environment's proxies, netrc and libcurl's own redirects stay out of it.
ALWAYS = (
    (pycurl.NOSIGNAL, 1),
    (pycurl.FRESH_CONNECT, 1),
    (pycurl.FORBID_REUSE, 1),
    (pycurl.SSL_SESSIONID_CACHE, 0),
    (pycurl.DNS_CACHE_TIMEOUT, DNS_SECONDS),
    (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
    (pycurl.NETRC, pycurl.NETRC_IGNORED),
    (pycurl.FOLLOWLOCATION, 0),
)


class Sink:
    """Takes in headers and body, each bounded; more than that ends the exchange."""

    __slots__ = ("complete", "header_bytes", "lines", "overflow", "parts", "room", "truncated")

    def __init__(self) -> None:
        self.begin(0)

    def begin(self, limit: int) -> None:
        """Start over, with room for a body of so many bytes."""
        self.lines: list[bytes] = []
        self.parts: list[bytes] = []
        self.room = limit
        self.header_bytes = 0
        self.complete = False
        self.overflow = False
        self.truncated = False

    def take_header(self, line: bytes) -> int | None:
        """Take one line. A new status line (after 1xx, or a proxy's answer) starts over; trailers are left out."""
        self.header_bytes += len(line)
        if self.header_bytes > HEADER_LIMIT:
            self.overflow = True
            return -1
        if line.startswith(b"HTTP/") and (self.complete or not self.lines):
            self.lines, self.complete = [line], False
        elif not self.complete:
            self.lines.append(line)
            self.complete = line in (b"\r\n", b"\n")
        return None

    def take_body(self, chunk: bytes) -> int | None:
        """Take a piece of the body, or as much of it as there is room for."""
        if len(chunk) <= self.room:
            self.parts.append(chunk)
            self.room -= len(chunk)
            return None
        self.parts.append(chunk[: self.room])
        self.room, self.truncated = 0, True
        return -1


@cache
def system_bundle() -> str:
    """Return the file of certificate authorities to trust: SSL_CERT_FILE, Debian's, or certifi's."""
    named = os.environ.get("SSL_CERT_FILE", "")
    return next((path for path in (named, DEBIAN_BUNDLE) if path and Path(path).is_file()), certifi.where())


Profile = tuple[object, ...]
"""What of a request stays on a handle from one exchange to the next; equal means that nothing need be set again."""
Message = tuple[object, ...]
"""What a handle is set to send; secrets are part of it, and another request never goes out with them."""


class Easy:
    """One of libcurl's easy handles, with what takes its answers in. It keeps its options between exchanges."""

    __slots__ = ("curl", "is_marked", "lines", "looks", "message", "milliseconds", "own", "profile", "resolves", "sink")

    def __init__(self) -> None:
        self.curl: Any = pycurl.Curl()
        self.sink = Sink()
        self.profile: Profile | None = None
        self.message: Message | None = None
        self.milliseconds = 0
        self.resolves = False
        self.looks = False
        self.lines: list[str | bytes] = []
        self.own: frozenset[str] = frozenset()
        self.is_marked = False

    def forget(self) -> None:
        """Drop all options, so that the handle is as good as new."""
        self.curl.reset()
        self.profile, self.message, self.milliseconds = None, None, 0
        self.resolves, self.looks, self.is_marked = False, False, False


@dataclass(slots=True)
class Exchange:
    """One request on its way: what is sent, where to, by which handle, and where the answer goes."""

    easy: Easy
    request: Request
    target: Target
    trace: Trace
    refused: list[str] = field(default_factory=list)
    """What the address guard said."""
    looks: bool = True
    """Whether libcurl is to write out the certificate."""
    extra: Pairs = ()
    """Headers of this exchange alone; the request's own win."""

    @property
    def handle(self) -> Any:
        """Libcurl's handle."""
        return self.easy.curl

    @property
    def sink(self) -> Sink:
        """Where the answer goes."""
        return self.easy.sink


def profile_of(request: Request, there: Target) -> Profile:
    """Return what a handle has to be set up for, besides the message: how a connection comes about."""
    return (
        request.http_version,
        request.proxy,
        request.decode,
        there.scheme,
        request.tls,
        request.address_guard,
        request.connect_only,
    )


def configure(exchange: Exchange, profile: Profile) -> None:
    """Set a fresh or reset handle up for all exchanges of a profile."""
    handle, request, sink = exchange.handle, exchange.request, exchange.sink
    set_option = handle.setopt
    for option, value in ALWAYS:
        set_option(option, value)
    if request.connect_only:
        set_option(pycurl.CONNECT_ONLY, 1)
    set_option(pycurl.PROXY, request.proxy)
    set_option(pycurl.HEADERFUNCTION, sink.take_header)
    set_option(pycurl.WRITEFUNCTION, sink.take_body)
    if request.decode:
        set_option(pycurl.ENCODING, "")
    else:
        set_option(pycurl.HTTP_CONTENT_DECODING, 0)
    _set_version(handle, request, exchange.target)
    if exchange.target.scheme == "https" or request.proxy:
        _set_tls(handle, request)
    if request.address_guard is not None:  # it speaks to this exchange alone: such a handle is never kept as it is
        set_option(pycurl.OPENSOCKETFUNCTION, _guarded(request.address_guard, exchange.refused))
    else:
        exchange.easy.profile = profile


def write(easy: Easy, request: Request) -> None:
    """Set what is to be sent, in place of all that the handle has sent before."""
    message = (request.method, request.headers, request.body, request.content_type, request.user_agent)
    if easy.message == message:
        return
    easy.message = None  # until all of it is set
    easy.curl.setopt(pycurl.HTTPGET, 1)  # forgets another method, and a body
    easy.curl.unsetopt(pycurl.CUSTOMREQUEST)
    easy.lines, easy.own = header_lines(request)
    _set_method(easy.curl, request)
    easy.curl.setopt(pycurl.HTTPHEADER, easy.lines)
    easy.message, easy.is_marked = message, False


def aim(exchange: Exchange, seconds: float, entry: list[str]) -> None:
    """Set what changes from one exchange of a profile to the next: the URL, the time left, the addresses."""
    easy, set_option = exchange.easy, exchange.handle.setopt
    easy.sink.begin(exchange.request.body_limit)
    set_option(pycurl.URL, exchange.request.url)
    milliseconds = max(1, int(seconds * 1000))
    if milliseconds != easy.milliseconds:
        set_option(pycurl.TIMEOUT_MS, milliseconds)
        set_option(pycurl.CONNECTTIMEOUT_MS, milliseconds)
        easy.milliseconds = milliseconds
    if exchange.looks != easy.looks:
        set_option(pycurl.OPT_CERTINFO, int(exchange.looks))
        easy.looks = exchange.looks
    if entry or easy.resolves:
        set_option(pycurl.RESOLVE, entry)
        easy.resolves = bool(entry)
    if exchange.extra or easy.is_marked:
        own = easy.own
        extra = [pair for pair in exchange.extra if pair[0].lower() not in own] if own else exchange.extra
        set_option(pycurl.HTTPHEADER, [*easy.lines, *further_lines(extra)])
        easy.is_marked = bool(extra)


def _set_method(handle: Any, request: Request) -> None:
    if request.body is not None:
        handle.setopt(pycurl.POSTFIELDS, request.body)
    elif request.method == "HEAD":
        handle.setopt(pycurl.NOBODY, 1)
    if request.method not in ("GET", "HEAD") or request.body is not None:
        handle.setopt(pycurl.CUSTOMREQUEST, request.method)


def _set_version(handle: Any, request: Request, target: Target) -> None:
    if request.http_version == "2" and target.scheme == "http":
        handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE)
    else:
        handle.setopt(pycurl.HTTP_VERSION, HTTP_VERSIONS[request.http_version])


def _set_tls(handle: Any, request: Request) -> None:
    tls = request.tls
    handle.setopt(pycurl.SSLVERSION, TLS_VERSIONS[tls.min_version])
    if HAS_GROUPS:
        handle.setopt(pycurl.SSL_EC_CURVES, GROUPS)
    handle.setopt(pycurl.CAINFO, tls.ca_file or system_bundle())
    if not tls.verify:
        handle.setopt(pycurl.SSL_VERIFYPEER, 0)
        handle.setopt(pycurl.SSL_VERIFYHOST, 0)
    if tls.cert_file:
        handle.setopt(pycurl.SSLCERT, tls.cert_file)
        handle.setopt(pycurl.SSLKEY, tls.key_file or tls.cert_file)


def _guarded(guard: AddressGuard, refused: list[str]) -> Any:
    """Return libcurl's socket opener that asks the guard first: it sees the very address that is connected to."""

    def open_socket(_purpose: int, address: Any) -> Any:
        family, kind, protocol, where = address
        if problem := guard(where[0], where[1]):
            refused.append(problem)
            return pycurl.SOCKET_BAD
        try:
            return _Opened(socket.socket(family, kind, protocol))
        except OSError:  # libcurl reports that there is no connection, and system_error why
            return pycurl.SOCKET_BAD

    return open_socket


class _Opened:
    """A socket for pycurl, which copies its descriptor and drops the object: this one closes without a warning."""

    def __init__(self, opened: socket.socket) -> None:
        self._opened = opened
        self.fileno = opened.fileno

    def __del__(self) -> None:
        self._opened.close()

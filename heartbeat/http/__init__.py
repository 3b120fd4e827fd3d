"""What checks and channels that speak HTTP share: requests over libcurl, expectations, evidence, an httpx client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heartbeat.http.ascii import ascii_url
from heartbeat.http.cookies import Cookies, cookies_of
from heartbeat.http.engine import Engine, close, engine, fetch
from heartbeat.http.evidence import note_evidence
from heartbeat.http.expect import Expect
from heartbeat.http.expectation import Expectation
from heartbeat.http.guard import guard_webhook_target
from heartbeat.http.message import (
    BODY_LIMIT,
    TLS,
    USER_AGENT,
    Certificate,
    Request,
    Response,
    Target,
    Trace,
    target,
)
from heartbeat.http.resolver import resolve
from heartbeat.http.text import decode

if TYPE_CHECKING:
    from heartbeat.http.transport import CurlTransport, client

__all__ = [
    "BODY_LIMIT",
    "TLS",
    "USER_AGENT",
    "Certificate",
    "Cookies",
    "CurlTransport",
    "Engine",
    "Expect",
    "Expectation",
    "Request",
    "Response",
    "Target",
    "Trace",
    "ascii_url",
    "client",
    "close",
    "cookies_of",
    "decode",
    "engine",
    "fetch",
    "guard_webhook_target",
    "note_evidence",
    "resolve",
    "target",
]

LAZY = frozenset({"CurlTransport", "client"})


def __getattr__(name: str) -> object:
    """Import httpx when it is first asked for: most checks need none of it, and it is large."""
    if name not in LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from heartbeat.http import transport  # noqa: PLC0415 - see above

    return getattr(transport, name)

"""What checks and channels that speak HTTP share: requests over libcurl, expectations, evidence, an httpx client."""

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
from heartbeat.http.transport import CurlTransport, client

__all__ = [
    "BODY_LIMIT",
    "TLS",
    "USER_AGENT",
    "Certificate",
    "CurlTransport",
    "Engine",
    "Expect",
    "Expectation",
    "Request",
    "Response",
    "Target",
    "Trace",
    "client",
    "close",
    "engine",
    "fetch",
    "guard_webhook_target",
    "note_evidence",
    "resolve",
    "target",
]

"""What libcurl measured in an exchange: phases, address, certificate, answer, and why the system said no."""

from __future__ import annotations

import socket
from functools import lru_cache
from ssl import cert_time_to_seconds
from typing import Any

import pycurl

from heartbeat.http.handle import Exchange
from heartbeat.http.message import Certificate, Headers, Response, Target, Trace
from heartbeat.http.text import clean

SPOKEN = {1: "1.0", 2: "1.1", 3: "2", 30: "3"}
MARKS = (("connect", pycurl.CONNECT_TIME_T), ("processing", pycurl.STARTTRANSFER_TIME_T))
TLS_MARKS = (MARKS[0], ("tls", pycurl.APPCONNECT_TIME_T), MARKS[1])


def read_back(exchange: Exchange, cut_after: float | None) -> None:
    """Put what libcurl knows about an exchange into its trace; ``cut_after`` are the seconds until a cancellation."""
    handle, trace, sink, request = exchange.handle, exchange.trace, exchange.sink, exchange.request
    total = handle.getinfo(pycurl.TOTAL_TIME_T) / 1e6 if cut_after is None else cut_after
    _read_phases(handle, trace, exchange.target, total)
    trace.address = handle.getinfo(pycurl.PRIMARY_IP) or ""
    trace.http_version = SPOKEN.get(handle.getinfo(pycurl.INFO_HTTP_VERSION), "")
    if exchange.looks and exchange.target.scheme == "https":
        trace.certificate = _read_certificate(handle, verified=request.tls.verify)
    if sink.complete:
        status, body = handle.getinfo(pycurl.RESPONSE_CODE), b"".join(sink.parts)
        headers = Headers(sink.lines[1:])
        trace.response = Response(request.url, status, headers, body, sink.truncated, trace.http_version)


def system_error(handle: Any) -> int:
    """Return the system's error number of a failed exchange; libcurl does not tell it where no socket could be made."""
    told = handle.getinfo(pycurl.OS_ERRNO)
    if told:
        return int(told)
    try:
        socket.socket().close()
    except OSError as error:
        return error.errno or 0
    return 0


def _read_phases(handle: Any, trace: Trace, target: Target, total: float) -> None:
    """Add the phases: each reached mark ends one, the first that was not reached has the time until the end.

    libcurl counts in microseconds from the start of the exchange (CURLINFO_CONNECT_TIME_T and its sisters).
    """
    before = 0.0
    for phase, option in TLS_MARKS if target.scheme == "https" else MARKS:
        reached = handle.getinfo(option) / 1e6
        if not reached:
            trace.add(phase, total - before)
            return
        trace.add(phase, reached - before)
        before = reached
    trace.add("transfer", total - before)


def _read_certificate(handle: Any, *, verified: bool) -> Certificate | None:
    chain = handle.getinfo(pycurl.INFO_CERTINFO)
    if not chain:
        return None
    return _describe(chain[0], handle.getinfo(pycurl.SSL_VERIFYRESULT) if verified else None)


@lru_cache(maxsize=1024)
def _describe(pairs: tuple[tuple[str, str], ...], code: int | None) -> Certificate:
    """Return what a certificate says, in clean words; most come again and again. ``code`` is None if not verified."""
    leaf = dict(pairs)
    return Certificate(
        subject=clean(leaf.get("Subject", "")),
        issuer=clean(leaf.get("Issuer", "")),
        names=clean(leaf.get("X509v3 Subject Alternative Name", ""), 500),
        not_after=_epoch(leaf.get("Expire date", "")),
        problem="it was not verified" if code is None else _problem(code),
    )


def _epoch(text: str) -> float | None:
    try:
        return float(cert_time_to_seconds(text))
    except ValueError:
        return None


def _problem(code: int) -> str:
    return "" if code == 0 else PROBLEMS.get(code, f"it does not verify (OpenSSL's code {code})")


# OpenSSL's X509_V_ERR_* (x509_vfy.h), in words.
PROBLEMS = {
    1: "it is not made for this name",  # what libcurl leaves there when the chain holds and the name does not match
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is self-signed",
    19: "a certificate of its chain is self-signed and not trusted",
    20: "its issuer is not among the trusted authorities",
    21: "its chain is incomplete or its issuer is not trusted",
    23: "it has been revoked",
    24: "its issuer is no certificate authority",
    26: "it is not made for a server",
    66: "its key is too small",
    67: "its authority's key is too small",
    68: "it is signed with too weak a hash",
}

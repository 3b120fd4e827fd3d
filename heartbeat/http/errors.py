"""libcurl's error codes as one sentence that says who is bad and what happened.

The rule: what a target does, or does not do, is a ``CheckFailed``. Only what is our own (files, options, descriptors,
memory) is a ``CheckBroken``.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from datetime import UTC, datetime

import pycurl

from heartbeat.check import CheckBroken, CheckFailed
from heartbeat.faults import has_route
from heartbeat.http.message import Certificate, Request, Target, Trace
from heartbeat.http.text import clean

CONFIG_CODES = frozenset({
    pycurl.E_URL_MALFORMAT, pycurl.E_NOT_BUILT_IN, pycurl.E_BAD_FUNCTION_ARGUMENT, pycurl.E_UNKNOWN_OPTION,
    pycurl.E_SSL_CERTPROBLEM, pycurl.E_SSL_CIPHER, pycurl.E_SSL_CACERT_BADFILE, pycurl.E_SSL_CRL_BADFILE,
    pycurl.E_SSL_ENGINE_NOTFOUND, pycurl.E_SSL_ENGINE_SETFAILED, pycurl.E_SSL_ENGINE_INITFAILED,
})  # fmt: skip
CERTIFICATE_CODES = frozenset({
    pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_SSL_ISSUER_ERROR, pycurl.E_SSL_INVALIDCERTSTATUS,
})  # fmt: skip
NO_NAMES_IN_PYCURL = (96, 97)  # CURLE_QUIC_CONNECT_ERROR, CURLE_PROXY
TOO_LARGE = 100  # CURLE_TOO_LARGE: headers beyond libcurl's own bound
RESET_CODES = frozenset({pycurl.E_SEND_ERROR, pycurl.E_RECV_ERROR, pycurl.E_PARTIAL_FILE, pycurl.E_GOT_NOTHING})
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
CONNECT_WORDS = {
    errno.ECONNREFUSED: "connection refused by {}",
    errno.EHOSTUNREACH: "no route to {}",
    errno.ENETUNREACH: "the network of {} cannot be reached",
    errno.EADDRNOTAVAIL: "no own address to reach {} from",
    errno.ECONNRESET: "connection reset by {}",
    errno.EACCES: "a connection to {} is not permitted",
    errno.ETIMEDOUT: "no answer to the connection attempt from {}",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How an exchange ended: libcurl's code and message, the system's error number, and how long it was given."""

    code: int
    message: str
    errno: int
    seconds: float
    overflow: bool
    refused: str
    """What the address guard said, if anything."""


def failure(end: Ending, request: Request, target: Target, trace: Trace) -> CheckFailed:
    """Turn an ending that is no success into the error to raise."""
    name = _who(target, request, trace)
    if end.refused and trace.redirects:
        return CheckFailed(f"a redirect leads to {name}, and is not followed there: {end.refused}", reason="protocol")
    return _own_fault(end, request, name) or _fault_of_target(end, target, trace, name)


def _own_fault(end: Ending, request: Request, name: str) -> CheckBroken | None:
    code = end.code
    if code == pycurl.E_OUT_OF_MEMORY or end.errno in EXHAUSTED:
        return CheckBroken(f"no connection to {name}: {_why(end)}", reason="resource")
    if code == pycurl.E_COULDNT_CONNECT and end.errno in (errno.ENETUNREACH, errno.ENETDOWN) and not has_route():
        return CheckBroken(f"no connection to {name}: this machine has no network", reason="network")
    if code in CONFIG_CODES:
        return CheckBroken(_config_sentence(end, request), reason="config")
    if end.refused:
        return CheckBroken(f"connecting is not allowed: {end.refused}", reason="config")
    return None


def _fault_of_target(end: Ending, target: Target, trace: Trace, name: str) -> CheckFailed:
    code = end.code
    if code == pycurl.E_OPERATION_TIMEDOUT:
        return CheckFailed(_timeout_sentence(end, name, trace), reason="timeout")
    if code in (pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_COULDNT_RESOLVE_PROXY):
        return CheckFailed(f"the name {target.host} has no address", reason="resolve")
    if code in (pycurl.E_COULDNT_CONNECT, *NO_NAMES_IN_PYCURL):
        return CheckFailed(_connect_sentence(end, name), reason="connect")
    if code in CERTIFICATE_CODES:
        return CheckFailed(*_certificate_sentence(end, target, trace.certificate), reason="certificate")
    return _broken_talk(end, name, trace)


def _broken_talk(end: Ending, name: str, trace: Trace) -> CheckFailed:
    """Return the failure for a connection that was made and then went wrong."""
    message = clean(end.message, 160)
    if end.code in RESET_CODES and not trace.phases.keys() & {"tls", "processing"}:  # QUIC tells it this way
        return CheckFailed(f"no connection to {name} ({message})", reason="connect")
    if end.code == pycurl.E_SSL_CONNECT_ERROR or (end.code in RESET_CODES and "alert" in end.message):
        return CheckFailed(f"no TLS with {name}: {message or 'the handshake failed'}", reason="tls")
    if end.code == pycurl.E_GOT_NOTHING:
        return CheckFailed(f"{name} closed the connection without an answer", reason="reset")
    if end.code in RESET_CODES and "chunk" not in end.message:
        where = "in the middle of the answer" if trace.response else "before its answer"
        how = "reset" if end.errno == errno.ECONNRESET else "closed"
        return CheckFailed(f"{name} {how} the connection {where} ({message})", reason="reset")
    if end.overflow or end.code == TOO_LARGE:
        return CheckFailed(f"the headers from {name} are longer than 64 KiB", reason="protocol")
    return CheckFailed(
        f"{name} does not speak HTTP as it should: {message or f'libcurl says {end.code}'}", reason="protocol"
    )


def _who(target: Target, request: Request, trace: Trace) -> str:
    """Name the target, and the address where that says more."""
    name = clean(str(target), 120)
    if request.proxy:
        return f"{name} (through the proxy)"
    address = trace.address or (trace.addresses[0] if len(trace.addresses) == 1 else "")
    return name if not address or address == target.host else f"{name} ({address})"


def _why(end: Ending) -> str:
    if end.errno in (errno.EMFILE, errno.ENFILE):
        return "this process has no file descriptors left (raise LimitNOFILE, ulimit -n)"
    return "no memory left"


def _config_sentence(end: Ending, request: Request) -> str:
    message = clean(end.message, 160)
    if end.code == pycurl.E_SSL_CACERT_BADFILE:
        return f"the certificate authorities in {request.tls.ca_file or 'the system store'} cannot be used: {message}"
    if end.code == pycurl.E_SSL_CERTPROBLEM:
        return f"the client certificate {request.tls.cert_file} cannot be used: {message}"
    return f"libcurl refuses the request: {message or f'code {end.code}'}"


def _timeout_sentence(end: Ending, name: str, trace: Trace) -> str:
    within = f"within {end.seconds:.3g} s"
    if trace.response:
        return f"{name} had not sent the whole body {within} ({len(trace.response.body)} bytes came)"
    if "transfer" in trace.phases:
        return f"{name} had not sent all of its headers {within}"
    if "processing" in trace.phases:
        return f"{name} took the request and did not answer {within}"
    if "tls" in trace.phases:
        return f"the TLS handshake with {name} was not done {within}"
    return f"no connection to {name} {within}"


def _connect_sentence(end: Ending, name: str) -> str:
    words = CONNECT_WORDS.get(end.errno)
    return words.format(name) if words else f"no connection to {name} ({clean(end.message, 160)})"


def _certificate_sentence(end: Ending, target: Target, certificate: Certificate | None) -> tuple[str]:
    host = clean(target.host, 120)
    if certificate is None:
        return (f"the certificate of {host} does not verify ({clean(end.message, 160)})",)
    problem = certificate.problem
    if "has expired" in problem and certificate.not_after is not None:
        problem = f"it expired on {datetime.fromtimestamp(certificate.not_after, UTC):%Y-%m-%d}"
    elif "match" in end.message:
        problem = f"it is made for {clean(certificate.names, 120) or certificate.subject}, not for this name"
    return (f"the certificate of {host} does not verify: {problem or clean(end.message, 160)}",)

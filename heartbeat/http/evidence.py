"""Evidence of an exchange: what was asked, what came back, and how to ask again by hand. Built only when it is read."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import urlsplit

from heartbeat.core.text import block
from heartbeat.http.message import Request, Response, Trace
from heartbeat.http.text import clean, decode, is_sensitive, safe_url

BODY_SHOWN = 1024
HEADERS_SHOWN = 40


class Notebook(Protocol):
    """What takes evidence: a probe."""

    def note(self, name: str, text: object) -> None:
        """Keep a piece of evidence: a text, or a callable that makes it when it is needed."""


def note_evidence(probe: Notebook, trace: Trace) -> None:
    """Note what a trace holds. Costs next to nothing: each text is made only when someone reads it."""
    request, response, certificate = trace.request, trace.response, trace.certificate
    if request is None:
        return
    probe.note("request", lambda: f"{request.method} {safe_url(request.url)}")
    probe.note("curl", lambda: curl_command(request, trace))
    if trace.address or trace.addresses:
        probe.note("address", trace.address or ", ".join(trace.addresses))
    if trace.http_version:
        probe.note("http_version", trace.http_version)
    if certificate is not None:
        probe.note("certificate", _certificate(trace))
    if response is not None:
        probe.note("status", str(response.status))
        probe.note("headers", lambda: headers_text(response))
        probe.note("body", lambda: body_text(response))


def headers_text(response: Response) -> str:
    """Return the headers of an answer, without the values of cookies and other credentials."""
    lines = [f"{clean(name, 80)}: {_header_value(name, value)}" for name, value in response.headers[:HEADERS_SHOWN]]
    return "\n".join(lines)


def _header_value(name: str, value: str) -> str:
    if name.lower() in ("location", "content-location", "refresh", "link"):
        return safe_url(value)
    return "***" if is_sensitive(name) else clean(value)


def body_text(response: Response) -> str:
    """Return the head of a body as text, its line breaks kept."""
    text = decode(response.body[: 4 * BODY_SHOWN], response.header("content-type"))
    goes_on = response.truncated or len(response.body) > 4 * BODY_SHOWN
    return block(f"{text}…" if goes_on else text, BODY_SHOWN) or "(empty)"


def _certificate(trace: Trace) -> Callable[[], str]:
    def text() -> str:
        found = trace.certificate
        if found is None:
            return ""
        until = "" if found.not_after is None else f"{datetime.fromtimestamp(found.not_after, UTC):%Y-%m-%d %H:%M} UTC"
        lines = (f"subject: {found.subject}", f"issuer: {found.issuer}", f"names: {found.names}", f"expires: {until}")
        return "\n".join((*lines, f"problem: {found.problem}") if found.problem else lines)

    return text


def curl_command(request: Request, trace: Trace) -> str:
    """Return a command line that repeats the request; credentials are shell variables to be set first."""
    parts = ["curl -sS -i --max-time 30", *_method(request)]
    for name, value in request.headers:
        parts.append("-H " + _header(name, value))
    if trace.has_cookies:
        parts.append("-H " + _header("Cookie", ""))
    if request.body is not None and request.content_type:
        parts.append("-H " + shlex.quote(f"Content-Type: {request.content_type}"))
    if request.body is not None:
        parts.append("--data-raw " + _body(request.body))
    parts += _tls(request)
    if request.proxy:
        parts.append("--proxy " + shlex.quote(safe_url(request.proxy)))
    elif trace.address and urlsplit(request.url).hostname != trace.address:
        parts.append(_pinned(request.url, trace.address))
    return " ".join([*parts, _url(request.url)])


def _method(request: Request) -> list[str]:
    if request.method == "HEAD":
        return ["--head"]
    implied = "POST" if request.body is not None else "GET"
    return [] if request.method == implied else ["-X " + shlex.quote(request.method)]


def _header(name: str, value: str) -> str:
    if not is_sensitive(name):
        return shlex.quote(clean(f"{name}: {value}", 1000))
    scheme, space, rest = value.partition(" ")
    kept = f"{scheme} " if name.lower().endswith("authorization") and space and rest else ""
    return shlex.quote(f"{name}: {kept}") + f'"${_variable(name)}"'


def _body(body: bytes) -> str:
    """Quote a body, or name a variable for it where it holds a credential, is long or is no text."""
    text = body.decode("utf-8", errors="replace")
    if len(text) > BODY_SHOWN or is_sensitive(text) or text != block(text, BODY_SHOWN):
        return '"$BODY"'
    return shlex.quote(text)


def _tls(request: Request) -> list[str]:
    tls = request.tls
    named = (("--cacert", tls.ca_file), ("--cert", tls.cert_file), ("--key", tls.key_file))
    return (["--insecure"] if not tls.verify else []) + [f"{name} {shlex.quote(path)}" for name, path in named if path]


def _pinned(url: str, address: str) -> str:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    shown = f"[{address}]" if ":" in address else address
    return "--resolve " + shlex.quote(f"{parts.hostname}:{port}:{shown}")


def _url(url: str) -> str:
    """Quote a URL; the values of parameters that look like credentials become variables, userinfo is left out."""
    parts = urlsplit(url)
    start = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if not parts.query:
        return shlex.quote(start)
    pieces = [_pair(pair) for pair in parts.query.split("&")]
    return shlex.quote(start + "?") + shlex.quote("&").join(pieces)


def _pair(pair: str) -> str:
    name, _, value = pair.partition("=")
    return f'{shlex.quote(name + "=")}"${_variable(name)}"' if value and is_sensitive(name) else shlex.quote(pair)


def _variable(name: str) -> str:
    word = "".join(c if c.isascii() and c.isalnum() else "_" for c in name.upper())
    return word if word[:1].isalpha() else f"V_{word}"

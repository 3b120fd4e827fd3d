"""Redirects, followed by us: what goes along, and what must not (RFC 9110 section 15.4, and the Fetch standard)."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from heartbeat.check import CheckFailed
from heartbeat.http.guard import guard_webhook_target
from heartbeat.http.message import Request, Response, target
from heartbeat.http.text import safe_url

STATUSES = frozenset({301, 302, 303, 307, 308})
PRINTABLE = "!#$%&'()*+,/:;=?@[]~-._"


def next_request(request: Request, response: Response) -> Request | None:
    """Return the request that a redirect asks for, or None where the answer is none.

    At a change of origin (scheme, host, port) the caller's headers and client certificate stay behind. A body goes to
    no other origin, but from http to https on the same host. A foreign origin is not looked for at link-local
    addresses, where clouds keep credentials: the body of an answer is evidence, and would be mailed.
    """
    location = response.header("location") if response.status in STATUSES else None
    if location is None:
        return None
    url = _resolve(request.url, location)
    there = replace(request, url=url)
    if response.status == 303 or (response.status in (301, 302) and request.method == "POST"):
        there = _as_get(there)
    return there if same_origin(request.url, url) else _without_own(request, there)


def _resolve(base: str, location: str) -> str:
    """Make the location absolute, without userinfo and fragment, as ASCII."""
    try:
        encoded = quote(location.encode("latin-1"), safe=PRINTABLE)
        parts = urlsplit(urljoin(base, encoded))
        url = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, ""))
        there = target(url)
    except ValueError as error:
        raise CheckFailed(
            f"{target(base)} redirects to where no http leads: {error}", reason="protocol", observed=safe_url(location)
        ) from None
    if there.scheme not in ("http", "https"):
        raise CheckFailed(
            f"{target(base)} redirects to another protocol", reason="protocol", observed=safe_url(location)
        )
    return url


def _as_get(request: Request) -> Request:
    """Return the request as browsers repeat it: a GET without body (a HEAD stays one)."""
    headers = tuple((name, value) for name, value in request.headers if not name.lower().startswith("content-"))
    method = request.method if request.method == "HEAD" else "GET"
    return replace(request, method=method, body=None, content_type="", headers=headers)


def same_origin(one: str, other: str) -> bool:
    """Say whether two URLs have the same scheme, host and port (RFC 6454)."""
    a, b = target(one), target(other)
    return (a.scheme, a.host, a.port) == (b.scheme, b.host, b.port)


def _is_upgrade(one: str, other: str) -> bool:
    """Say whether a redirect only goes from http to https on the same host."""
    a, b = target(one), target(other)
    return (a.scheme, b.scheme, a.host) == ("http", "https", b.host)


def _without_own(before: Request, there: Request) -> Request:
    """Leave behind what is meant for the first origin only. A body may hold a password: it goes along to none other."""
    if target(before.url).scheme == "https" and target(there.url).scheme == "http" and there.body is not None:
        raise CheckFailed(
            f"{target(before.url)} redirects from https to http, where the body of the request would be sent in clear",
            reason="protocol",
            observed=safe_url(there.url),
        )
    if there.body is not None and not _is_upgrade(before.url, there.url):
        raise CheckFailed(
            f"{target(before.url)} redirects to another origin, where the body of the request would be sent; "
            "make that address the url of the check if it is the right one",
            reason="protocol",
            observed=safe_url(there.url),
        )
    content_type = next((value for name, value in there.headers if name.lower() == "content-type"), there.content_type)
    tls = replace(there.tls, cert_file="", key_file="")
    return replace(
        there,
        headers=(),
        content_type=content_type if there.body is not None else "",
        tls=tls,
        address_guard=there.address_guard or guard_webhook_target,  # or a target could have us fetch cloud credentials
    )

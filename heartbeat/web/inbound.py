"""The way in for reports: what a check is reported to on is looked up in a dictionary, before anything else is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Receive, Scope, Send

from heartbeat.check import Reply, Report

METHODS = frozenset({"GET", "HEAD", "POST", "PUT"})
OURS = frozenset({"", "-", "api", "metrics"})
"""What the addresses of our own begin with; no route of a check does."""
BODY_BYTES = 100_000
"""Bytes of a body that are kept; the rest is read, and dropped."""
DROPPED_BYTES = 10_000_000
"""Bytes that are read at most. Who sends more is answered all the same, and cut off."""
QUERY_FIELDS = 20
UNKNOWN = Reply(404, "not found", runs=False)
REFUSED = Reply(405, "method not allowed", runs=False, headers={"Allow": ", ".join(sorted(METHODS))})

Find = Callable[[str], tuple[str, str] | None]
"""Returns whose route a path begins with, and what follows it."""
Accept = Callable[[str, Report], Awaitable[Reply]]


class Inbound:
    """Middleware that takes reports, and passes on what is asked for under addresses of our own.

    An answer never tells which checks there are, nor repeats what was asked for: the path is a secret.
    """

    def __init__(self, app: ASGIApp, find: Find, accept: Accept) -> None:
        self._app = app
        self._find = find
        self._accept = accept

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a report, or pass the request on."""
        path = scope.get("path", "/")
        if scope["type"] != "http" or path[1:].partition("/")[0] in OURS:
            await self._app(scope, receive, send)
            return
        scope["path"], scope["raw_path"] = "/…", b"/"  # who logs it must not log the secret
        await _send(send, await self._answer(path, scope, receive))

    async def _answer(self, path: str, scope: Scope, receive: Receive) -> Reply:
        found = self._find(path)
        if found is None:
            return UNKNOWN
        if scope["method"] not in METHODS:
            return REFUSED
        name, rest = found
        query = _read_query(scope["query_string"])
        origin = (scope.get("client") or ("",))[0]
        report = Report(scope["method"], rest, query, await _read_body(receive), origin)
        return await self._accept(name, report)


async def _read_body(receive: Receive) -> bytes:
    """Return the beginning of a body; the rest is taken off who sends it, as they would not hear us before."""
    kept, size, more = bytearray(), 0, True
    while more and size < DROPPED_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        piece = message.get("body", b"")
        kept += piece[: BODY_BYTES - len(kept)]
        size += len(piece)
        more = message.get("more_body", False)
    return bytes(kept)


def _read_query(query: bytes) -> dict[str, str]:
    if not query:
        return {}
    try:
        return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=QUERY_FIELDS))
    except ValueError:
        return {}


async def _send(send: Send, reply: Reply) -> None:
    """Answer, and end the connection: a job reports once, and one that is kept open takes the place of another."""
    body = reply.text.encode()
    headers: list[tuple[bytes, bytes]] = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()),
    ]
    start: dict[str, Any] = {"type": "http.response.start", "status": reply.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})

"""What every answer and every request goes through: safe headers, a host that may be asked for, a time limit."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger()

ANSWER_WITHIN = 60.0
"""Seconds within which a reader must have taken the whole answer."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_RAW = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
_OURS = frozenset(name for name, _ in _RAW)
LATE = PlainTextResponse("The answer was not ready in time.\n", 503)


class Guard:
    """Middleware for an app that listens on ``host``.

    On a loopback address only requests that name a loopback host are answered: a page in a browser on this machine
    could otherwise read us by a name of its own that it lets point here (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, host: str = "", answer_within: float = ANSWER_WITHIN) -> None:
        self._app = app
        self._local = is_loopback(host)
        self._answer_within = answer_within

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        app = self._app
        if self._local and scope["type"] == "http" and not is_loopback(host_of(Headers(scope=scope).get("host", ""))):
            app = PlainTextResponse("This address is for this machine only: ask for it as localhost.\n", 421)

        begun = False

        async def send_safely(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                message["headers"] = [*(one for one in message["headers"] if one[0] not in _OURS), *_RAW]
                begun = True
            await send(message)

        try:
            async with asyncio.timeout(self._answer_within) as limit:
                await app(scope, receive, send_safely)
        except TimeoutError:
            if not limit.expired():  # then it is the app's own, and a mistake
                raise
            log.debug("an answer was not taken in time", path=scope["path"], seconds=self._answer_within)
            if not begun:
                await LATE(scope, receive, send_safely)


@lru_cache(maxsize=64)  # each request brings one, and it is nearly always the same
def is_loopback(host: str) -> bool:
    """Say whether the name or address can only be this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def host_of(header: str) -> str:
    """Return the host in a Host header, without port and brackets; empty where it makes no sense."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""

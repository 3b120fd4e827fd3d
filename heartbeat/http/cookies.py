"""The cookies of one run: kept from step to step and from redirect to redirect, and nowhere longer."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from heartbeat.http.message import Headers, Response

if TYPE_CHECKING:
    from heartbeat.http.jar import Jar

SESSION = "http_cookies"
"""Where the cookies stand in what the steps of a run share."""


class Cookies:
    """What targets want to be told again (RFC 6265). A run whose targets set no cookie costs next to nothing."""

    __slots__ = ("_jar",)

    def __init__(self) -> None:
        self._jar: Jar | None = None

    @property
    def jar(self) -> Jar:
        """The jar that holds them, as the standard library and httpx know it."""
        if self._jar is None:
            from heartbeat.http.jar import Jar  # noqa: PLC0415 - most targets set none, and it is large

            self._jar = Jar()
        return self._jar

    def header(self, url: str) -> str:
        """Return the value of the header ``Cookie`` for a request to a URL; empty where none belongs there."""
        return "" if self._jar is None else self._jar.header(url)

    def take(self, response: Response) -> tuple[str, ...]:
        """Keep what an answer sets, as far as it may; return the values of its headers ``Set-Cookie``."""
        headers = response.headers
        if isinstance(headers, Headers) and not headers.has_cookies:  # without taking all of them apart
            return ()
        found = tuple(value for name, value in headers if name.lower() == "set-cookie")
        if found:
            self.jar.take(response.url, found)
        return found

    def values(self) -> tuple[str, ...]:
        """Return the values of all cookies."""
        return () if self._jar is None else tuple(cookie.value or "" for cookie in self._jar)


def cookies_of(session: MutableMapping[str, Any] | None) -> Cookies | None:
    """Return the cookies that the steps of a run share; None for a check that is no step."""
    if session is None:
        return None
    found: Cookies = session.setdefault(SESSION, Cookies())
    return found

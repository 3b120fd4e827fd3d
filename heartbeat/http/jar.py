"""The standard library's cookie jar with a policy of RFC 6265; its own follows the RFCs that came before.

There is no list of public suffixes: the targets of a run are those of its operator, and the jar ends with the run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from http.cookiejar import Cookie, CookieJar, CookiePolicy
from time import time
from typing import Any
from urllib.parse import SplitResult, urlsplit

from heartbeat.http.message import target

CHARACTERS = 4096
"""Of a name and its value (section 6.1)."""
AT_MOST = 200
"""Cookies that one run keeps."""
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SECONDS = re.compile(r"-?[0-9]{1,12}")


class Jar(CookieJar):
    """The cookies of one run."""

    def __init__(self) -> None:
        super().__init__(_Policy())

    def header(self, url: str) -> str:
        """Return the value of the header ``Cookie`` for a request to a URL; empty where none belongs there."""
        asked: Any = _Asked(url)
        self.add_cookie_header(asked)
        return str(asked.cookie)

    def take(self, url: str, lines: Sequence[str]) -> None:
        """Keep what the answer to a request for a URL sets."""
        answered: Any = _Answered(lines)
        asked: Any = _Asked(url)
        self.extract_cookies(answered, asked)

    def strict(self, url: str, written: str) -> str:
        """Return a header ``Cookie`` that was written with cookies of this jar by other rules as it is by ours."""
        known = {f"{cookie.name}={cookie.value}" for cookie in self}
        others = (pair for pair in written.split("; ") if pair not in known)
        return "; ".join(filter(None, (self.header(url), *others)))

    def make_cookies(self, response: Any, request: Any) -> Sequence[Cookie]:
        """Return the cookies that an answer sets; the library's own reading lets any host end those of any other."""
        asked = urlsplit(request.get_full_url())
        found = [read(line, asked) for line in response.info().get_all("Set-Cookie", [])]
        return [cookie for cookie in found if cookie][: max(0, AT_MOST - len(self))]


class _Policy(CookiePolicy):
    """Where a cookie is sent (section 5.4)."""

    netscape, rfc2965, hide_cookie2 = True, False, True

    def set_ok(self, cookie: Cookie, request: Any) -> bool:  # noqa: ARG002 - it is asked like this; ``read`` has seen to it
        return True

    def return_ok(self, cookie: Cookie, request: Any) -> bool:
        asked = urlsplit(request.get_full_url())
        if cookie.is_expired() or (cookie.secure and asked.scheme != "https"):
            return False
        host = asked.hostname or ""
        return belongs(host, cookie.domain) if cookie.domain_specified else cookie.domain in (host, "")

    def path_return_ok(self, path: str, request: Any) -> bool:
        """Say whether a path is that of a request or above it (section 5.1.4)."""
        asked = urlsplit(request.get_full_url()).path or "/"
        return asked == path or asked.startswith(path if path.endswith("/") else f"{path}/")


def read(line: str, asked: SplitResult) -> Cookie | None:
    """Read a header ``Set-Cookie`` of the answer to a request (section 5.2 and 5.3); None where it is to be ignored."""
    pair, *attributes = line.split(";")
    name, equals, value = (text.strip() for text in pair.partition("="))
    if not equals or not name or len(pair) > CHARACTERS or _CONTROLS.search(pair):
        return None
    split = (attribute.partition("=") for attribute in attributes)
    given = {key.strip().lower(): text.strip() for key, _, text in split}  # the last of each counts
    host, domain = asked.hostname or "", given.get("domain", "").strip(".").lower()
    if domain and not belongs(host, domain):
        return None
    path = given.get("path", "")
    is_own = path.startswith("/")
    expires = _end(given)
    return Cookie(
        version=0,
        name=name,
        value=value,
        port=None,
        port_specified=False,
        domain=domain or host,
        domain_specified=bool(domain),
        domain_initial_dot=False,
        path=path if is_own else asked.path.rpartition("/")[0] or "/",
        path_specified=is_own,
        secure="secure" in given,
        expires=expires,
        discard=expires is None,
        comment=None,
        comment_url=None,
        rest={},
    )


def _end(given: Mapping[str, str]) -> int | None:
    """Return when a cookie ends, in seconds since the epoch; None where that is with the run."""
    if _SECONDS.fullmatch(given.get("max-age", "")):
        return int(time()) + int(given["max-age"])
    try:
        return int(parsedate_to_datetime(given["expires"]).timestamp())
    except (KeyError, ValueError, OverflowError):
        return None


def belongs(host: str, domain: str) -> bool:
    """Say whether a host is a domain or within it (section 5.1.3). Nothing is within an address, or a bare ``com``."""
    return host == domain or (host.endswith(f".{domain}") and "." in domain and not target(f"http://{host}").literal)


class _Asked:
    """A request, as far as the library asks of one."""

    def __init__(self, url: str) -> None:
        self.url, self.cookie = url, ""

    def get_full_url(self) -> str:
        return self.url

    def has_header(self, _name: str) -> bool:
        return False

    def add_unredirected_header(self, _name: str, value: str) -> None:
        self.cookie = value


class _Answered:
    """An answer, as far as the library asks of one."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = list(lines)

    def info(self) -> _Answered:
        return self

    def get_all(self, _name: str, _default: object = None) -> list[str]:
        return self._lines

"""What goes out and what comes back: requests, responses, and the trace of what happened in between."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import urlsplit

from heartbeat import __version__

BODY_LIMIT = 1024 * 1024
HEADER_LIMIT = 64 * 1024
DEFAULT_PORTS = {"http": 80, "https": 443, "socks5h": 1080}
USER_AGENT = f"heartbeat/{__version__}"

_ORIGIN = re.compile(r"[^/?#]*//[^/?#]*")

Family = Literal["any", "ip4", "ip6"]
Pairs = tuple[tuple[str, str], ...]
"""Headers: names and values."""
AddressGuard = Callable[[str, int], str | None]
"""Takes the address and port about to be connected to; returns why that is refused, or None."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads. ``host`` is lower case and bare of brackets; ``literal`` says that it is an address."""

    scheme: str
    host: str
    port: int
    literal: bool

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def target(url: str) -> Target:
    """Take scheme, host and port out of a URL. Raises ``ValueError`` with a sentence where there are none."""
    found = _ORIGIN.match(url)
    return _target(found[0] if found else url)


@lru_cache(maxsize=4096)  # by what comes before the path: ten thousand checks may well have one host
def _target(url: str) -> Target:
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS:
        raise ValueError(f"the scheme of a URL is http or https, not {parts.scheme[:20]!r}")
    if not parts.hostname or not parts.hostname.isascii():
        raise ValueError("the URL names no host (or one that is not in ASCII form)")
    return Target(parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme], _is_address(parts.hostname))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """How a server proves who it is, and how we do. Paths are PEM files; ``ca_file`` empty means the system's store."""

    verify: bool = True
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    min_version: str = "1.2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, as the caller wants it.

    ``headers`` are the caller's own: they never leave the origin. ``http_version`` ``1.1``, ``2`` or ``3`` demands
    that version; empty takes the better of 2 (over TLS) and 1.1. ``decode`` undoes content encodings, within
    ``body_limit`` bytes. ``proxy`` is a URL (http, https, socks5h); the environment's proxies are never used.
    ``address_guard`` is asked for every address really connected to. ``connect_only`` ends it when the connection
    stands, with TLS where that is spoken: nothing is sent, and the answer is empty, with status 0.
    """

    url: str
    method: str = "GET"
    headers: Pairs = ()
    body: bytes | None = None
    content_type: str = ""
    user_agent: str = USER_AGENT
    follow_redirects: bool = False
    max_redirects: int = 10
    body_limit: int = BODY_LIMIT
    family: Family = "any"
    tls: TLS = TLS()
    http_version: str = ""
    proxy: str = ""
    decode: bool = True
    address_guard: AddressGuard | None = None
    connect_only: bool = False


@dataclass(frozen=True, slots=True)
class Certificate:
    """The server's own certificate as it came, verified or not; ``not_after`` in seconds since the epoch."""

    subject: str
    issuer: str
    names: str
    not_after: float | None
    problem: str = ""
    """Why it does not verify; empty where it does."""


class Headers(Sequence[tuple[str, str]]):
    """The headers of an answer as name and value, as they came. They are taken apart when somebody asks."""

    __slots__ = ("_lines", "_pairs")

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines
        self._pairs: Pairs | None = None

    @property
    def pairs(self) -> Pairs:
        """All of them."""
        if self._pairs is None:
            split = (line.decode("latin-1").partition(":") for line in self._lines if b":" in line)
            self._pairs = tuple((name.strip(), value.strip()) for name, _, value in split)
        return self._pairs

    @property
    def has_cookies(self) -> bool:
        """Whether the answer sets a cookie, without taking all of it apart."""
        return b"\nset-cookie:" in b"\n".join((b"", *self._lines)).lower()

    def __getitem__(self, index: Any) -> Any:
        return self.pairs[index]

    def __len__(self) -> int:
        return len(self.pairs)


@dataclass(frozen=True, slots=True)
class Response:
    """The final answer. ``truncated`` says that the body was longer than the limit and reading stopped there."""

    url: str
    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes
    truncated: bool
    http_version: str

    def header(self, name: str) -> str | None:
        """Return a header's value, several of one name joined by ``, ``; None where there is none."""
        wanted = name.lower()
        values = [value for key, value in self.headers if key.lower() == wanted]
        return ", ".join(values) if values else None


@dataclass(slots=True)
class Trace:
    """What happened so far, filled in as it happens, so that it survives a failure and a cancellation.

    ``phases`` are seconds, summed over redirects; a phase that was not reached is absent, one that was cut short has
    the time until then. ``set_cookies`` are of all hops, where cookies are kept. The rest is of the latest hop.
    """

    phases: dict[str, float] = field(default_factory=dict)
    redirects: int = 0
    request: Request | None = None
    response: Response | None = None
    addresses: tuple[str, ...] = ()
    address: str = ""
    http_version: str = ""
    certificate: Certificate | None = None
    has_cookies: bool = False
    set_cookies: tuple[str, ...] = ()

    def add(self, phase: str, seconds: float) -> None:
        """Add to a phase."""
        self.phases[phase] = self.phases.get(phase, 0.0) + max(0.0, seconds)

    def begin(self, request: Request) -> None:
        """Start the next hop: what was of the one before is forgotten, but for the phases."""
        self.request, self.response, self.certificate = request, None, None
        self.addresses, self.address, self.http_version = (), "", ""

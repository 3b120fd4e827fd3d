"""Foreign text made fit to be shown: bounded, without control characters, without credentials."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from heartbeat.core.text import plain

SENSITIVE = re.compile(
    r"auth|cookie|token|secret|passw|pwd|credential|session|signature|(^|[-_.])(api[-_]?)?key|(^|[-_.])(sig|jwt|code)$",
    re.IGNORECASE,
)
# What a charset parameter may choose; Python knows stranger codecs, and some of them do not decode text.
CHARSETS = frozenset({
    "utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin1", "iso-8859-15", "windows-1250", "windows-1251",
    "windows-1252", "koi8-r", "utf-16", "utf-16le", "utf-16be", "shift_jis", "euc-jp", "euc-kr", "gb18030", "gbk",
    "big5",
})  # fmt: skip
CHARSET = re.compile(r"charset\s*=\s*\"?([\w-]+)", re.IGNORECASE)


def clean(text: object, limit: int = 200) -> str:
    """Return anything as one printable line."""
    return plain(text, limit)


def decode(body: bytes, content_type: str | None) -> str:
    """Decode a body by its charset, UTF-8 where there is none or a strange one; what does not decode is replaced."""
    match = CHARSET.search(content_type or "")
    charset = match[1].lower() if match and match[1].lower() in CHARSETS else "utf-8"
    return body.decode(charset, errors="replace")


def is_sensitive(name: str) -> bool:
    """Say whether what is called so is likely to be a credential."""
    return SENSITIVE.search(name) is not None


def safe_url(url: str, limit: int = 500) -> str:
    """Return a URL without userinfo and without the values of parameters that look like credentials."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(a URL that cannot be read)"
    host = parts.netloc.rpartition("@")[2]
    query = "&".join(_safe_pair(pair) for pair in parts.query.split("&"))
    return clean(urlunsplit((parts.scheme, host, parts.path, query, "")), limit)


def _safe_pair(pair: str) -> str:
    name, _, value = pair.partition("=")
    return f"{name}=***" if value and is_sensitive(name) else pair

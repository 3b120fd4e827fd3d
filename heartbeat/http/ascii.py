"""URLs in ASCII, as they travel."""

from __future__ import annotations

from heartbeat.lean import hidden


def ascii_url(url: str) -> str:
    """Return a URL with its host as IDNA has it, the rest percent-encoded. Raises ``ValueError`` where it is none."""
    with hidden("httpx._main"):
        import httpx  # noqa: PLC0415 - it is large, and most URLs are in ASCII already
    try:
        normal = httpx.URL(url)
        return str(normal.copy_with(host=normal.raw_host.decode("ascii")))
    except httpx.InvalidURL as error:
        raise ValueError(f"this is no URL: {error}") from None

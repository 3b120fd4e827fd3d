"""Header lines as libcurl takes them: those of a request, and those of one exchange."""

from __future__ import annotations

from collections.abc import Sequence

from heartbeat.check import CheckBroken
from heartbeat.http.message import Request
from heartbeat.http.text import clean

NO_TYPE = b"Content-Type:"  # or libcurl would call every body a form


def header_lines(request: Request) -> tuple[list[str | bytes], frozenset[str]]:
    """Return the header lines, also those that keep libcurl from adding its own; and what the caller's are called."""
    own = frozenset(name.lower() for name, _ in request.headers)
    lines = [_line(name, value) for name, value in request.headers]
    if "user-agent" not in own and request.user_agent:
        lines.append(_line("User-Agent", request.user_agent))
    if request.body is not None:
        if "content-type" not in own:
            lines.append(_line("Content-Type", request.content_type) if request.content_type else NO_TYPE)
        if "expect" not in own:
            lines.append(b"Expect:")
    return lines, own


def further_lines(extra: Sequence[tuple[str, str]]) -> Sequence[str | bytes]:
    """Return the header lines of one exchange; nearly all are ASCII and in order, and are looked at together."""
    lines = [f"{name}: {value}" for name, value in extra]
    whole = "".join(lines)
    if whole.isascii() and "\n" not in whole and "\r" not in whole and "\0" not in whole:
        return lines
    return [_line(name, value) for name, value in extra]


def _line(name: str, value: str) -> str | bytes:
    line = f"{name}: {value}" if value else f"{name};"  # libcurl's way to write an empty one
    if "\n" in line or "\r" in line or "\0" in line:
        raise CheckBroken(f"the header {clean(name, 40)} holds a line break or a null", reason="config")
    if line.isascii():  # pycurl takes it as it is
        return line
    try:
        return line.encode("latin-1")
    except UnicodeEncodeError:
        return line.encode()

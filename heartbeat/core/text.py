"""Foreign text made harmless: what comes from a target must not forge lines, move cursors or grow without bound."""

from __future__ import annotations

import re

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""C0 and C1 controls but tab and newline, line and paragraph separators, and the marks that reverse text."""


def block(text: str, limit: int) -> str:
    """Return text of several lines, cut at ``limit`` characters, without control characters."""
    cut = text if len(text) <= limit else text[:limit] + "…"
    return CONTROL.sub("\ufffd", cut.replace("\r\n", "\n"))


def line(text: str, limit: int) -> str:
    """Return text as one line, cut at ``limit`` characters, without control characters."""
    return " ".join(block(text[: 4 * limit], 4 * limit).split())[:limit]

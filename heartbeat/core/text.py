"""Foreign text made harmless: what comes from a target must not forge lines, move cursors or grow without bound."""

from __future__ import annotations

import re

# C0 and C1 controls, line and paragraph separators, what turns the direction of writing, byte order mark, surrogates.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def plain(text: object, limit: int) -> str:
    """Return one printable line of at most ``limit`` characters."""
    whole = cut(str(text), 8 * limit)
    return cut(" ".join(_UNPRINTABLE.sub(" ", whole).split()), limit)


def block(text: object, limit: int) -> str:
    """Return printable lines of at most ``limit`` characters together."""
    lines = (_UNPRINTABLE.sub(" ", line).rstrip() for line in cut(str(text), 2 * limit).split("\n"))
    return cut("\n".join(lines).strip("\n"), limit)


def cut(text: str, limit: int) -> str:
    """Return the text, shortened to ``limit`` characters with a sign that something is missing.

    The sign tells redaction that half a secret may stand before it.
    """
    return text if len(text) <= limit else text[: max(0, limit - 1)] + "…"


def words_of(error: BaseException) -> str:
    """Return what an exception says; one of a plugin may raise even then."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the class of the exception is the plugin's code, and may raise anything
        return "(its message cannot be read: its __str__ raises)"

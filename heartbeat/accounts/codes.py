"""One-time codes (TOTP, RFC 6238) for test accounts. No code is handed out twice: who checks them takes each once."""

from __future__ import annotations

import hmac
from base64 import b32decode
from collections import deque

from pydantic import SecretStr

REMEMBERED = 240
"""Codes that are known to be used, the last: two hours of them, in case the clock is set back."""
GRAIN = 0.002
"""Seconds that are waited at least: a timer may come a fraction of a millisecond early."""
INTERVAL = 30
"""Seconds for which a code holds."""


def code_of(secret: str, counter: int) -> str:
    """Return the code of six digits of a secret in base32 (RFC 4226, 5.3): with SHA-1, as authenticator apps do it.

    The secret may be short: many that are handed out have 80 bits, where the RFC asks for 128.
    """
    digest = hmac.digest(b32decode(secret), counter.to_bytes(8), "sha1")
    start = digest[-1] & 15
    number = int.from_bytes(digest[start : start + 4]) & 0x7FFF_FFFF
    return f"{number % 1_000_000:06}"


class Codes:
    """Which codes of an account were handed out."""

    __slots__ = ("_used",)

    def __init__(self) -> None:
        self._used: deque[tuple[str, int]] = deque(maxlen=REMEMBERED)

    def draw(self, secret: SecretStr, now: float) -> str | None:
        """Return the code of this moment, once; None where somebody had it."""
        drawn = secret.get_secret_value(), int(now // INTERVAL)
        if drawn in self._used:
            return None
        self._used.append(drawn)
        return code_of(*drawn)

    def wait(self, secret: SecretStr, now: float) -> float:
        """Return the seconds until the next code, 0 where nobody had that of this moment."""
        counter = int(now // INTERVAL)
        if (secret.get_secret_value(), counter) not in self._used:
            return 0.0
        return max(GRAIN, (counter + 1) * INTERVAL - now)

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
    """Which codes of an account were handed out.

    Attributes:
        last: when the last one was drawn, in intervals since the epoch; also in an earlier life of the daemon.
    """

    __slots__ = ("_used", "last")

    def __init__(self) -> None:
        self._used: deque[tuple[str, int]] = deque(maxlen=REMEMBERED)
        self.last: int | None = None

    def draw(self, secret: SecretStr, now: float) -> str | None:
        """Return the code of this moment, once; None where somebody had it."""
        drawn = secret.get_secret_value(), int(now // INTERVAL)
        if self._is_used(*drawn):
            return None
        self._used.append(drawn)
        self.last = drawn[1]
        return code_of(*drawn)

    def wait(self, secret: SecretStr, now: float) -> float:
        """Return the seconds until the next code, 0 where nobody had that of this moment."""
        counter = int(now // INTERVAL)
        return max(GRAIN, (counter + 1) * INTERVAL - now) if self._is_used(secret.get_secret_value(), counter) else 0.0

    def is_recent(self, now: float) -> bool:
        """Say whether the code of this moment, or a later one, was drawn: a restart must know."""
        return self.last is not None and self.last >= int(now // INTERVAL)

    def _is_used(self, secret: str, counter: int) -> bool:
        return (secret, counter) in self._used or (not self._used and counter == self.last)

"""One-time codes (TOTP, RFC 6238) for test accounts. No code is handed out twice: who checks them takes each once."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pydantic import SecretStr

if TYPE_CHECKING:
    from pyotp import TOTP

REMEMBERED = 240
"""Codes that are known to be used, the last: two hours of them, in case the clock is set back."""
GRAIN = 0.002
"""Seconds that are waited at least: a timer may come a fraction of a millisecond early."""


def read_secret(secret: SecretStr) -> TOTP:
    """Return what makes codes of a secret in base32."""
    from pyotp import TOTP  # noqa: PLC0415 - most configurations have no such account

    return TOTP(secret.get_secret_value())


class Codes:
    """Which codes of an account were handed out."""

    __slots__ = ("_used",)

    def __init__(self) -> None:
        self._used: deque[tuple[str, int]] = deque(maxlen=REMEMBERED)

    def draw(self, generator: TOTP, now: float) -> str | None:
        """Return the code of this moment, once; None where somebody had it."""
        drawn = generator.secret, int(now // generator.interval)
        if drawn in self._used:
            return None
        self._used.append(drawn)
        # Not generator.at(): it goes by way of local time, of which an hour comes twice in autumn.
        return generator.generate_otp(drawn[1])

    def wait(self, generator: TOTP, now: float) -> float:
        """Return the seconds until the next code, 0 where nobody had that of this moment."""
        counter = int(now // generator.interval)
        if (generator.secret, counter) not in self._used:
            return 0.0
        return max(GRAIN, (counter + 1) * generator.interval - now)

"""What test accounts are, for those who use them: nothing here reads a configuration."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr

FIELDS = ("user", "password", "token", "totp")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one logs in with; None where there is no such thing. ``totp`` is the secret of RFC 6238, in base32."""

    user: str | None = None
    password: SecretStr | None = None
    token: SecretStr | None = None
    totp: SecretStr | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of those that there are."""
        return tuple(name for name in FIELDS if getattr(self, name) is not None)


@dataclass(frozen=True, slots=True)
class AccountConfig:
    """One account. ``following`` is complete, too: what ``next:`` leaves out is as it was."""

    name: str
    current: Credentials
    following: Credentials | None = None

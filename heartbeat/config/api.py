"""Who may write over TCP: tokens, by the name of who has it."""

from __future__ import annotations

import re
from functools import partial

from pydantic import SecretStr

from heartbeat.config.reading import Spot, Wrong, attempt, check_name, fields, text

SHORTEST, LONGEST = 16, 500
_TOKEN = re.compile(r"[!-~]+")
_OTHER_WORDS = {"token": "tokens", "keys": "tokens", "bearer": "tokens"}


def api(spot: Spot) -> dict[str, SecretStr]:
    """Read the tokens; one that is empty, as from a variable that is not set, stands for none."""
    found: dict[str, dict[str, SecretStr]] = fields(spot, {"tokens": _tokens}, _OTHER_WORDS)
    return found.get("tokens", {})


def _tokens(spot: Spot) -> dict[str, SecretStr]:
    found = {name: attempt(child, partial(_token, name)) for name, child in spot.entries().items()}
    known = [token.get_secret_value() for token in found.values() if token]
    if len(set(known)) < len(known):
        raise Wrong("two names have the same token; give each its own, so that one of them can be taken back")
    return {name: token for name, token in found.items() if token}


def _token(name: str, spot: Spot) -> SecretStr | None:
    check_name(name)
    value = text(spot)
    if not value:
        return None
    if not SHORTEST <= len(value) <= LONGEST or not _TOKEN.fullmatch(value):
        raise Wrong(
            f"must be {SHORTEST} to {LONGEST} characters of ASCII without spaces; make one: openssl rand -hex 24"
        )
    return SecretStr(value)

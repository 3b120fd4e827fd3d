"""Test accounts in the configuration: by name what one logs in with, and what it will be soon."""

from __future__ import annotations

import re
from base64 import b32decode
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import SecretStr

from heartbeat.config.credentials import FIELDS, AccountConfig, Credentials
from heartbeat.config.expansion import Surroundings
from heartbeat.config.problem import quoted
from heartbeat.config.reading import Reader, Spot, Wrong, attempt, fields, text
from heartbeat.redaction import MINIMUM
from heartbeat.references import Late

NEXT = "next"
NAME_PATTERN = "[a-zA-Z0-9][a-zA-Z0-9_-]{0,99}"
VALUE_CHARACTERS = 16_384
"""Of one value: signed tokens are long."""
_OTHER_WORDS = {
    **dict.fromkeys(("username", "login", "name", "email"), "user"),
    **dict.fromkeys(("pass", "passwd", "secret"), "password"),
    **dict.fromkeys(("otp", "mfa", "totp_secret"), "totp"),
    **dict.fromkeys(("following", "new"), NEXT),
}


_ANYTHING = Credentials("", *[SecretStr("")] * 3)


def read_accounts(spot: Spot, around: Surroundings) -> dict[str, AccountConfig]:
    """Read all accounts; their values are secrets from now on, wherever they come from.

    One with mistakes is among them, with all there can be, so that to refer to it is not a second mistake.
    """
    found = {}
    for name, child in attempt(spot, Spot.entries, {}).items():
        before = len(spot.problems)
        attempt(child, partial(_check_name, name))
        account = attempt(child, partial(_account, name, around))
        found[name] = account if len(spot.problems) == before else AccountConfig(name, _ANYTHING)
    return found


def _check_name(name: str, spot: Spot) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        spot.wrong(f"{quoted(name)} is no name: use letters, digits, _ and - (at most 100, and no dots)", spot.key)


def _account(name: str, around: Surroundings, spot: Spot) -> AccountConfig:
    readers: dict[str, Reader] = {field: partial(_value, name, field, around) for field in FIELDS}
    before = len(spot.problems)
    given = fields(spot, {**readers, NEXT: partial(_next, readers)}, _OTHER_WORDS)
    later = given.pop(NEXT, None) or {}
    if not given and len(spot.problems) == before:
        raise Wrong(f"needs at least one of {', '.join(FIELDS)}")
    current = Credentials(**given)
    for field in later.keys() - given.keys() if len(spot.problems) == before else ():
        at = spot.entries()[NEXT].entries()[field]
        at.wrong(f"the account has no {field} now: {NEXT} says what takes the place of what there is", at.key)
    return AccountConfig(name, current, replace(current, **later) if later else None)


def _next(readers: Mapping[str, Reader], spot: Spot) -> dict[str, Any]:
    """Read what an account will have soon; an empty value, as from a variable that is not set, stands for none."""
    if spot.node.value is None:
        return {}
    entries = spot.entries()
    empty = {name for name, child in entries.items() if name in readers and child.node.value == ""}
    kept = {name: child for name, child in spot.node.value.items() if name not in empty}
    return fields(replace(spot, node=spot.node._replace(value=kept)), readers, _OTHER_WORDS)


def _value(account: str, field: str, around: Surroundings, spot: Spot) -> str | SecretStr:
    value = text(spot, VALUE_CHARACTERS)
    if isinstance(value, Late):
        raise Wrong(f"{value} is known only while a check runs")
    if not value:
        raise Wrong("must not be empty")
    if field == "user":
        return value
    _keep(f"{account}.{field}", value, around)
    if field == "totp":
        value = _shared_secret(value)
        _keep(f"{account}.{field}", value, around)
    return SecretStr(value)


def _keep(name: str, value: str, around: Surroundings) -> None:
    """Have a value kept out of messages, also where it does not come from a secret."""
    if any(value == known for _, known in around.secrets):
        return
    if not around.redactor.add(name, value):
        raise Wrong(f"has fewer than {MINIMUM} characters: too few to keep it out of messages")
    around.secrets[name, value] = None


def _shared_secret(value: str) -> str:
    """Return the secret of one-time codes as programs want it: upper case, no blanks, filled up."""
    bare = re.sub(r"[\s-]", "", value).upper().rstrip("=")
    padded = bare + "=" * (-len(bare) % 8)
    try:
        b32decode(padded)
    except ValueError:
        raise Wrong(
            "must be the secret of one-time codes in base32 (letters and the digits 2 to 7), as it stands behind "
            "secret= in an otpauth:// address"
        ) from None
    return padded

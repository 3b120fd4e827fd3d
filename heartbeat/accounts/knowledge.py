"""What is known of accounts over restarts: which credentials are refused, and which one-time code was used last.

Whose credentials they are is told by a salted scrypt, never by a value. Of most accounts nothing is kept.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from hashlib import scrypt
from hmac import compare_digest
from typing import Any

import structlog
from pydantic import SecretStr

from heartbeat.accounts.desk import Desk
from heartbeat.config.credentials import FIELDS, Credentials
from heartbeat.core.accounts import UNTRIED, Rotation, Slot, Standing, carry

log = structlog.get_logger()

COST = 2**14
"""Of one digest: 16 MiB and some 50 ms, as is usual for passwords; in a thread."""
SALT_BYTES = 16


async def write(desk: Desk) -> dict[str, Any]:
    """Return what a restart is to know of an account, for JSON; most often nothing."""
    code = {"code": desk.codes.last} if desk.codes.is_recent(desk.around.now()) else {}
    return code | (await _write_rotation(desk) if desk.rotation.is_troubled else {})


async def _write_rotation(desk: Desk) -> dict[str, Any]:
    slots, rotation = desk.slots(), desk.rotation
    for one in slots.values():
        if one not in desk.marks:
            desk.marks[one] = await asyncio.to_thread(_mark, one)
    desk.marks = {one: desk.marks[one] for one in slots.values()}
    found = {slot.value: {"mark": desk.marks[one], **_written(rotation[slot])} for slot, one in slots.items()}
    return {"begin": rotation.begin.value, **found}


async def recall(desk: Desk, written: Any) -> None:
    """Take over what was written of an account, for those of its credentials that are still the same."""
    try:
        if "code" in written:
            desk.codes.last = int(written["code"])
        if "begin" not in written:
            return
        kept = {slot: written[slot.value] for slot in Slot if slot.value in written}
        standings = {slot: Standing(_time(one, "refused"), _time(one, "works")) for slot, one in kept.items()}
        marks = {slot: str(one["mark"]) for slot, one in kept.items()}
        begin = Slot(written["begin"])
        slots = desk.slots()
        sources = {slot: await asyncio.to_thread(_find, one, slot, marks) for slot, one in slots.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        log.error("what was known of an account cannot be read", account=desk.name, error=str(error))
        return
    if desk.rotation == UNTRIED and desk.slots() == slots:  # nothing is known yet that is newer
        old = Rotation(standings.get(Slot.CURRENT, Standing()), standings.get(Slot.NEXT, Standing()), begin)
        desk.rotation = carry(old, sources)
        desk.marks = {one: marks[source] for slot, one in slots.items() if (source := sources[slot])}


def _written(standing: Standing) -> dict[str, float]:
    times = {"refused": standing.refused, "works": standing.works}
    return {word: at for word, at in times.items() if at is not None}


def _time(written: Mapping[str, Any], word: str) -> float | None:
    return float(written[word]) if word in written else None


def _find(credentials: Credentials, slot: Slot, marks: Mapping[Slot, str]) -> Slot | None:
    """Return in which slot these credentials stood; most likely in the same."""
    likely = sorted(marks, key=lambda one: one is not slot)
    return next((one for one in likely if _is_mark_of(marks[one], credentials)), None)


def _mark(credentials: Credentials, salt: bytes | None = None) -> str:
    salt = salt or os.urandom(SALT_BYTES)
    values = (getattr(credentials, name) for name in FIELDS)
    plain = (value.get_secret_value() if isinstance(value, SecretStr) else value for value in values)
    text = repr(tuple(plain)).encode()
    return f"{salt.hex()}:{scrypt(text, salt=salt, n=COST, r=8, p=1, dklen=32).hex()}"


def _is_mark_of(mark: str, credentials: Credentials) -> bool:
    salt = bytes.fromhex(mark.partition(":")[0])
    return bool(salt) and compare_digest(_mark(credentials, salt), mark)

"""Addresses that say whether a check runs: a word, or a value in JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from heartbeat.check import CheckFailed
from heartbeat.core.switches import AtUrl, Found, read_word

BODY_BYTES = 256 * 1024
TIMEOUT = 5.0
"""The deadline of one question where nobody says otherwise, in seconds."""
SLICE = 50
"""Values that are looked up in one answer before others may run."""
AT_ONCE = 20
"""Addresses that are asked at the same time."""


@dataclass(frozen=True, slots=True)
class Page:
    """One address with its headers: it is fetched once, however many values are looked up in the answer."""

    url: str
    headers: tuple[tuple[str, str], ...]


def page_of(asks: AtUrl) -> Page:
    """Return where a value is fetched."""
    return Page(asks.url, asks.headers)


async def fetch_page(page: Page, asked: Iterable[AtUrl], timeout: float = TIMEOUT) -> dict[AtUrl, Found]:  # noqa: ASYNC109 - one deadline, told to libcurl too
    """Ask at an address, and return what its answer says where each value is looked up."""
    from heartbeat import http  # noqa: PLC0415 - most daemons ask nobody

    request = http.Request(
        url=page.url, headers=page.headers, body_limit=BODY_BYTES, address_guard=http.guard_webhook_target
    )
    try:
        response = await http.fetch(request, timeout=timeout)
    except CheckFailed as error:
        return dict.fromkeys(asked, error.sentence.replace(page.url, http.target(page.url).host))
    if not 200 <= response.status < 300:
        return dict.fromkeys(asked, f"it answers {response.status}")
    if response.truncated:
        return dict.fromkeys(asked, f"its answer is longer than {BODY_BYTES // 1024} KiB")
    return await _read_all(response.body, asked)


async def _read_all(body: bytes, asked: Iterable[AtUrl]) -> dict[AtUrl, Found]:
    text, document, found = body.decode("utf-8-sig", errors="replace"), _parse(body), {}
    for number, one in enumerate(asked, 1):
        found[one] = _look_up(document, one.json) if one.json else read_word(text)
        if number % SLICE == 0:
            await asyncio.sleep(0)
    return found


def _parse(body: bytes) -> Any:
    with suppress(ValueError, RecursionError):
        return (json.loads(body),)
    return ()


def _look_up(document: tuple[Any, ...], path: str) -> Found:
    from heartbeat.http.expect import path as compiled  # noqa: PLC0415 - as above

    if not document:
        return "its answer is no JSON"
    try:
        values = [node.value for node in islice(compiled(path).finditer(document[0]), 2)]
    except (ValueError, RecursionError):
        values = []
    if len(values) != 1:
        return f"there is {'more than one value' if values else 'nothing'} at {path}"
    said = read_word(values[0])
    return f"at {path} {said}" if isinstance(said, str) else said

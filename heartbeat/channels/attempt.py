"""One attempt to deliver: it ends in time and it always ends in an answer, whatever the channel does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from heartbeat.channels import Channel, DeliveryFailed, Rendered
from heartbeat.core.batch import Batch
from heartbeat.core.text import plain

SLACK = 5.0
"""Seconds that a channel may take beyond its own timeout before it is given up."""
FAREWELL = 1.0
"""Seconds that a cancelled attempt may take to close its connection."""
NOTE_CHARACTERS = 500

Transport = Callable[[Channel, Batch, Rendered], Awaitable[str]]
"""The last hop: hands a message to a channel, and returns the receiver's answer. Raises ``DeliveryFailed``."""

_abandoned: set[asyncio.Future[str]] = set()
"""Attempts that would not end; kept, or the loop might forget them half-way and say so in the log."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of it. ``note`` is the receiver's answer or what went wrong, in one line."""

    acknowledged: bool
    note: str
    permanent: bool = False
    retry_after: float | None = None
    ambiguous: bool = False
    """The receiver may have the message."""


async def send(channel: Channel, batch: Batch, message: Rendered) -> str:
    """Let the channel send: the transport of the daemon."""
    return await channel.send(batch, message)


async def attempt(
    channel: Channel, batch: Batch, message: Rendered, slack: float = SLACK, transport: Transport = send
) -> Attempt:
    """Hand a message to a channel. Only being cancelled ends it otherwise."""
    limit = channel.timeout + slack
    sending = asyncio.ensure_future(transport(channel, batch, message))
    try:
        await asyncio.wait({sending}, timeout=limit)
    finally:
        if not sending.done():
            await _give_up(sending)
    if not sending.done() or sending.cancelled():
        return Attempt(acknowledged=False, note=f"the attempt did not end within {limit:.3g} s", ambiguous=True)
    return _outcome(sending.result)


def _outcome(result: Callable[[], str]) -> Attempt:
    try:
        return Attempt(acknowledged=True, note=plain(result(), NOTE_CHARACTERS))
    except DeliveryFailed as failed:
        note = plain(failed.sentence, NOTE_CHARACTERS)
        return Attempt(
            acknowledged=False, note=note, permanent=failed.permanent,
            retry_after=failed.retry_after, ambiguous=failed.ambiguous,
        )  # fmt: skip
    except Exception as error:  # noqa: BLE001 - a fault in a channel must not lose the alert; its text may hold a secret
        return Attempt(acknowledged=False, note=f"the channel failed: {type(error).__name__}", ambiguous=True)


async def _give_up(sending: asyncio.Future[str]) -> None:
    sending.cancel()
    await asyncio.wait({sending}, timeout=FAREWELL)
    if not sending.done():
        _abandoned.add(sending)
        sending.add_done_callback(_forget)


def _forget(sending: asyncio.Future[Any]) -> None:
    _abandoned.discard(sending)
    if not sending.cancelled():
        sending.exception()

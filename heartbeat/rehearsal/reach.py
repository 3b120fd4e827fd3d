"""How far the receivers can be reached without telling anybody."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from heartbeat.channels import Channel, DeliveryFailed
from heartbeat.channels.attempt import SLACK
from heartbeat.channels.hidden import words_of
from heartbeat.config import Config
from heartbeat.config.model import FALLBACK
from heartbeat.core.text import plain
from heartbeat.redaction import Redactor

CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Reached:
    """One channel of a receiver: the steps that were made towards it, and what was wrong, or nothing."""

    receiver: str
    channel: str
    kind: str
    steps: tuple[str, ...] = ()
    problem: str = ""


def receivers_of(config: Config, names: Iterable[str]) -> tuple[str, ...]:
    """Return the receivers that checks may tell, and the one that is told what these could not be."""
    named = [receiver for name in names for receiver in config.checks[name].notify.everyone]
    return tuple(one for one in dict.fromkeys((*named, *([FALLBACK] if named else ()))) if one in config.receivers)


async def reach_receivers(config: Config, names: Iterable[str]) -> tuple[Reached, ...]:
    """Try all channels of receivers, at the same time."""
    channels = [
        (receiver, identity, channel)
        for receiver in names
        for identity, channel in config.receivers[receiver].channels.items()
    ]
    return tuple(await asyncio.gather(*(_reach(config, *one) for one in channels)))


async def _reach(config: Config, receiver: str, identity: str, channel: Channel) -> Reached:
    redact = redactor_of(config, channel)
    try:
        async with asyncio.timeout(channel.timeout + SLACK):
            steps = await channel.reach()
    except DeliveryFailed as failed:
        return Reached(receiver, identity, channel.kind, problem=plain(redact(failed.sentence), CHARACTERS))
    except Exception as error:  # noqa: BLE001 - as in attempt: a fault in a channel ends nothing; its text may hold a secret
        return Reached(receiver, identity, channel.kind, problem=f"the channel failed: {type(error).__name__}")
    return Reached(receiver, identity, channel.kind, tuple(plain(redact(step), CHARACTERS) for step in steps))


def redactor_of(config: Config, channel: Channel, hidden: Iterable[str] = ()) -> Redactor:
    """Return what takes out the secrets of the configuration, and those in a channel's options."""
    redactor = Redactor()
    redactor.adopt(config.redactor)
    for word in (*words_of(channel), *hidden):
        redactor.add("secret", word)
    return redactor

"""Receivers in the configuration: named lists of channels, each ``kind: {options}``."""

from __future__ import annotations

from collections.abc import Iterator

from heartbeat.channels import Channel
from heartbeat.channels.registry import KINDS, load_kind
from heartbeat.config.document import to_python
from heartbeat.config.options import validate
from heartbeat.config.plan import Way
from heartbeat.config.problem import Place, nearest, quoted
from heartbeat.config.reading import Spot, Wrong, attempt, check_name
from heartbeat.config.reading import name as name_of

_OTHER_WORDS = {"mail": "email", "smtp": "email", "http": "webhook", "hook": "webhook"}


def read_receivers(spot: Spot) -> dict[str, tuple[Way, ...]]:
    """Read all receivers; one with mistakes is among them, so that naming it is not a second mistake."""
    taken: dict[str, Place] = {}
    return {name: tuple(_receiver(name, child, taken)) for name, child in attempt(spot, Spot.entries, {}).items()}


def _receiver(name: str, spot: Spot, taken: dict[str, Place]) -> Iterator[Way]:
    attempt(spot, lambda _: check_name(name))
    items = attempt(spot, Spot.items, None)
    if items == []:
        spot.wrong("needs at least one channel, such as - email: {...}")
    for item in items or ():
        way = attempt(item, lambda one: _way(name, one))
        if way is None:
            continue
        if way.key in taken:
            item.wrong(f"the channel {quoted(way.key)} is already there, at {taken[way.key]}; give each its own name:")
        taken.setdefault(way.key, item.node.place)
        yield way


def _way(receiver: str, spot: Spot) -> Way | None:
    entries = spot.entries()
    if len(entries) != 1:
        raise Wrong(f"needs exactly one key, the kind of channel ({', '.join(KINDS)})")
    kind, options = next(iter(entries.items()))
    if kind not in KINDS:
        spot.wrong(f"unknown kind of channel {quoted(kind)}{nearest(kind, KINDS, _OTHER_WORDS)}", options.key)
        return None
    channel = validate(load_kind(kind), options, f'the channel "{kind}"')
    if channel is None:
        return None
    if channel.name:
        attempt(options.entries()["name"], name_of)
    return Way(_key(receiver, kind, channel), kind, to_python(options.node) or {})


def _key(receiver: str, kind: str, channel: Channel) -> str:
    return channel.name or f"{receiver}/{kind}"

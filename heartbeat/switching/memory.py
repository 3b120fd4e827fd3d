"""What switches said last, as a restart finds it: written down wherever it is not what is usual."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import blake2b

import structlog

from heartbeat.config.model import CheckConfig
from heartbeat.core.switches import UNASKED, Knowledge, Source, SwitchedOff, find_off, needs_keeping, source_of

log = structlog.get_logger()

MEMORY = "heartbeat.switches"
"""Under which name the store keeps it."""


def key_of(source: Source) -> str:
    """Return what stands for a source in the store: an address may hold a secret."""
    return blake2b(repr(source).encode(), digest_size=8).hexdigest()


def kept(known: Iterable[tuple[Source, Knowledge]], users: Mapping[Source, list[CheckConfig]]) -> str:
    """Return what a restart must know, as JSON."""
    told = {
        key_of(source): (one.on, one.doubtful_since)
        for source, one in known
        if any(needs_keeping(one, check.enabled.default) for check in users.get(source, ()))
    }
    return json.dumps(told, separators=(",", ":"))


def read_kept(text: str) -> dict[str, Knowledge]:
    """Return what was kept, by what stands for each source; nothing where that cannot be read."""
    try:
        return {key: Knowledge(bool(on), since) for key, (on, since) in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        log.error("not taken over", error="what switches said last cannot be read")
        return {}


def find_recalled(memories: Mapping[str, str], checks: Iterable[CheckConfig]) -> dict[str, SwitchedOff]:
    """Return which checks are off by what a daemon wrote down; it does so wherever it is not what is usual."""
    recalled, found = read_kept(memories.get(MEMORY, "{}")), {}
    for check in checks:
        source = source_of(check.enabled, check.name)
        known = recalled.get(key_of(source), UNASKED) if source else UNASKED
        if off := find_off(check.enabled, known):
            found[check.name] = off
    return found

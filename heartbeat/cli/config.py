"""The command about a configuration: ``validate``."""

from __future__ import annotations

import sys

from heartbeat.cli.common import ConfigOption, load_or_complain
from heartbeat.cli.exits import EX_CONFIG
from heartbeat.config import warnings


def validate(config: ConfigOption) -> int:
    """Check a configuration and say all that is wrong with it."""
    loaded = load_or_complain(config)
    if loaded is None:
        return EX_CONFIG
    for sentence in warnings(loaded):
        print(f"warning: {sentence}", file=sys.stderr)  # noqa: T201 - a command's output
    counts = f"{_count(len(loaded.checks), 'check')}, {_count(len(loaded.receivers), 'receiver')}"
    print(f"{', '.join(map(str, config))}: ok, {counts}")  # noqa: T201 - a command's output
    return 0


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"

"""Which checks are switched off (``enabled``), for commands that run without a daemon: each is asked once, now."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from time import time

import uvloop

from heartbeat import http
from heartbeat.config import CheckConfig, Config
from heartbeat.core.switches import SwitchedOff
from heartbeat.pool import Pool
from heartbeat.switching.once import ask_once


async def ask(config: Config, checks: Iterable[CheckConfig]) -> dict[str, SwitchedOff]:
    """Return which checks are off. Where nobody answers their default holds."""
    some = [check for check in checks if check.enabled.may_be_off]
    return await ask_once(config, some, Pool(), time()) if some else {}


def find_off(config: Config, checks: Iterable[CheckConfig]) -> dict[str, str]:
    """Return which checks are off, and why, on a loop of its own."""

    async def work() -> dict[str, SwitchedOff]:
        try:
            return await ask(config, checks)
        finally:
            http.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return say_all(config, runner.run(work()))


def say_all(config: Config, off: dict[str, SwitchedOff]) -> dict[str, str]:
    """Return the sentence for each check that is off, without secrets."""
    return {name: config.redactor(one.say()) for name, one in off.items()}

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from heartbeat.config import CheckConfig, Config
from heartbeat.redaction import Redactor
from heartbeat.reload import SLICE, find_dropped, let_go
from heartbeat.testing.bench import a_check


def configuration(checks: Mapping[str, CheckConfig]) -> Config:
    return Config((), Path("heartbeat.db"), Path("heartbeat.sock"), checks, {}, Redactor())


def test_only_what_does_not_go_on_is_dropped() -> None:
    kept, changed, gone = (a_check(name) for name in ("kept", "changed", "gone"))
    before = configuration({check.name: check for check in (kept, changed, gone)})
    after = configuration({"kept": kept, "changed": a_check("changed"), "new": a_check("new")})
    assert find_dropped(before, after) == [changed, gone]


async def test_others_run_while_many_checks_are_let_go() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    other = asyncio.create_task(count())
    checks = [a_check(str(number)) for number in range(SLICE * 5)]
    await let_go(checks)
    other.cancel()
    assert checks == []
    assert turns >= 4

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from heartbeat.core.model import Delivery
from heartbeat.outbox import settlement as settlement_module
from heartbeat.outbox.settlement import Settlement

Letter = Callable[..., Delivery]


class Store:
    def __init__(self) -> None:
        self.works = True
        self.hangs = False
        self.calls = 0
        self.rows: dict[str, Delivery] = {}

    async def settle(self, *deliveries: Delivery) -> None:
        self.calls += 1
        if self.hangs:
            await asyncio.Event().wait()
        if not self.works:
            raise OSError
        self.rows |= {one.id: one for one in deliveries}


async def test_while_the_store_fails_nobody_waits_for_it_twice_and_the_newest_state_is_written_in_the_end(
    letter: Letter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement_module, "SECONDS", 0.01)
    store = Store()
    settlement = Settlement(store.settle, again=0.01)
    store.hangs = True
    assert not await settlement.settle(letter())
    assert not await settlement.settle(replace(letter(), attempts=1), letter("inc_2"))
    assert store.calls == 1
    store.hangs = False
    settlement.start()
    while settlement.waiting:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
    assert store.rows[letter().id].attempts == 1
    assert len(store.rows) == 2
    assert await settlement.settle(letter("inc_3"))
    await settlement.stop()


async def test_a_late_success_does_not_forget_what_came_after(letter: Letter) -> None:
    store = Store()
    settlement = Settlement(store.settle)
    store.works = False
    await settlement.settle(letter())
    store.works = True
    newer = replace(letter(), attempts=5)

    async def meanwhile(*deliveries: Delivery) -> None:
        await Store.settle(store, *deliveries)
        if deliveries[0].attempts == 0:
            settlement.failing = True
            await settlement.settle(newer)

    settlement._settle = meanwhile
    await settlement._settle_all()
    assert store.rows[newer.id] == newer
    assert not settlement.waiting


async def test_only_so_much_is_remembered_and_the_oldest_is_forgotten(
    letter: Letter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement_module, "REMEMBERED", 3)
    store = Store()
    store.works = False
    settlement = Settlement(store.settle)
    for number in range(5):
        await settlement.settle(letter(f"inc_{number}"))
    assert [one.event.incident for one in settlement.waiting.values()] == ["inc_2", "inc_3", "inc_4"]

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from heartbeat import collection
from heartbeat.collection import (
    BLOCKS,
    EVERY,
    RESIDENT,
    SHARE,
    THRESHOLDS,
    Load,
    OldObjects,
    no_collection,
    return_memory,
    settle,
)


@pytest.fixture
def as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


class World:
    """The clock and the memory, as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.blocks, self.resident, self.collected = 1000.0, 1_000_000, 80 * 2**20, 0
        monkeypatch.setattr(collection, "monotonic", lambda: self.now)
        monkeypatch.setattr(Load, "now", lambda: Load(self.blocks, self.resident))
        monkeypatch.setattr(gc, "collect", self.collect)

    def collect(self) -> int:
        self.collected += 1
        return 7


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.mark.parametrize("nested", [False, True])
def test_nothing_is_collected_inside_and_as_before_afterwards(nested: bool) -> None:
    with no_collection():
        if nested:
            with no_collection():
                pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_is_there_when_all_has_settled_is_looked_at_no_more(as_before: None) -> None:
    settle()
    assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold() == THRESHOLDS


def test_old_objects_are_left_alone_while_as_much_is_alive_as_before(world: World) -> None:
    old = OldObjects()
    for step in range(100):
        world.now += EVERY
        world.blocks = 1_000_000 + step % 2 * BLOCKS
        old.tick()
    assert world.collected == 0


def test_old_objects_are_collected_each_time_that_more_is_alive(world: World) -> None:
    old = OldObjects()
    with capture_logs() as lines:
        for _ in range(3):
            world.now += EVERY
            world.blocks += BLOCKS + world.blocks // SHARE
            old.tick()
            old.tick()
    assert world.collected == 3
    assert [(line["event"], line["log_level"], line["found"]) for line in lines] == [
        ("old objects collected", "debug", 7)
    ] * 3


def test_memory_of_libraries_counts_too(world: World) -> None:
    old = OldObjects()
    world.now += EVERY
    world.resident += RESIDENT + world.resident // SHARE
    old.tick()
    assert world.collected == 1


def test_what_counts_is_the_least_that_was_alive_since(world: World) -> None:
    old = OldObjects()
    for world.blocks in (1_000_000, 200_000, 400_000):
        world.now += EVERY
        old.tick()
    assert world.collected == 1


def test_memory_is_looked_at_once_in_a_while(world: World) -> None:
    old = OldObjects()
    world.blocks *= 2
    world.now += EVERY - 1
    old.tick()
    assert world.collected == 0


def test_cycles_that_have_grown_old_do_not_stay(as_before: None) -> None:
    settle()
    old = OldObjects()
    ended: list[int] = []

    class Cycle:
        def __init__(self) -> None:
            self.me = self
            self.load = [object() for _ in range(BLOCKS // 10)]

        def __del__(self) -> None:
            ended.append(1)

    cycles = [Cycle() for _ in range(30)]
    gc.collect(1)  # what survives this is old
    del cycles
    gc.collect(1)
    assert not ended
    old._due = 0.0
    old.tick()
    assert len(ended) == 30


@pytest.mark.parametrize("there", [True, False])
def test_memory_is_given_back_where_the_c_library_can(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    library: Any = type("Library", (), {"malloc_trim": asked.append} if there else {})()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    return_memory()
    assert asked == ([0] if there else [])


def test_giving_back_memory_works_here() -> None:
    return_memory()

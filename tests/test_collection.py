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
        self.now, self.blocks, self.resident = 1000.0, 1_000_000, 80 * 2**20
        self.collected = self.frozen = 0
        monkeypatch.setattr(collection, "monotonic", lambda: self.now)
        monkeypatch.setattr(Load, "now", lambda: Load(self.blocks, self.resident))
        monkeypatch.setattr(gc, "collect", self.collect)
        monkeypatch.setattr(gc, "freeze", self.freeze)

    def collect(self) -> int:
        self.collected += 1
        return 7

    def freeze(self) -> None:
        self.frozen += 1

    def pass_time(self, old: OldObjects, looks: int = 1) -> None:
        for _ in range(looks):
            self.now += EVERY
            old.tick()

    def old(self) -> OldObjects:
        """Return what has the first growth behind it."""
        old = OldObjects()
        self.grow()
        self.pass_time(old, 2)
        return old

    def grow(self) -> None:
        self.blocks += BLOCKS + self.blocks // SHARE


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
    old, usual = world.old(), world.blocks
    for step in range(100):
        world.blocks = usual + step % 2 * BLOCKS
        world.pass_time(old)
    assert world.collected == 0


def test_old_objects_are_collected_each_time_that_more_is_alive(world: World) -> None:
    old = world.old()
    with capture_logs() as lines:
        for _ in range(3):
            world.grow()
            world.pass_time(old, 2)
            old.tick()
    assert world.collected == 3
    assert [(line["event"], line["log_level"], line["found"]) for line in lines] == [
        ("old objects collected", "debug", 7)
    ] * 3


def test_what_the_first_runs_leave_is_kept_and_not_looked_at(world: World) -> None:
    world.old()
    assert (world.frozen, world.collected) == (1, 0)


def test_what_is_gone_by_the_next_look_is_left_alone(world: World) -> None:
    old, usual = world.old(), world.blocks
    for _ in range(10):  # a page of metrics is being written at every other look
        world.grow()
        world.pass_time(old)
        world.blocks = usual
        world.pass_time(old)
    assert (world.frozen, world.collected) == (1, 0)


def test_memory_of_libraries_counts_too(world: World) -> None:
    old = world.old()
    world.resident += RESIDENT + world.resident // SHARE
    world.pass_time(old, 2)
    assert world.collected == 1


def test_what_counts_is_the_least_that_was_alive_since(world: World) -> None:
    old = world.old()
    for world.blocks in (1_000_000, 200_000, 400_000, 400_000):
        world.pass_time(old)
    assert world.collected == 1


def test_memory_is_looked_at_once_in_a_while(world: World) -> None:
    old = world.old()
    world.blocks *= 2
    world.pass_time(old)
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
    old._is_first = False
    for _ in range(2):
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

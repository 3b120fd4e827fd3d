"""Whatever fails or is killed at any step, what runs created is removed by later ones, and nothing else is."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from time import time
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st

from heartbeat import Answer, Check, CheckFailed, Probe, late
from heartbeat.backing import Backing, Memory
from heartbeat.core.model import Result, Run
from heartbeat.lag import LagMeter
from heartbeat.plugins import discover, load_type
from heartbeat.pool import Pool
from heartbeat.runner import Workshop, run_check
from heartbeat.steps import Reading, reading

Flow: Any = load_type(discover().sources["flow"])
LONG_AGO = 3600.0

Fate = Literal["well", "fails before", "fails after", "hangs before", "hangs after", "killed before", "killed after"]
FATES: tuple[Fate, ...] = (
    "well", "fails before", "fails after", "hangs before", "hangs after", "killed before", "killed after",
)  # fmt: skip


class Killed(BaseException):
    """The process is gone."""


@dataclass
class World:
    """What there is, and what becomes of the next things that are done."""

    things: dict[int, str] = field(default_factory=dict)
    makers: dict[int, str] = field(default_factory=dict)
    removed: list[tuple[str, int]] = field(default_factory=list)
    fates: list[Fate] = field(default_factory=list)
    killed: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event | None = None
    at_gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def do(self, work: Any) -> Any:
        """Do something, or not, as it is destined to be."""
        fate = self.fates.pop(0) if self.fates else "well"
        done = work() if fate == "well" or fate.endswith("after") else None
        if fate.startswith("killed"):
            self.killed.set()
        if fate.startswith(("killed", "hangs")):
            await asyncio.Event().wait()
        if fate.startswith("fails"):
            raise CheckFailed(fate, reason="status")
        return done


class _Deed(Check):
    tag: str = ""
    number: int = 0
    what: Literal["make", "remove", "show", "rest"] = "make"

    async def run(self, probe: Probe) -> None:
        """Do it in the world of the test, which is found through the check's memory."""
        world: World = probe.state.passing["world"]
        if self.what == "rest":
            if world.gate is not None:
                world.at_gate.set()
                await world.gate.wait()
            return
        answer = await world.do(lambda: getattr(self, self.what)(world, probe))
        probe.answer(lambda: Answer(value=answer))

    def make(self, world: World, probe: Probe) -> dict[str, Any]:
        number = len(world.makers) + 1
        world.things[number], world.makers[number] = self.tag, probe.run
        return {"id": number}

    def remove(self, world: World, probe: Probe) -> None:
        if world.things.pop(self.number, None) is not None:
            world.removed.append((probe.run, self.number))

    def show(self, world: World, _probe: Probe) -> list[dict[str, Any]]:
        return [{"id": number, "tag": tag, "at": time() - LONG_AGO} for number, tag in world.things.items()]


def type_of(name: str) -> type[Check]:
    if name != "deed":
        raise LookupError(name)
    return _Deed


def shopping(*, has_sweep: bool) -> Any:
    steps = [
        {"name": "first", "deed": {"what": "make", "tag": "${run.tag}"}, "creates": True, "take": {"id": "$.id"}},
        {"name": "rest", "deed": {"what": "rest"}},
        {"name": "second", "deed": {"what": "make", "tag": "${run.tag}"}, "creates": True, "take": {"id": "$.id"}},
    ]
    cleanup = [
        {"name": f"remove_{name}", "deed": {"what": "remove", "number": f"${{steps.{name}.id}}"}}
        for name in ("second", "first")
    ]
    sweep = {
        "list": {"deed": {"what": "show"}},
        "each": "$[*]",
        "tag": "$.tag",
        "created": "$.at",
        "older_than": "1s",
        "remove": {"deed": {"what": "remove", "number": "${item.id}"}},
    }
    with reading(Reading(type_of)):
        options = {"steps": steps, "cleanup": cleanup, "cleanup_timeout": "40ms"}
        return Flow.model_validate(late({**options, **({"sweep": sweep} if has_sweep else {})}))


class Daemon:
    """One check and what it remembers, over kills."""

    def __init__(self, flow: Any, world: World) -> None:
        self.flow, self.world = flow, world
        self.text = ""
        self.runs = 0
        self.start()

    def start(self) -> None:
        async def write(text: str) -> None:
            if self.memory is memory:  # what a killed process still wanted to write is lost
                self.text = text

        memory = self.memory = Memory(self.text, write)
        memory.passing["world"] = self.world

    async def run(self, seconds: float = 0.04) -> Result | None:
        """Run once; None where that was killed."""
        self.runs += 1
        self.world.killed.clear()
        memory = self.memory
        workshop = Workshop(Pool(), LagMeter(), str, Backing(memory=lambda _: memory))
        run = Run(f"run_{self.runs}", "shop", 0.0, 0, 0.0, seconds)
        over = asyncio.create_task(run_check(self.flow, run, workshop))
        killed = asyncio.create_task(self.world.killed.wait())
        await asyncio.wait([over, killed], return_when=asyncio.FIRST_COMPLETED)
        if over.done():
            killed.cancel()
            return over.result().result
        self.start()
        over.cancel()
        with suppress(asyncio.CancelledError):
            await over
        return None

    def age(self) -> None:
        for entry in self.memory.get("left", ()):
            entry["at"] -= LONG_AGO


async def check_that_all_is_removed(runs: list[list[Fate]], *, has_sweep: bool) -> None:
    world = World(things={-1: "order of a customer"}, makers={-1: "somebody"})
    daemon = Daemon(shopping(has_sweep=has_sweep), world)
    for fates in runs:
        world.fates = list(fates)
        await daemon.run()
    world.fates.clear()
    daemon.age()
    for _ in range(3):
        result = await daemon.run(seconds=5.0)
    assert result is not None
    assert result.measurements["leftovers"] == 0
    if has_sweep:
        assert world.things == {-1: "order of a customer"}
    assert not [number for number in world.things if number > 0 and world.makers[number] == f"run_{daemon.runs}"]


runs_of = st.lists(st.lists(st.sampled_from(FATES), max_size=6), min_size=1, max_size=3)


@given(runs=runs_of)
def test_what_was_created_is_removed_whatever_happens(runs: list[list[Fate]]) -> None:
    asyncio.run(check_that_all_is_removed(runs, has_sweep=True))


@given(fates=st.lists(st.sampled_from(("well", "killed after", "hangs after")), max_size=6))
def test_what_is_known_to_be_created_is_removed_without_a_sweep_too(fates: list[Fate]) -> None:
    async def check() -> None:
        world = World()
        daemon = Daemon(shopping(has_sweep=False), world)
        world.fates = ["well", *fates]
        await daemon.run()
        world.fates.clear()
        known = {value for entry in daemon.memory.get("left", ()) for value in entry["values"].values()}
        await daemon.run(seconds=5.0)
        assert not known & world.things.keys()

    asyncio.run(check())


@given(before=runs_of, beside=runs_of)
def test_nothing_of_a_run_under_way_is_touched(before: list[list[Fate]], beside: list[list[Fate]]) -> None:
    async def check() -> None:
        world = World()
        daemon = Daemon(shopping(has_sweep=True), world)
        for fates in before:
            world.fates = list(fates)
            await daemon.run()
        world.fates.clear()
        world.gate = asyncio.Event()
        under_way = asyncio.create_task(daemon.run(seconds=30.0))
        await world.at_gate.wait()
        number, gate, world.gate = max(world.things), world.gate, None
        for fates in beside:
            world.fates = [fate for fate in fates if not fate.startswith("killed")]
            await daemon.run()
            daemon.age()
            assert number in world.things
        world.fates.clear()
        gate.set()
        assert (await under_way) is not None
        assert number not in world.things
        assert (f"run_{len(before) + 1}", number) in world.removed

    asyncio.run(check())

"""``make soak``: kill the daemon often, then say what was created, acknowledged, duplicated and lost; 1 if any was.

Options are variables of the environment: KILLS (200) is how often, over all daemons, DAEMONS (2) how many live beside
each other, and SEED makes the choices of an earlier run again.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from random import SystemRandom
from time import monotonic

from typer import echo

from heartbeat.testing.soak.facts import Facts
from heartbeat.testing.soak.judge import Report, judge
from heartbeat.testing.soak.life import SoakFailed
from heartbeat.testing.soak.world import WAYS, World, opened, settle, torment

SHOWN = 10


async def soak(folder: Path, seed: int, kills: int, daemons: int) -> bool:
    """Do it all; say whether nothing is wrong."""
    started, worlds = monotonic(), []
    shares = [kills // daemons + (number < kills % daemons) for number in range(daemons)]
    async with AsyncExitStack() as stack:
        for number in range(daemons):
            place = folder / f"daemon-{number + 1}"
            place.mkdir()
            worlds.append(await stack.enter_async_context(opened(place, seed + 100 * number)))
        async with asyncio.TaskGroup() as group:
            ordeals = [group.create_task(ordeal(world, share)) for world, share in zip(worlds, shares, strict=True)]
    echo(f"soak: {kills} kills in {monotonic() - started:.0f} s")
    clean = [report(world, task.result()) for world, task in zip(worlds, ordeals, strict=True)]
    return all(clean)


async def ordeal(world: World, kills: int) -> Facts:
    """Torment one daemon, then let it settle."""
    try:
        await torment(world, kills)
        return await settle(world)
    finally:
        (world.folder / "journal.jsonl").write_text(world.journal.dump())


def report(world: World, facts: Facts) -> bool:
    """Print what became of one daemon's messages; say whether it is as it should be."""
    found, score = judge(facts, world.journal.messages, WAYS), world.score
    leases = max((one.leased for one in score.samples), default=0)
    left = sum(state in ("leased", "pending") for state in facts.states.values())
    echo(
        f"\n{world.folder.name}: {score.kills} kills, {score.during_start} of them during the start, "
        f"{score.at_a_point} at a named point; {len(world.journal.messages)} messages arrived"
    )
    for way in found.ways:
        passed_on = f", passed on {way.passed_on}" if way.passed_on else ""
        echo(
            f"  {way.name:<20} events created {way.created}, acknowledged {way.acknowledged}{passed_on}, "
            f"duplicated {way.duplicated}, lost {len(way.lost)}"
        )
    echo(
        f"  order violations {len(found.disorder)}, altered {len(found.altered)}, invented {len(found.invented)}, "
        f"without an end {len(found.unfinished)}; leases {leases} at most, {left} left over"
    )
    wrong = [*_wrong(found), *_wrong_with(world, facts, left)]
    for line in wrong[:SHOWN]:
        echo(f"  WRONG: {line}")
    return not wrong


def _wrong(found: Report) -> list[str]:
    return [
        *(f"lost to {way.name}: {event}" for way in found.ways for event in way.lost),
        *(f"wrong order at {line}" for line in found.disorder),
        *(f"other bytes under the same id at {line}" for line in found.altered),
        *(f"told, but not in the store: {event}" for event in found.invented),
        *(f"no end, though all is well: {line}" for line in found.unfinished),
    ]


def _wrong_with(world: World, facts: Facts, left: int) -> list[str]:
    wrong = [f"the daemon logged {fault}" for fault in world.score.faults]
    wrong += ["the store was damaged after a kill"] * any(not one.sound for one in world.score.samples)
    wrong += [f"{left} deliveries still wait"] * bool(left)
    return wrong + ["less than one event per kill: this proves nothing"] * (len(facts.events) < world.score.kills)


def main() -> int:
    """Read the options; keep what the daemons left behind where something is wrong."""
    kills, daemons = int(os.environ.get("KILLS") or 200), int(os.environ.get("DAEMONS") or 2)
    seed = int(os.environ.get("SEED") or SystemRandom().randrange(10**6))
    folder = Path(tempfile.mkdtemp(prefix="heartbeat-soak-"))
    echo(f"soak: {kills} kills of {daemons} daemons; SEED={seed} makes the same choices again")
    is_clean = False
    try:
        is_clean = asyncio.run(soak(folder, seed, kills, daemons))
    except* SoakFailed as failed:
        echo(f"soak: {failed.exceptions[0]}", err=True)
    if is_clean:
        shutil.rmtree(folder)
        return 0
    echo(f"\nsoak: FAILED; what the daemons left behind is in {folder}")
    return 1


if __name__ == "__main__":
    sys.exit(main())

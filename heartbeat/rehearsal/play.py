"""A dry run: the checks run once on the daemon's own line, and what would leave is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from heartbeat.config import Config
from heartbeat.core.made_up import make_up
from heartbeat.core.model import NOTHING, Delivery, DeliveryState, Event, Result, Run, Severity
from heartbeat.core.script import Act
from heartbeat.core.status import incidents
from heartbeat.core.switches import SwitchedOff
from heartbeat.line import Line, perform, release, take, tick_of
from heartbeat.rehearsal.reach import Reached, reach_receivers
from heartbeat.rehearsal.shelf import Shelf, Shown
from heartbeat.rehearsal.stage import Stage, staged
from heartbeat.state import Live
from heartbeat.ticker import PERIOD

AT_ONCE = 20
"""Runs at the same time: more would measure one another, which the daemon's timetable avoids."""
BETWEEN = 60.0
"""Seconds between two made-up runs of a check that has no interval."""
TICKS = 30
CALM = 3
"""After so many ticks in which nothing began, no more is to come."""
MOST = 100_000
MOMENT = 0.01
"""Seconds beyond the end of a batch, so that it is over by every clock."""


class Assumption(StrEnum):
    """What may be assumed instead of what the plugin found."""

    FAIL = "fail"
    WARN = "warn"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Performed:
    """What became of one check. ``found`` is what the plugin really found, where something else was assumed."""

    live: Live
    found: Result | None = None
    runs: int = 1
    events: tuple[Event, ...] = ()
    deliveries: tuple[Delivery, ...] = ()

    @property
    def name(self) -> str:
        """The name of the check."""
        return self.live.config.name


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """All that came of a dry run. ``asked`` are checks that ran because others depend on them."""

    config: Config
    checks: tuple[Performed, ...]
    asked: tuple[Performed, ...]
    shown: tuple[Shown, ...]
    reached: tuple[Reached, ...]
    assumed: Assumption | None = None
    stuck: bool = False
    """A plugin has not ended."""
    kept: frozenset[str] = frozenset()
    """The ids of the deliveries whose message is shown."""

    def is_unmade(self, delivery: Delivery) -> bool:
        """Say whether a message should have left, and could not be made."""
        return delivery.state is not DeliveryState.SUPPRESSED and delivery.id not in self.kept

    @property
    def unmade(self) -> tuple[Delivery, ...]:
        """All that could not be made."""
        told = (one for check in (*self.checks, *self.asked) for one in check.deliveries)
        return tuple(filter(self.is_unmade, told))


async def dry_run(
    config: Config,
    names: Iterable[str],
    receivers: Iterable[str],
    assumed: Assumption | None = None,
    off: Mapping[str, SwitchedOff] = NOTHING,
) -> Rehearsed:
    """Run checks once on a stage of their own, and see how far receivers can be reached; ``off`` is what never runs."""
    shelf = Shelf()
    async with staged(config, shelf.show) as stage:
        stage.parts.quiet.switched = dict(off)
        return await rehearse(stage, shelf, names, receivers, assumed)


async def rehearse(
    stage: Stage, shelf: Shelf, names: Iterable[str], receivers: Iterable[str] = (), assumed: Assumption | None = None
) -> Rehearsed:
    """Run checks once on a stage whose last hop is the shelf."""
    chosen = tuple(names)
    pretence = Pretence(stage, frozenset(chosen), assumed)
    reaching = asyncio.ensure_future(reach_receivers(stage.config, receivers))
    try:
        await (pretence.run(chosen) if assumed else run_all(stage, chosen))
        await let_others_look(stage)
        await let_leave(stage, shelf)
        reached = await reaching
    finally:
        reaching.cancel()
    lives = stage.parts.state.checks
    checks = [await _performed(stage, lives[name], pretence) for name in chosen]
    others = [live for name, live in lives.items() if name not in chosen and live.last_run is not None]
    asked = [await _performed(stage, live, pretence) for live in others]
    return Rehearsed(
        stage.config, tuple(checks), tuple(asked), tuple(shelf.shown), reached, assumed,
        stuck=bool(stage.parts.line.running), kept=frozenset(shelf.seen),
    )  # fmt: skip


async def run_all(stage: Stage, names: Iterable[str]) -> None:
    """Run the checks out of turn, as ``heartbeat run-now`` does."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def run(live: Live) -> None:
        async with limit:
            _ = await stage.parts.dispatch.run_now(live)

    await asyncio.gather(*(run(stage.parts.state.checks[name]) for name in names))
    await stage.idle()


async def let_others_look(stage: Stage) -> None:
    """Let time pass as the ticker does, while a check waits for what is found of those it depends on."""
    calm, parts = 0, stage.parts
    for _ in range(TICKS):
        waiting = [live for live in parts.state.checks.values() if live.config.depends_on and _is_untold(live)]
        if not waiting or calm == CALM:
            return
        stage.pass_by(PERIOD)
        now = stage.clock.now()
        for live in waiting:
            if tick := tick_of(parts.line, live, now):
                parts.dispatch.spawn(take(parts.line, live, tick), live.config.name)
            else:
                parts.surroundings.look_around(live, now)
        calm = 0 if parts.dispatch.tasks else calm + 1
        await stage.idle()


def _is_untold(live: Live) -> bool:
    return any(incident.untold for _, incident in incidents(live.status))


async def let_leave(stage: Stage, shelf: Shelf) -> None:
    """Let time pass until each batch is complete, one after the other, so that each leaves when it would have."""
    pending = await stage.store.deliveries(state=DeliveryState.PENDING, limit=MOST)
    for closes_at in sorted({one.closes_at for one in pending}):
        wait = closes_at - stage.clock.now()
        stage.pass_by(wait + MOMENT if wait > 0 else 0.0)
        await shelf.wait_for({one.id for one in pending if one.closes_at == closes_at})


async def _performed(stage: Stage, live: Live, pretence: Pretence) -> Performed:
    name = live.config.name
    events = tuple(reversed(await stage.store.events(name, MOST)))
    ids = {event.incident for event in events}
    told = [one for incident in ids for one in await stage.store.deliveries(incident, limit=MOST)]
    runs = sum(live.runs.values())
    return Performed(
        live, pretence.found.get(name), runs, events, tuple(sorted(told, key=lambda one: one.event.sequence))
    )


@dataclass(slots=True)
class Pretence:
    """Makes up what some checks find. Their plugins run all the same, once; ``found`` has what they really found."""

    stage: Stage
    names: frozenset[str]
    assumed: Assumption | None
    found: dict[str, Result] = field(default_factory=dict)

    def take_over(self, line: Line) -> None:
        """Put made-up results in the place of those of the plugins."""
        line.perform, line.pause = self._perform, self._pause

    async def run(self, names: Iterable[str]) -> None:
        """Run checks one after the other, each as often as its policy needs until it is told, for time passes."""
        self.take_over(self.stage.parts.line)
        for name in names:
            live = self.stage.parts.state.checks[name]
            policy = live.config.policy
            for turn in range(policy.memory + policy.broken.memory):
                self.stage.pass_by((policy.interval or BETWEEN) if turn else 0.0)
                await run_all(self.stage, [name])
                if self._is_reached(live):
                    break

    def _is_reached(self, live: Live) -> bool:
        if self.assumed is Assumption.ERROR:
            return live.status.broken
        return live.severity >= (Severity.FAIL if self.assumed is Assumption.FAIL else Severity.WARN)

    async def _perform(self, line: Line, live: Live, run: Run) -> Result:
        config = live.config
        if config.name not in self.names or self.assumed is None:
            return await perform(line, live, run)
        if config.name not in self.found:
            self.found[config.name] = await perform(line, live, run)
        else:
            release(line, live, None)
        return make_up(Act(self.assumed.value), config.limits, config.timeout)

    async def _pause(self, _line: Line, seconds: float) -> None:
        self.stage.pass_by(seconds)


def find_unwarnable(config: Config, names: Iterable[str]) -> str:
    """Say of which check a warning cannot be assumed, as none of its limits only warns; or nothing."""
    for name in names:
        check = config.checks[name]
        try:
            make_up(Act("warn"), check.limits, check.timeout)
        except ValueError as error:
            return f"{name}: {error}"
    return ""

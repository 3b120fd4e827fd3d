"""The insides of the daemon on a bench: a real store and outbox, a clock that the test moves, a fake last hop."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from heartbeat.backing import Backing
from heartbeat.channels import Channel, Rendered
from heartbeat.check import Check, CheckBroken, CheckFailed
from heartbeat.clock import Clock, Reading
from heartbeat.config.model import CheckConfig, History
from heartbeat.core.batch import Batch
from heartbeat.core.model import Address, Delivery, Kind
from heartbeat.core.policy import Policy, Routes
from heartbeat.core.schedule import Interval
from heartbeat.dispatch import Dispatch
from heartbeat.lag import LagMeter
from heartbeat.line import Line
from heartbeat.memories import Memories
from heartbeat.metrics.instruments import Instruments
from heartbeat.outbox import Outbox
from heartbeat.pool import Pool
from heartbeat.probe import Probe
from heartbeat.quiet.surroundings import Surroundings
from heartbeat.quiet.times import Quiet
from heartbeat.reports import Reports
from heartbeat.roster import Roster
from heartbeat.runner import Workshop
from heartbeat.scheduler import Scheduler
from heartbeat.state import Live, State
from heartbeat.store import Store
from heartbeat.ticker import Ticker

NOON = 1_800_000_000.0
EVERY = 60.0
WITHIN = 10.0
ONCALL = Address("oncall", "oncall/kept")

Behaviour = Callable[[Probe], Awaitable[None]]


class Scripted(Check):
    """A check that does what the test says."""

    behave: Any

    async def run(self, probe: Probe) -> None:
        """Do it."""
        await self.behave(probe)


class Kept(Channel):
    """A last hop that keeps what it is handed."""

    kind: ClassVar[str] = "kept"
    inbox: Any

    def render(self, batch: Batch, at: float) -> Rendered:  # noqa: ARG002 - the contract of a channel
        """Say what kinds of events they are, and whether they are recorded."""
        events = [delivery.event for delivery in batch.deliveries]
        marks = ["" if event.context.get("recorded", True) else " not recorded" for event in events]
        text = "; ".join(f"{event.kind} {event.check}{mark}" for event, mark in zip(events, marks, strict=True))
        return Rendered(text.encode())

    async def send(self, batch: Batch, message: Rendered) -> str:
        """Keep it."""
        await self.inbox.take(batch, message)
        return "kept"


class Inbox:
    """What arrived at the last hop."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.texts: list[str] = []
        self._arrived = asyncio.Condition()

    async def take(self, batch: Batch, message: Rendered) -> None:
        """Keep one message."""
        async with self._arrived:
            self.deliveries.extend(batch.deliveries)
            self.texts.append(message.body.decode())
            self._arrived.notify_all()

    async def wait(self, count: int) -> list[str]:
        """Wait until that many messages are there, and return all. Raises TimeoutError."""
        async with asyncio.timeout(WITHIN), self._arrived:
            await self._arrived.wait_for(lambda: len(self.texts) >= count)
        return list(self.texts)

    @property
    def kinds(self) -> list[Kind]:
        """What kinds of events were told."""
        return [delivery.event.kind for delivery in self.deliveries]


class Time:
    """The three clocks, moved by hand."""

    def __init__(self) -> None:
        self.reading = Reading(NOON, 1000.0, 1000.0)

    def __call__(self) -> Reading:
        """Read them."""
        return self.reading

    def _move(self, wall: float = 0.0, monotonic: float = 0.0, boottime: float = 0.0) -> None:
        now = self.reading
        self.reading = Reading(now.wall + wall, now.monotonic + monotonic, now.boottime + boottime)

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self._move(seconds, seconds, seconds)

    def step(self, seconds: float) -> None:
        """Set the wall clock."""
        self._move(wall=seconds)

    def suspend(self, seconds: float) -> None:
        """Let the machine sleep."""
        self._move(wall=seconds, boottime=seconds)


@dataclass(slots=True)
class Bench:
    """All that a daemon has inside, put together; nothing runs by itself."""

    time: Time
    line: Line
    state: State
    instruments: Instruments
    dispatch: Dispatch
    scheduler: Scheduler
    roster: Roster
    ticker: Ticker
    inbox: Inbox
    surroundings: Surroundings
    reports: Reports
    looks: list[float] = field(default_factory=list)
    """When the ticker looked for changed files."""

    @property
    def store(self) -> Store:
        """The store, on a real file."""
        return self.line.store

    @property
    def outbox(self) -> Outbox:
        """The outbox, with one channel that keeps everything."""
        return self.line.outbox

    @property
    def memories(self) -> Memories:
        """What the checks remember."""
        return self.roster.memories

    def enlist(self, config: CheckConfig) -> Live:
        """Take a check in as it is."""
        live = self.state.checks[config.name] = Live(config)
        return live

    @contextmanager
    def locked_store(self) -> Iterator[None]:
        """Let another program hold the lock on the store: every commit fails."""
        with closing(sqlite3.connect(self.store.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")


async def until(true: Callable[[], object]) -> None:
    """Wait until something is true that no event tells. Raises TimeoutError."""
    async with asyncio.timeout(WITHIN):
        while not true():  # noqa: ASYNC110 - there is no event: the daemon needs none
            await asyncio.sleep(0.005)


async def ok(_: Probe) -> None:
    """Find nothing wrong."""


async def down(_: Probe) -> None:
    """Find the target bad."""
    raise CheckFailed("the shop is down", reason="status")


async def broken(_: Probe) -> None:
    """Find the check bad."""
    raise CheckBroken("the account is locked", reason="account")


def a_check(name: str = "shop", behave: Behaviour = ok, **changes: Any) -> CheckConfig:
    """Return a check that does as told, once a minute, and tells ``oncall``."""
    check = Scripted(behave=behave)
    oncall = Routes(("oncall",))
    config = CheckConfig(name, "scripted", check, f"{name}-1", Interval(EVERY), 5.0, Policy(), notify=oncall)
    return replace(config, **changes)


@asynccontextmanager
async def bench(folder: Path, *, concurrency: int = 10, time: Time | None = None) -> AsyncIterator[Bench]:
    """Put everything together on a store in this folder, and take it apart afterwards; time may go on from before."""
    time, inbox, lag, looks = time or Time(), Inbox(), LagMeter(), list[float]()
    clock, state, instruments = Clock(time), State(), Instruments()
    lag.start()
    store = await Store.open(folder / "heartbeat.db", history=History(), clock=clock.now, patience=0.05)
    outbox = Outbox(
        settle=store.settle, channels={ONCALL.channel: Kept(inbox=inbox)}, clock=clock.now,
        redact=str, observe=lambda *_: None,
    )  # fmt: skip
    await outbox.start()
    pool, memories = Pool(threads=4), Memories(store, state.type_of)
    workshop = Workshop(pool, lag, str, Backing(memory=memories.of, in_thread=pool.run))
    line = Line(clock, workshop, store, outbox, lambda receivers: (ONCALL,) if receivers else ())
    dispatch = Dispatch(line, state, instruments, concurrency)
    reports = Reports(dispatch, memories.of)
    scheduler = Scheduler(reports.fire)
    reports.plan_with(scheduler)
    surroundings = Surroundings(state, Quiet(), dispatch.look_at)
    line.against, line.held_back = surroundings.against, surroundings.held_back
    line.deployed = surroundings.quiet.deployments.context
    line.look_at_parents = lambda live: surroundings.look_around(live, clock.now())
    ticker = Ticker(dispatch, scheduler, lag, lambda: looks.append(clock.now()), surroundings)
    roster = Roster(line, state, scheduler, memories)
    try:
        yield Bench(
            time, line, state, instruments, dispatch, scheduler, roster, ticker, inbox, surroundings, reports, looks
        )
    finally:
        ticker.stop()
        await dispatch.drain(WITHIN)
        await outbox.drain(1.0)
        await store.close()
        lag.stop()

"""The parts of the line, put together once for all who run checks and tell of them: the daemon, and rehearsals.

What they hand in is the whole difference between them: another store, and another last hop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from heartbeat.accounts import Accounts
from heartbeat.backing import Backing
from heartbeat.channels.attempt import Transport, send
from heartbeat.clock import Clock
from heartbeat.config import Config
from heartbeat.config.model import FALLBACK
from heartbeat.dispatch import Dispatch
from heartbeat.lag import LagMeter
from heartbeat.line import Line
from heartbeat.memories import Memories
from heartbeat.metrics.instruments import Instruments
from heartbeat.outbox import Outbox
from heartbeat.outbox.pace import Pace
from heartbeat.pool import Pool
from heartbeat.quiet.surroundings import Surroundings
from heartbeat.quiet.times import Quiet
from heartbeat.runner import Workshop
from heartbeat.state import State
from heartbeat.store import Store


@dataclass(frozen=True, slots=True)
class Assembly:
    """What runs checks, judges, decides and tells; see ``line`` for how."""

    state: State
    quiet: Quiet
    outbox: Outbox
    line: Line
    dispatch: Dispatch
    surroundings: Surroundings
    memories: Memories
    accounts: Accounts

    def adopt(self, config: Config) -> None:
        """Take over the settings of a configuration."""
        self.line.location, self.line.buckets = config.location, config.duration_buckets
        self.dispatch.concurrency = config.concurrency
        self.quiet.adopt(config.maintenance)
        self.accounts.adopt(config.accounts)
        self.surroundings.adopt(config.checks, config.storm)


@dataclass(frozen=True, slots=True)
class Setting:
    """What stands around the parts: ``config`` returns the configuration in use."""

    config: Callable[[], Config]
    store: Store
    clock: Clock
    lag: LagMeter
    instruments: Instruments
    pace: Pace | None = None
    """The schedule of attempts to deliver, where it is another than usual."""


def assemble(setting: Setting, transport: Transport = send) -> Assembly:
    """Put the parts together. Nothing of them runs yet.

    Args:
        setting: what stands around them.
        transport: the last hop; the one thing that a rehearsal does otherwise.
    """
    config, clock, store = setting.config, setting.clock, setting.store

    def redact(text: str) -> str:
        return config().redactor(text)

    state, quiet = State(), Quiet()
    outbox = Outbox(
        settle=store.settle,
        find=store.find,
        channels=config().channels,
        fallback=config().ways_out((FALLBACK,)),
        clock=clock.now,
        redact=redact,
        observe=setting.instruments.count_notification,
        pace=setting.pace,
        transport=transport,
    )
    pool, memories, accounts = Pool(), Memories(store, state.type_of), Accounts(clock.now)
    backing = Backing(memories.of, pool.run, accounts.lease, marks=lambda: config().mark_traffic)
    workshop = Workshop(pool, setting.lag, redact, backing)
    line = Line(clock, workshop, store, outbox, lambda names: config().ways_out(names), state.unwell)
    dispatch = Dispatch(line, state, setting.instruments, config().concurrency)
    surroundings = Surroundings(state, quiet, dispatch.look_at)
    line.against, line.held_back = surroundings.against, surroundings.held_back
    line.deployed = quiet.deployments.context
    line.look_at_parents = lambda live: surroundings.look_around(live, clock.now())
    return Assembly(state, quiet, outbox, line, dispatch, surroundings, memories, accounts)

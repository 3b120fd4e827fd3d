"""The daemon: put together, started, reloaded and drained. What a run does stands in ``line``."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic

import structlog

from heartbeat import http
from heartbeat.assembly import Setting, assemble
from heartbeat.clock import Clock
from heartbeat.collection import OldObjects, no_collection, settle
from heartbeat.commands import Commands
from heartbeat.config import Config
from heartbeat.config.model import FALLBACK, CheckConfig
from heartbeat.control import serving_controls
from heartbeat.core.model import Address
from heartbeat.core.policy import Routes
from heartbeat.lag import LagMeter
from heartbeat.log import configure
from heartbeat.metrics.instruments import Backlog, Instruments
from heartbeat.orders.deploying import Deploying
from heartbeat.orders.given import Orders
from heartbeat.orders.upkeep import Upkeep
from heartbeat.quarantine import Quarantine
from heartbeat.reassert import reasserting
from heartbeat.reload import Reloader
from heartbeat.reports import Reports
from heartbeat.roster import Changes, Roster
from heartbeat.saving import Saving
from heartbeat.scheduler import Scheduler
from heartbeat.selfwatch.deadman import DeadMan, find_overdue, find_reasons
from heartbeat.selfwatch.drill import Drills
from heartbeat.selfwatch.vitals import ACCOUNTS, KNOWN, Vitals, self_checks
from heartbeat.selfwatch.watchdog import Watchdog, end_forks, guard_exit
from heartbeat.store import Store
from heartbeat.switching.switches import Switches
from heartbeat.ticker import Ticker
from heartbeat.web.app import View, create_app
from heartbeat.web.serve import open_port, serving

log = structlog.get_logger()

SILENT_TICKER = 10.0
"""Seconds without a tick after which the daemon calls itself unhealthy."""


class Daemon:
    """One daemon for one configuration; ``run`` is its whole life. Made on the running loop."""

    def __init__(self, paths: Sequence[Path], config: Config) -> None:
        self.paths = tuple(paths)
        self.config = config
        self.clock = Clock()
        self.lag = LagMeter()
        self.instruments = Instruments()
        self.quarantine = Quarantine(config.store.with_name(config.store.name + ".quarantine"))
        self.stopping = asyncio.Event()
        self.not_ready = "it is starting"
        self.stuck: frozenset[str] = frozenset()
        """Checks whose plugins did not end with us; after ``run``."""

    async def run(self) -> None:
        """Start, serve until a signal comes, drain. Raises ``StoreError`` or ``ListenError`` where it cannot start."""
        async with AsyncExitStack() as stack:
            with no_collection():
                await self._start(stack)
            await self.stopping.wait()
            await self._drain()

    def redact(self, text: str) -> str:
        """Return the text without the secrets of the configuration in use."""
        return self.config.redactor(text)

    def ways_out(self, receivers: tuple[str, ...]) -> tuple[Address, ...]:
        """Return the ways out of receivers."""
        return self.config.ways_out(receivers)

    # --- start and stop ------------------------------------------------------------------------------------------

    async def _start(self, stack: AsyncExitStack) -> None:
        config, loop = self.config, asyncio.get_running_loop()
        self.lag.start()
        stack.callback(self.lag.stop)
        guard_exit(self.quarantine.blame)
        end_forks(loop)
        watchdog = Watchdog(self.lag, loop, config.stall_limit, self.quarantine.blame)
        watchdog.start()
        stack.callback(watchdog.stop)
        listener = open_port(config.web.host, config.web.port)
        stack.callback(listener.close)
        self.store = await Store.open(config.store, history=config.history, clock=self.clock.now)
        stack.push_async_callback(self.store.close, config.grace)
        stack.callback(http.close)
        past = await self.store.load()
        self._assemble()
        await self.upkeep.recall(config.checks)
        await self.deploying.recall()
        self.switches.recall(past.memories)
        await self.switches.prepare(config)
        await self.roster.take_over(self._all_checks(config).values(), past, config.self_notify)
        await self.parts.accounts.recall(self.parts.memories.of(ACCOUNTS).get(KNOWN, {}))
        self.saving.start()
        self.surroundings.storms.recall(self.clock.now())
        await self.upkeep.enforce()
        await self.switches.enforce()
        await self.drills.recall()
        await self.outbox.start(past.pending)
        await stack.enter_async_context(reasserting(self))
        commands = self._commands()
        address = await stack.enter_async_context(serving(create_app(self._view(commands)), listener))
        self.dispatch.listening = self.clock.now()
        await stack.enter_async_context(serving_controls(commands, config.control))
        settle()
        self.scheduler.start()
        self.ticker.start()
        self.dispatch.resume()
        self._take_signals(loop)
        self.not_ready = ""
        log.info("serving", metrics=f"http://{address}/metrics", checks=len(config.checks), store=str(config.store))

    def _assemble(self) -> None:
        config = self.config
        setting = Setting(lambda: self.config, self.store, self.clock, self.lag, self.instruments)
        self.parts = parts = assemble(setting)
        self.state, self.line, self.outbox, self.dispatch = parts.state, parts.line, parts.outbox, parts.dispatch
        self.quiet, self.surroundings = parts.quiet, parts.surroundings
        self.reports = Reports(self.dispatch, parts.memories.of)
        self.scheduler = Scheduler(self.reports.fire)
        self.reports.plan_with(self.scheduler)
        self.scheduler.is_off = self.quiet.is_disabled
        self.upkeep = Upkeep(self.dispatch, self.scheduler, self.quiet)
        self.switches = Switches(self.dispatch, self.scheduler, self.quiet)
        self.deploying = Deploying(self.dispatch, self.quiet, self.redact)
        self.roster = Roster(self.line, self.state, self.scheduler, parts.memories)
        self.reloader = Reloader(self.paths, config, self.dispatch, self._apply)
        self.ticker = Ticker(self.dispatch, self.scheduler, self.lag, self._tick, self.surroundings)
        self.old_objects, self.saving = OldObjects(), Saving(self.dispatch)
        parts.accounts.around.reread = self.reloader.reread
        parts.accounts.around.changed = partial(self.dispatch.look_at, ACCOUNTS)
        self.drills = Drills(self.dispatch)
        self.drills.adopt(config.drills)
        self.deadman = DeadMan(partial(find_reasons, self.dispatch, self.scheduler), self.clock.now)
        self.own_checks = tuple(self_checks(self._vitals()))
        self.instruments.backlogs, self.instruments.store_failures = self._backlogs, self.store.failures
        self.instruments.calls = self.deadman.calls
        self.instruments.deployments = self.quiet.deployments.latest
        self.instruments.accounts = parts.accounts.uses
        self.instruments.overdue = lambda: len(find_overdue(self.dispatch, self.scheduler))
        self._adopt(config)

    def _vitals(self) -> Vitals:
        problem, storms = (lambda: self.reloader.problem), self.surroundings.storms
        return Vitals(
            self.state, self.store, self.outbox, self.dispatch, self.clock.now, problem, storms, self.parts.accounts,
            lambda: self.switches.warning(self.clock.now()),
        )  # fmt: skip

    def _take_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        for stop in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(stop, self.stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self.reloader.reload_soon)

    async def _remember_accounts(self) -> None:
        """Keep what the last runs found out of accounts, and which one-time codes they used."""
        memory = self.parts.memories.of(ACCOUNTS)
        memory[KNOWN] = await self.parts.accounts.write()
        await memory.save()

    async def _drain(self) -> None:
        """Let what is under way end, within the grace period; deliveries still waiting go out at the next start."""
        log.info("stopping", grace=self.config.grace)
        self.not_ready = "it is stopping"
        ends = monotonic() + self.config.grace
        self.scheduler.stop()
        self.ticker.stop()
        self.deadman.stop()
        self.switches.stop()
        await self.dispatch.drain(self.config.grace)
        await self._remember_accounts()
        await self.saving.finish(ends - monotonic())
        await self.outbox.drain(max(0.0, ends - monotonic()))
        self.stuck = frozenset(self.line.running)
        log.info("stopped", stuck=sorted(self.stuck) or None)

    # --- checks come and go --------------------------------------------------------------------------------------

    def _all_checks(self, config: Config) -> dict[str, CheckConfig]:
        wanted = (check for check in self.own_checks if check.name != ACCOUNTS or config.accounts)
        own = (replace(check, notify=Routes(config.self_notify)) for check in wanted)
        ours = {check.name: check for check in (*own, *self.drills.checks())}
        return {**ours, **config.checks, **self.quarantine.stand_ins(config.checks)}

    def _adopt(self, config: Config) -> None:
        """Take over the settings of a configuration; all of it takes effect at once."""
        self.config = config
        self.parts.adopt(config)
        self.reports.adopt(config.checks)
        self.store.history = config.history
        self.deadman.adopt(config.watchdog)
        self.quarantine.checks = config.checks
        self.instruments.know_channels(
            (receiver.name, channel) for receiver in config.receivers.values() for channel in receiver.channels
        )
        self.instruments.reload_successful.set(1)
        self.instruments.reload_success_timestamp.set(self.clock.now())
        configure(config.log, config.redactor)

    async def _apply(self, config: Config) -> Changes:
        for setting in ("store", "control", "web", "stall_limit"):
            if getattr(config, setting) != getattr(self.config, setting):
                log.warning("this change takes effect at the next start only", setting=setting)
        self.drills.adopt(config.drills)
        await self.switches.prepare(config)
        self.reloader.refuse_at_the_end()
        checks = self._all_checks(config)
        await asyncio.sleep(0)  # each of these takes some milliseconds for ten thousand checks
        changes = self.roster.compare(checks)
        await asyncio.sleep(0)
        await self.roster.withdraw(changes)
        self._adopt(config)
        self.upkeep.follow(config.checks)
        self.outbox.reload(config.channels, config.ways_out((FALLBACK,)))
        await self.roster.enlist(changes)
        await self.switches.enforce()
        return changes

    def _tick(self) -> None:
        self.deadman.tick()
        self.drills.tick()
        self.upkeep.tick()
        self.switches.tick()
        self.deploying.tick()
        self.saving.tick()
        self.old_objects.tick()
        if self.parts.memories.lag_behind and not self.store.failing:
            self.dispatch.spawn(self.parts.memories.write_again(), "memories")
        self.reloader.look()

    # --- what others ask -----------------------------------------------------------------------------------------

    def _commands(self) -> Commands:
        return Commands(
            self.dispatch,
            self.scheduler,
            self.roster,
            self.outbox,
            self.quarantine,
            self.reloader,
            self.deadman,
            Orders(self.upkeep, self.redact),
            self.deploying,
            self.surroundings,
            config=lambda: self.config,
            unready=lambda: self.not_ready,
        )

    def _view(self, commands: Commands) -> View:
        return View(
            self.state,
            self.instruments,
            self.surroundings,
            config=lambda: self.config,
            unhealthy=self._why_unhealthy,
            unready=lambda: self.not_ready,
            now=self.clock.now,
            next_run=self.scheduler.next_run,
            ask=self.store.ask,
            mark=commands.mark_for,
            reports=self.reports,
        )

    def _why_unhealthy(self) -> str:
        silent = monotonic() - self.ticker.beat
        return f"the ticker has been silent for {silent:.0f} s" if silent > SILENT_TICKER else ""

    def _backlogs(self) -> Iterable[Backlog]:
        return self.outbox.backlogs(self.clock.now())

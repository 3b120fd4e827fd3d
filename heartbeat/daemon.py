"""The daemon: put together, started, reloaded and drained. What a run does stands in ``line``."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import structlog

from heartbeat import http
from heartbeat.channels import Channel
from heartbeat.clock import Clock
from heartbeat.config import Config, ConfigError, load_in_child
from heartbeat.config.model import CheckConfig
from heartbeat.control import Refused, serving_controls
from heartbeat.core.model import Address
from heartbeat.dispatch import Dispatch
from heartbeat.lag import LagMeter
from heartbeat.line import Line
from heartbeat.log import configure
from heartbeat.metrics.instruments import Backlog, Instruments
from heartbeat.outbox import Outbox
from heartbeat.pool import Pool
from heartbeat.quarantine import Quarantine
from heartbeat.roster import Changes, Roster
from heartbeat.runner import Workshop
from heartbeat.scheduler import Scheduler
from heartbeat.state import State
from heartbeat.store import Store
from heartbeat.ticker import Ticker
from heartbeat.vitals import CONFIG, Vitals, self_checks
from heartbeat.watch import look_at
from heartbeat.watchdog import Watchdog, guard_exit
from heartbeat.web.app import View, create_app
from heartbeat.web.checks import describe
from heartbeat.web.serve import open_port, serving

log = structlog.get_logger()

LOOK_EVERY = 2.0
"""Seconds between two looks at the files of the configuration."""
SILENT_TICKER = 10.0
"""Seconds without a tick after which the daemon calls itself unhealthy."""


class Daemon:
    """One daemon for one configuration; ``run`` is its whole life. Made on the running loop."""

    def __init__(self, paths: Sequence[Path], config: Config) -> None:
        self.paths = tuple(paths)
        self.config = config
        self.state = State()
        self.clock = Clock()
        self.lag = LagMeter()
        self.instruments = Instruments()
        self.quarantine = Quarantine(config.store.with_name(config.store.name + ".quarantine"))
        self.stopping = asyncio.Event()
        self.reloading = asyncio.Lock()
        self.seen = self.loaded = look_at(config.files)
        self.looked_at = monotonic()
        self.problem = ""
        """What was wrong with the configuration when it was last loaded anew."""
        self.not_ready = "it is starting"
        self.stuck: frozenset[str] = frozenset()
        """Checks whose plugins did not end with us; after ``run``."""

    async def run(self) -> None:
        """Start, serve until a signal comes, drain. Raises ``StoreError`` or ``ListenError`` where it cannot start."""
        async with AsyncExitStack() as stack:
            await self._start(stack)
            await self.stopping.wait()
            await self._drain()

    def redact(self, text: str) -> str:
        """Return the text without the secrets of the configuration in use."""
        return self.config.redactor(text)

    def ways_out(self, check: CheckConfig) -> tuple[Address, ...]:
        """Return who is told about a check."""
        return tuple(
            Address(receiver, channel, recipient)
            for receiver in check.notify
            for channel, way in self.config.receivers[receiver].channels.items()
            for recipient in way.recipients()
        )

    # --- start and stop ------------------------------------------------------------------------------------------

    async def _start(self, stack: AsyncExitStack) -> None:
        config, loop = self.config, asyncio.get_running_loop()
        self.lag.start()
        stack.callback(self.lag.stop)
        guard_exit(self.quarantine.blame)
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
        await self.roster.take_over(self._all_checks(config), past, config.self_notify)
        await self.outbox.start(past.pending)
        address = await stack.enter_async_context(serving(create_app(self._view()), listener))
        await stack.enter_async_context(serving_controls(self, config.control))
        self.scheduler.start()
        self.ticker.start()
        self._take_signals(loop)
        gc.collect()
        gc.freeze()  # what lives as long as we do need not be looked through again and again
        self.not_ready = ""
        log.info("serving", metrics=f"http://{address}/metrics", checks=len(config.checks), store=str(config.store))

    def _assemble(self) -> None:
        config = self.config
        self.outbox = Outbox(
            settle=self.store.settle,
            channels=_channels(config),
            clock=self.clock.now,
            redact=self.redact,
            observe=self._count_notification,
        )
        workshop = Workshop(Pool(), self.lag, self.redact)
        self.line = Line(self.clock, workshop, self.store, self.outbox, self.ways_out)
        self.dispatch = Dispatch(self.line, self.state, self.instruments, config.concurrency)
        self.scheduler = Scheduler(self.dispatch.fire)
        self.roster = Roster(self.line, self.state, self.scheduler)
        self.ticker = Ticker(self.dispatch, self.scheduler, self.lag, self._look)
        vitals = Vitals(self.state, self.store, self.outbox, self.dispatch, self.clock.now, lambda: self.problem)
        self.own_checks = tuple(self_checks(vitals))
        self.instruments.backlogs = self._backlogs
        self._adopt(config)

    def _take_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        for stop in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(stop, self.stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload_soon)

    async def _drain(self) -> None:
        """Let what is under way end, within the grace period; deliveries still waiting go out at the next start."""
        log.info("stopping", grace=self.config.grace)
        self.not_ready = "it is stopping"
        ends = monotonic() + self.config.grace
        self.scheduler.stop()
        self.ticker.stop()
        await self.dispatch.drain(self.config.grace)
        await self.outbox.drain(max(0.0, ends - monotonic()))
        self.stuck = frozenset(self.line.running)
        log.info("stopped", stuck=sorted(self.stuck) or None)

    # --- checks come and go --------------------------------------------------------------------------------------

    def _all_checks(self, config: Config) -> list[CheckConfig]:
        return [
            *(replace(check, notify=config.self_notify) for check in self.own_checks),
            *(self.quarantine.keep_apart(check) for check in config.checks.values()),
        ]

    def _adopt(self, config: Config) -> None:
        """Take over the settings of a configuration; all of it takes effect at once."""
        self.config = config
        self.line.location, self.line.buckets = config.location, config.duration_buckets
        self.dispatch.concurrency = config.concurrency
        self.store.history = config.history
        self.quarantine.fingerprints = {name: check.fingerprint for name, check in config.checks.items()}
        self.instruments.know_channels(
            (receiver.name, channel) for receiver in config.receivers.values() for channel in receiver.channels
        )
        self.instruments.reload_successful.set(1)
        self.instruments.reload_success_timestamp.set(self.clock.now())
        configure(config.log, config.redactor)

    async def reload(self) -> str:
        """Load the configuration anew and take it over as a whole. Raises ``Refused`` with all that is wrong."""
        async with self.reloading:
            self.loaded = self.seen = look_at(self.config.files)
            try:
                config = await load_in_child(self.paths, self.config)
            except ConfigError as error:
                raise self._refuse([str(problem) for problem in error.problems]) from None
            changes = await self._apply(config)
            self.problem = ""
            self.loaded = self.seen = look_at(config.files)
            self._look_at_config()
            log.info("reloaded", checks=len(config.checks), changes=str(changes))
            return f"reloaded: {changes}"

    def _refuse(self, problems: list[str]) -> Refused:
        for problem in problems:
            log.error("the configuration is invalid; the old one runs on", problem=problem)
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        self.problem = f"the changed configuration is invalid, and the old one runs on: {problems[0]}{more}"
        self.instruments.reload_successful.set(0)
        self._look_at_config()
        return Refused("the configuration is invalid; the old one runs on", problems, status=422)

    def _look_at_config(self) -> None:
        """Tell at once, not on the next slot."""
        self.dispatch.spawn(self.dispatch.run_now(self.state.checks[CONFIG]), CONFIG)

    async def _apply(self, config: Config) -> Changes:
        for setting in ("store", "control", "web"):
            if getattr(config, setting) != getattr(self.config, setting):
                log.warning("this change takes effect at the next start only", setting=setting)
        changes = self.roster.compare(self._all_checks(config))
        await self.roster.withdraw(changes)
        self._adopt(config)
        self.outbox.reload(_channels(config))
        await self.roster.enlist(changes)
        return changes

    def _look(self) -> None:
        """Reload when a file has changed, and has stopped changing."""
        if monotonic() - self.looked_at < LOOK_EVERY or self.reloading.locked():
            return
        self.looked_at = monotonic()
        before, self.seen = self.seen, look_at(self.config.files)
        if self.seen != self.loaded and self.seen == before:
            self.reload_soon()

    def reload_soon(self) -> None:
        """Reload beside everything else; what is wrong is logged and told."""
        self.dispatch.spawn(self._reload_quietly(), "reload")

    async def _reload_quietly(self) -> None:
        with suppress(Refused):
            await self.reload()

    # --- what others ask -----------------------------------------------------------------------------------------

    async def run_now(self, name: str) -> dict[str, Any]:
        """Run a check out of turn and return how it stands then; one in quarantine gets another chance."""
        live = self.state.checks.get(name)
        if live is None:
            raise Refused(f"there is no check {name}", status=404)
        if self.quarantine.lift(name):
            self.roster.change(live, self.config.checks[name])
        if await self.dispatch.run_now(live) is None:
            raise Refused(f"{name} is running already")
        return describe(live, self.scheduler.next_run(name), self.redact)

    def status(self) -> dict[str, Any]:
        """Return how things stand, in short."""
        checks = [
            describe(live, self.scheduler.next_run(name), self.redact) for name, live in self.state.checks.items()
        ]
        return {
            "ready": not self.not_ready,
            "config_problem": self.problem,
            "store_problem": self.store.failing,
            "outbox_pending": sum(backlog.pending for backlog in self.outbox.backlogs(self.clock.now())),
            "checks": checks,
        }

    def _view(self) -> View:
        return View(
            self.state,
            self.instruments,
            config=lambda: self.config,
            unhealthy=self._why_unhealthy,
            unready=lambda: self.not_ready,
            next_run=self.scheduler.next_run,
        )

    def _why_unhealthy(self) -> str:
        silent = monotonic() - self.ticker.beat
        return f"the ticker has been silent for {silent:.0f} s" if silent > SILENT_TICKER else ""

    def _count_notification(self, address: Address, outcome: str) -> None:
        self.instruments.notifications.labels(address.receiver, address.channel, outcome).inc()

    def _backlogs(self) -> Iterable[Backlog]:
        return self.outbox.backlogs(self.clock.now())


def _channels(config: Config) -> dict[str, Channel]:
    return {name: channel for receiver in config.receivers.values() for name, channel in receiver.channels.items()}

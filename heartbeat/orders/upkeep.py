"""Seeing to what people asked for: taken over at the start, recorded, ended in time, kept up with new names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from heartbeat.config.model import CheckConfig
from heartbeat.core.advance import Removal
from heartbeat.core.quiet import Order, QuietKind, end, follow
from heartbeat.core.status import incidents
from heartbeat.dispatch import Dispatch
from heartbeat.line import take
from heartbeat.quiet.times import Quiet, is_covered
from heartbeat.scheduler import Scheduler
from heartbeat.state import Live
from heartbeat.store import StoreFailed
from heartbeat.store.quiet import load

log = structlog.get_logger()


@dataclass(slots=True)
class Upkeep:
    """Sees to it that orders hold, survive a restart and come to their end."""

    dispatch: Dispatch
    scheduler: Scheduler
    quiet: Quiet
    unrecorded: dict[str, Order] = field(default_factory=dict)
    """What the store could not take, by id."""
    _witnesses: dict[str, str] = field(default_factory=dict)
    """By id of an order that lasts until all is well the name of a check that was not, the last time we looked."""

    @property
    def now(self) -> float:
        """The time on the daemon's clock."""
        return self.dispatch.line.clock.now()

    async def recall(self, checks: Mapping[str, CheckConfig]) -> None:
        """Take over what an earlier life of the daemon was asked for; before any check is planned."""
        for order in await self.dispatch.line.store.ask(load):
            self.quiet.put(order)
        self.follow(checks)

    async def enforce(self) -> None:
        """Let checks rest that were switched off; a crash may have come between the order and this."""
        for name, live in list(self.dispatch.state.checks.items()):
            if order := self.quiet.disabled(name):
                await self.rest(live, order)

    def follow(self, checks: Mapping[str, CheckConfig]) -> None:
        """Let orders that name a check which has a new name name that."""
        if not self.quiet.orders:
            return
        renamed = {check.was: name for name, check in checks.items() if check.was and check.was not in checks}
        for order in list(self.quiet.orders.values()) if renamed else ():
            for old in order.matcher.checks:
                if old in renamed and (changed := follow(self.quiet.orders[order.id], old, renamed[old])):
                    self.quiet.put(changed)
                    self.record_soon(changed)

    def tick(self) -> None:
        """End what is over; called once a second."""
        now = self.now
        for order in list(self.quiet.orders.values()):
            if order.kind is QuietKind.DISABLED:
                self._forget(order)  # a run that was under way may have come to its end since
            if why := self._why_over(order, now):
                self.record_soon(self.end(order, why, now))
        if self.unrecorded and not self.dispatch.line.store.failing:
            for order in list(self.unrecorded.values()):
                self.record_soon(order)

    async def rest(self, live: Live, order: Order) -> None:
        """Withdraw what is open of a check that is off, and forget what was found last: it says nothing of now."""
        self.scheduler.drop(live.config.name)
        await take(self.dispatch.line, live, Removal(live.config.name, order.say()))
        self._forget(order)

    def end(self, order: Order, why: str, now: float) -> Order:
        """Let an order come to its end, now; return what is to be recorded."""
        ended = end(order, now, why)
        self.quiet.put(ended)
        self._witnesses.pop(order.id, None)
        return ended

    async def record(self, order: Order) -> str:
        """Record an order; return what the one who gave it has to know, where that fails."""
        self.unrecorded.pop(order.id, None)
        try:
            await self.dispatch.line.store.keep(order)
        except StoreFailed as error:
            latest = order if order.ended is not None else self.quiet.orders.get(order.id)
            if latest is not None:  # else it has ended meanwhile, which is recorded by itself
                self.unrecorded[order.id] = latest
            log.error("not recorded", order=order.id, error=str(error))
            return f"it holds in memory only, and is forgotten if the daemon ends before this is over: {error}"
        return ""

    def record_soon(self, order: Order) -> None:
        """Record an order beside everything else."""
        self.unrecorded.pop(order.id, None)
        self.dispatch.spawn(self.record(order), order.id)

    def _forget(self, order: Order) -> None:
        for live in filter(None, map(self.dispatch.state.checks.get, order.matcher.checks)):
            live.forget()

    def _why_over(self, order: Order, now: float) -> str:
        if order.kind is QuietKind.ACKNOWLEDGEMENT:
            return "" if self._is_any_open(order) else "what was acknowledged has ended"
        if order.end is not None and now >= order.end:
            return "its time was over"
        if order.until_recovered and not self._is_any_wrong(order):
            return "all that it covers is well again"
        return ""

    def _is_any_open(self, order: Order) -> bool:
        lives = (self.dispatch.state.checks.get(name) for name in order.matcher.checks)
        return any(one.id in order.incidents for live in lives if live for _, one in incidents(live.status))

    def _is_any_wrong(self, order: Order) -> bool:
        """Say whether anything is open of what an order covers; looks first where it was the last time."""
        checks = self.dispatch.state.checks
        witness = checks.get(self._witnesses.get(order.id, ""))
        if witness and is_open(witness) and is_covered(witness.config, order.matcher):
            return True
        for name, live in checks.items():
            if is_open(live) and is_covered(live.config, order.matcher):
                self._witnesses[order.id] = name
                return True
        return False


def is_open(live: Live) -> bool:
    """Say whether anything is open of a check. Asked of all checks at once, so it is not put more shortly."""
    status = live.status
    return bool(status.incident or status.broken_incident or status.absent or status.burning or status.flapping)

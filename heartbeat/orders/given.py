"""What people ask of the running daemon: silences, maintenance, to acknowledge, to switch a check off and on.

Each is recorded, with who and why, before it is confirmed. Where the store fails it holds all the same, in memory, and
the answer says so: who is woken at night by a full disk must be able to make it quiet. It is recorded when the store is
back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from os import urandom
from typing import Any

import structlog

from heartbeat.config.problem import nearest, quoted
from heartbeat.control import Refused
from heartbeat.core.advance import Taken
from heartbeat.core.quiet import Matcher, Order, QuietKind
from heartbeat.core.status import Acknowledgement, incidents
from heartbeat.dispatch import Dispatch
from heartbeat.line import take
from heartbeat.orders.asking import Ask, Stated, state
from heartbeat.orders.upkeep import Upkeep, is_open
from heartbeat.quiet.times import Quiet, covered
from heartbeat.state import Live
from heartbeat.web.quiet import describe_order

log = structlog.get_logger()

AT_MOST = 1000
"""How many orders may be open."""
NAMED = 5
Answer = dict[str, Any]


@dataclass(slots=True)
class Orders:
    """Takes orders; each is one method. They get the name in the route, and what the body says."""

    upkeep: Upkeep
    redact: Callable[[str], str] = str

    @property
    def quiet(self) -> Quiet:
        """All that keeps messages back."""
        return self.upkeep.quiet

    @property
    def dispatch(self) -> Dispatch:
        """What runs checks."""
        return self.upkeep.dispatch

    @property
    def checks(self) -> dict[str, Live]:
        """All checks by name."""
        return self.dispatch.state.checks

    async def silence(self, _: str, ask: Ask) -> Answer:
        """Keep back the messages about some checks."""
        stated = await self._state(ask)
        order = self._order(QuietKind.SILENCE, stated)
        names = covered(self.dispatch.state, order.matcher)
        if order.until_recovered and not any(is_open(self.checks[name]) for name in names):
            raise Refused("nothing that this covers is wrong at the moment; say how long instead: --for 2h")
        return await self._open(order, f"{order.say()}; {_count(names)}")

    async def maintain(self, _: str, ask: Ask) -> Answer:
        """Begin a maintenance by hand."""
        stated = await self._state(ask, named=True)
        if any(window.entry.name == stated.name for window in self.quiet.windows):
            raise Refused(f"there is a maintenance {stated.name} in the configuration; choose another name")
        if self._find(QuietKind.MAINTENANCE, stated.name):
            raise Refused(f"the maintenance {stated.name} is under way; end it first, or choose another name")
        order = self._order(QuietKind.MAINTENANCE, stated)
        return await self._open(order, f"{order.say()}; {_count(covered(self.dispatch.state, order.matcher))}")

    async def end_silence(self, name: str, ask: Ask) -> Answer:
        """End a silence before its time; ``name`` is its id, or how that begins."""
        found = self._find(QuietKind.SILENCE, name)
        if len(found) != 1:
            raise Refused(f"{'several silences begin' if found else 'no silence begins'} with {quoted(name)}; "
                          "heartbeat silence list shows them", status=404)  # fmt: skip
        return await self._close(found[0], ask)

    async def end_maintenance(self, name: str, ask: Ask) -> Answer:
        """End a maintenance that was begun by hand."""
        if found := self._find(QuietKind.MAINTENANCE, name):
            return await self._close(found[0], ask)
        if any(window.entry.name == name for window in self.quiet.windows):
            raise Refused(f"the maintenance {name} is configured; change it there to end it sooner")
        raise Refused(f"no maintenance {quoted(name)} is under way; heartbeat maintenance list shows them", status=404)

    async def acknowledge(self, name: str, ask: Ask) -> Answer:
        """Take care of what is open of a check: nobody is reminded any more until it ends."""
        stated = self._stated(ask, needs_reason=False)
        live = await self._find_open(name)
        taken = [incident for _, incident in incidents(live.status)]
        before = sorted({one.acknowledged.who for one in taken if one.acknowledged} - {stated.by})
        check, now = live.config.name, self.upkeep.now
        order = self._order(QuietKind.ACKNOWLEDGEMENT, replace(stated, name=check, matcher=Matcher((check,))))
        ids = tuple(incident.id for incident in taken)
        await take(self.dispatch.line, live, Taken(check, Acknowledgement(stated.by, stated.reason, now)))
        for old in self._find(QuietKind.ACKNOWLEDGEMENT, check):
            self.upkeep.record_soon(self.upkeep.end(old, f"acknowledged again by {stated.by}", now))
        instead = f" in place of {', '.join(before)}" if before else ""
        what = "1 incident" if len(ids) == 1 else f"{len(ids)} incidents"
        message = f"{what} of {check} acknowledged by {stated.by}{instead}: no reminders until it ends"
        return await self._open(replace(order, incidents=ids), message)

    async def disable(self, name: str, ask: Ask) -> Answer:
        """Switch a check off: it does not run, and what is open of it is withdrawn."""
        stated = self._stated(ask)
        live = await self._find_check(name)
        if order := self.quiet.disabled(name):
            raise Refused(f"{name} is off already: {order.say()}")
        order = self._order(QuietKind.DISABLED, replace(stated, name=name, matcher=Matcher((name,))))
        answer = await self._open(order, f"{name} is off until somebody switches it on: heartbeat enable {name}")
        await self.upkeep.rest(live, order)
        return answer

    async def enable(self, name: str, ask: Ask) -> Answer:
        """Switch a check on again, and run it at once; what its own switch says holds nevertheless."""
        order, switched = self.quiet.disabled(name), self.quiet.switched.get(name)
        if order is None:
            live = await self._find_check(name)
            if switched:
                raise Refused(f"{name} is {switched.say()}; only that can switch it on")
            raise Refused(f"{live.config.name} is not off")
        answer = await self._close(order, ask)
        if switched:
            answer["message"] += f"; but {name} stays off, it is {switched.say()}"
        elif back := self.checks.get(name):
            back.retired = False
            self.upkeep.scheduler.plan(name, back.config.schedule, is_new=False)
            self.dispatch.spawn(self.dispatch.run_now(back), name)
            answer["message"] = f"{name} is on again and runs now"
        return answer

    # --- how that is done ----------------------------------------------------------------------------------------

    async def _open(self, order: Order, message: str) -> Answer:
        self.quiet.put(order)
        if order.kind is QuietKind.DISABLED:
            for name in order.matcher.checks:
                self.upkeep.scheduler.drop(name)
        return await self._answer(order, message)

    async def _close(self, order: Order, ask: Ask) -> Answer:
        stated = self._stated(ask, needs_reason=False)
        because = f": {stated.reason}" if stated.reason else ""
        ended = self.upkeep.end(order, f"ended by {stated.by}{because}", self.upkeep.now)
        return await self._answer(ended, f"ended: {order.say()}")

    async def _answer(self, order: Order, message: str) -> Answer:
        log.info(order.kind.value, order=order.id, checks=str(order.matcher), by=order.owner, reason=order.reason,
                 until=order.end, ended=order.why_ended or None)  # fmt: skip
        warning = await self.upkeep.record(order)
        return {"message": message, "warning": warning, "order": describe_order(order, self.upkeep.now, self.redact)}

    def _order(self, kind: QuietKind, stated: Stated) -> Order:
        if len(self.quiet.orders) >= AT_MOST:
            raise Refused(f"{AT_MOST} silences and the like are open, which is the most; end some, or use patterns")
        return Order(_new_id(kind), kind, stated.matcher, stated.by, stated.reason, self.upkeep.now, stated.end,
                     stated.until_recovered, stated.name)  # fmt: skip

    async def _state(self, ask: Ask, *, named: bool = False) -> Stated:
        stated = state(self._clean(ask), self.upkeep.now, named=named)
        for name in stated.matcher.checks:
            if "*" not in name:
                await self._find_check(name)
        return stated

    def _stated(self, ask: Ask, *, needs_reason: bool = True) -> Stated:
        return state(self._clean(ask), self.upkeep.now, needs_reason=needs_reason, covers=False)

    def _clean(self, ask: Ask) -> Ask:
        if self.dispatch.line.closing.is_set():
            raise Refused("the daemon is stopping")
        return ask.model_copy(update={"by": self.redact(ask.by), "reason": self.redact(ask.reason)})

    def _find(self, kind: QuietKind, name: str) -> list[Order]:
        """Return the open orders of this name, or whose id begins so."""
        begins = (name, f"{_prefix(kind)}{name}")
        orders = (order for order in self.quiet.orders.values() if order.kind is kind and name)
        return [order for order in orders if order.name == name or order.id.startswith(begins)]

    async def _find_check(self, name: str) -> Live:
        checks = self.checks
        if name not in checks:
            hint = await asyncio.to_thread(nearest, name, list(checks))
            raise Refused(f"there is no check {quoted(name)}{hint}", status=404)
        return checks[name]

    async def _find_open(self, name: str) -> Live:
        """Return the check of this name, or of the open incident whose id begins so."""
        checks = self.checks
        if name not in checks:
            begins = (name, f"inc_{name}")
            found = [live for live in checks.values() for _, one in incidents(live.status) if one.id.startswith(begins)]
            if len(found) == 1:
                return found[0]
            if found:
                raise Refused(f"several open incidents begin with {quoted(name)}; write more of it", status=404)
            if name.startswith("inc_"):
                raise Refused(f"no incident {quoted(name)} is open", status=404)
        live = await self._find_check(name)
        if not is_open(live):
            raise Refused(f"nothing is open of {name}: there is nothing to acknowledge")
        return live


def _prefix(kind: QuietKind) -> str:
    return f"{kind.value[:3]}_"


def _new_id(kind: QuietKind) -> str:
    return f"{_prefix(kind)}{urandom(5).hex()}"


def _count(names: list[str]) -> str:
    """Say what is covered."""
    if not names:
        return "it covers no check at the moment"
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"it covers {len(names)} check{'s' * (len(names) > 1)}: {', '.join(names[:NAMED])}{more}"

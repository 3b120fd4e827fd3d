"""What the daemon does when it is asked to over its socket: each command is one method."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from heartbeat.config import Config
from heartbeat.control import Refused
from heartbeat.dispatch import Dispatch
from heartbeat.orders.asking import Ask, read_ask, read_test
from heartbeat.orders.deploying import Deploying
from heartbeat.orders.given import Orders
from heartbeat.outbox import Outbox
from heartbeat.quarantine import Quarantine
from heartbeat.quiet.surroundings import Surroundings
from heartbeat.reload import Reloader
from heartbeat.roster import Roster
from heartbeat.scheduler import Scheduler
from heartbeat.selfwatch.deadman import DeadMan
from heartbeat.state import Live
from heartbeat.store import StoreFailed
from heartbeat.store.quiet import past
from heartbeat.tryout import data_of, try_out
from heartbeat.web.checks import describe, look_around
from heartbeat.web.quiet import PAST, describe_quiet

DEPLOYING = frozenset({"start_deployment", "finish_deployment"})
"""What ``Deploying`` does, of what can be asked for."""


@dataclass(slots=True)
class Commands:
    """The controls of a running daemon; see ``control.Controls``."""

    dispatch: Dispatch
    scheduler: Scheduler
    roster: Roster
    outbox: Outbox
    quarantine: Quarantine
    reloader: Reloader
    deadman: DeadMan
    orders: Orders
    deploying: Deploying
    surroundings: Surroundings
    config: Callable[[], Config]
    unready: Callable[[], str]

    async def reload(self) -> str:
        """Load the configuration anew. Raises ``Refused`` with all that is wrong with it."""
        return await self.reloader.reload()

    async def run_now(self, name: str) -> dict[str, Any]:
        """Run a check out of turn and return how it stands then; one in quarantine gets another chance."""
        self.reloader.refuse_at_the_end()
        live = self._find(name)
        if order := self.orders.quiet.disabled(name):
            raise Refused(f"{name} is {order.say()}; switch it on first: heartbeat enable {name}")
        if switched := self.orders.quiet.switched.get(name):
            raise Refused(f"{name} is {switched.say()}; only that can switch it on")
        try:
            if self.quarantine.lift(name):
                self.roster.change(live, self.config().checks[name])
        except OSError as error:
            raise Refused(f"the quarantine of {name} cannot be lifted: {error}; make room beside the store") from None
        if await self.dispatch.run_now(live) is None:
            raise Refused(f"{name} is running already")
        return self._describe(live)

    async def replay(self, delivery: str) -> str:
        """Send a delivery once more, under the same id."""
        self.reloader.refuse_at_the_end()
        try:
            again = await self.outbox.replay(delivery)
        except (LookupError, StoreFailed) as error:
            raise Refused(self.config().redactor(str(error))) from None
        return f"{again.event.kind} of {again.event.check} goes out to {again.address.channel} once more"

    async def test_alert(self, receiver: str, body: object) -> dict[str, Any]:
        """Send a test alert, and wait for what is answered; see ``tryout``."""
        self.reloader.refuse_at_the_end()
        asked = read_test(body)
        try:
            answers = await try_out(self.dispatch.line, self.config(), receiver, asked.check, asked.wait)
        except LookupError as error:
            raise Refused(str(error.args[0]), status=404) from None
        return data_of(answers)

    async def order(self, word: str, name: str, body: object) -> dict[str, Any]:
        """Do what somebody asks for; see ``Orders`` and ``Deploying``."""
        if word in DEPLOYING:
            return await self.mark(word, name, body)
        doing: Callable[[str, Ask], Awaitable[dict[str, Any]]] = getattr(self.orders, word)
        return await doing(name, read_ask(body))

    async def mark(self, word: str, name: str, body: object, by: str = "") -> dict[str, Any]:
        """Mark a deployment; ``by`` is whose token it was that came with it, where it came over TCP."""
        doing: Callable[[str, object, str], Awaitable[dict[str, Any]]] = getattr(self.deploying, word)
        return await doing(name, body, by)

    async def mark_for(self, word: str, name: str, body: object, by: str) -> tuple[int, dict[str, Any]]:
        """Mark a deployment for who is only known by a token; return the status and the answer, as in HTTP."""
        try:
            return 200, await self.mark(word, name, body, by)
        except Refused as refused:
            return refused.status, {"error": refused.sentence, "problems": list(refused.problems)}

    async def quiet(self, *, everything: bool) -> dict[str, Any]:
        """Return what keeps messages back, and, if everything is asked for, what did."""
        line = self.dispatch.line
        try:
            ended = await line.store.ask(partial(past, limit=PAST)) if everything else ()
        except StoreFailed as error:
            raise Refused(self.config().redactor(str(error))) from None
        return describe_quiet(self.orders.quiet, line.clock.now(), self.config().redactor, ended)

    def status(self) -> dict[str, Any]:
        """Return how things stand, in short."""
        line = self.dispatch.line
        return {
            "ready": not self.unready(),
            "config_problem": self.reloader.problem,
            "store_problem": line.store.failing,
            "watchdog_problem": self.deadman.trouble,
            "outbox_pending": sum(backlog.pending for backlog in self.outbox.backlogs(line.clock.now())),
            "checks": [self._describe(live) for live in self.dispatch.state.checks.values()],
        }

    def _find(self, name: str) -> Live:
        live = self.dispatch.state.checks.get(name)
        if live is None:
            raise Refused(f"there is no check {name}", status=404)
        return live

    def _describe(self, live: Live) -> dict[str, Any]:
        around = look_around(self.surroundings, live, self.dispatch.line.clock.now())
        return describe(live, self.scheduler.next_run(live.config.name), self.config().redactor, around)

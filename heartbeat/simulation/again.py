"""Judging again: recorded results through the daemon's own line, under other limits and policies.

What people asked for then (silences, deployments, that they take care) happens again at its time. What cannot be had
from results does not: that a check did not run, and looks that no policy had asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from structlog.testing import capture_logs

from heartbeat.config.model import Config
from heartbeat.core.advance import Removal, Taken
from heartbeat.core.deployment import Deployment, DeploymentState
from heartbeat.core.model import Delivery, Result, Run
from heartbeat.core.passing import LOOK_AGAIN, NEVER
from heartbeat.core.policy import Routes
from heartbeat.core.quiet import Order, QuietKind
from heartbeat.core.status import Acknowledgement, incidents
from heartbeat.line import Line, run_slot, take, tick_of
from heartbeat.quiet.storms import NETWORK
from heartbeat.selfwatch.vitals import self_checks
from heartbeat.simulation.play import Simulation, Work
from heartbeat.simulation.props import paced
from heartbeat.state import Live
from heartbeat.store import Entry, Recorded

LOOKS = 20
"""Into how many steps the time between two runs is divided, while something is kept back."""


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody did at a time: an order or a deployment as it was from then on."""

    at: float
    what: Order | Deployment


def deeds_of(orders: Iterable[Order], deployments: Iterable[Deployment]) -> list[Deed]:
    """Return what people did, in order: each begins as it was asked for, and ends when it did."""
    found = []
    for order in orders:
        found.append(Deed(order.start, replace(order, ended=None, why_ended="")))
        if order.ended is not None:
            found.append(Deed(order.ended, order))
    for one in deployments:
        begun = replace(one, state=DeploymentState.RUNNING, ended=None, released=None)
        found.append(Deed(one.start, begun))
        found += [Deed(at, one) for at in (one.ended, one.released) if at is not None]
    return sorted(found, key=lambda deed: deed.at)


class Again(Simulation):
    """One replay. ``told`` is what would have been sent, or not, and why.

    Args:
        config: the limits, policies and receivers to judge by.
        start: when the first of the runs took place.
        since: from when on they are counted; those before prepare what is remembered.
    """

    def __init__(self, config: Config, start: float, since: float) -> None:
        super().__init__(config, "", start=start)
        self._since = since
        network = next(check for check in self_checks(self._vitals()) if check.name == NETWORK)
        self._state.checks[NETWORK] = Live(replace(paced(network, None), notify=Routes(config.self_notify)))
        self.told: list[Delivery] = []
        self.runs = 0
        self.unasked = 0
        """Second looks that were made, and would not have been."""
        self.unmade = 0
        """Second looks that would have been made, and were not: nobody knows what they would have found."""
        self._result: tuple[float, Result] | None = None
        self._slots: dict[str, float] = {}
        self._awake: set[str] = set()

    def judge(self, runs: Iterable[Recorded], deeds: Iterable[Deed], until: float) -> None:
        """Judge runs again, in the order of their times, while what people did happens at its time."""
        waiting = list(reversed(list(deeds)))
        for recorded in runs:
            with capture_logs():  # what the daemon would log is no part of it
                while waiting and waiting[-1].at <= recorded.verdict.at:
                    self._happen(waiting.pop())
                self._take_run(recorded)
            self.runs += recorded.verdict.at >= self._since
        with capture_logs():
            while waiting and waiting[-1].at <= until:
                self._happen(waiting.pop())
            self._pass_until(until)
        self._forget_second_looks()

    # --- what happens -------------------------------------------------------------------------------------------------

    def _take_run(self, recorded: Recorded) -> None:
        run, at = recorded.run, recorded.verdict.at
        name = run.check
        live = self._state.checks.get(name)
        if live is None:
            return
        self._pass_until(at)
        work = self._work(live, run)
        if work is not None:
            self._result = (at, recorded.result)
            self.now = min(at, run.started)
            self._drive(live, work)
            self.now = at

    def _work(self, live: Live, run: Run) -> Work | None:
        """Return what a run goes on with; None where the policy would not have asked for it."""
        name = live.config.name
        _, waiting = self._second_looks.pop(name, (NEVER, None))
        is_second = run.attempt > 0 and self._slots.get(name) == run.slot
        if is_second:
            self.unasked += waiting is None
            return waiting
        if waiting:
            waiting.close()
            self.unmade += 1
        if not run.attempt:
            self._slots[name] = run.slot
        return run_slot(self._line, live, run.slot, run.attempt)

    def _happen(self, deed: Deed) -> None:
        self._pass_until(deed.at)
        what = deed.what
        if isinstance(what, Deployment):
            self._quiet.mark(what)
            return
        self._quiet.put(what)
        for live in filter(None, map(self._state.checks.get, what.matcher.checks)):
            name = live.config.name
            if what.kind is QuietKind.ACKNOWLEDGEMENT and what.ended is None and any(incidents(live.status)):
                taken = Acknowledgement(what.owner, what.reason, deed.at)
                self._drive(live, take(self._line, live, Taken(name, taken)))
            elif what.kind is QuietKind.DISABLED and what.ended is None:
                self._drive(live, take(self._line, live, Removal(name, what.say())))
            elif what.kind is QuietKind.DISABLED:
                live.retired = False

    # --- what the line works with ---------------------------------------------------------------------------------

    async def _perform(self, _line: Line, _live: Live, _run: Run) -> Result:
        if self._result is None:
            raise RuntimeError("nothing runs in a replay but what was recorded")
        self.now, result = self._result
        self._result = None
        return result

    def _ask(self, name: str) -> None:
        """Look at nothing: what was looked at then is among the runs."""

    def _note(self, entry: Entry) -> None:
        self.told += entry.deliveries

    def _drive(self, live: Live, work: Work) -> None:
        super()._drive(live, work)
        (self._awake.discard if live.status.wake_at is None else self._awake.add)(live.config.name)

    # --- time -------------------------------------------------------------------------------------------------------

    def _pass_until(self, until: float, _going_on_with: str = "") -> None:
        step = max(LOOK_AGAIN, (until - self.now) / LOOKS)
        while (at := self._next_tick(step)) <= until:
            self.now = at
            for live in list(self._waking(at)):
                if tick := tick_of(self._line, live, at):
                    self._drive(live, take(self._line, live, tick))
                else:
                    self._surroundings.look_around(live, at)
            self._watch_storms()
        self.now = max(self.now, until)

    def _waking(self, at: float) -> Iterator[Live]:
        for name in sorted(self._awake):
            live = self._state.checks[name]
            if (live.status.wake_at or NEVER) <= at:
                yield live

    def _next_tick(self, step: float) -> float:
        soon = self.now + step
        if self._surroundings.storms.storm:
            return soon
        wakes: Any = (self._state.checks[name].status.wake_at for name in self._awake)
        return min((wake if wake > self.now else soon for wake in wakes if wake is not None), default=NEVER)

"""Playing a script: ``run_slot``, ``take`` and ``tick_of`` of ``line``, with the daemon's own state and surroundings.

Only what acts is another: results come from a script, a pause passes at once, and what would be recorded becomes the
transcript. Nothing leaves, and nothing is kept.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Iterator
from contextvars import copy_context
from dataclasses import replace
from math import ceil
from typing import Any, cast

from structlog.testing import capture_logs

from heartbeat.absence import Absences
from heartbeat.clock import Clock
from heartbeat.config.model import Config
from heartbeat.core.advance import Removal, Taken
from heartbeat.core.made_up import make_up
from heartbeat.core.model import Outcome, Reason, Result, Run, Severity, Verdict
from heartbeat.core.passing import LOOK_AGAIN, NEVER, rearm
from heartbeat.core.policy import Routes
from heartbeat.core.quiet import Matcher, Order, QuietKind, end
from heartbeat.core.script import RUNS, Act
from heartbeat.core.standing import LOOKS_APART
from heartbeat.core.status import FRESH, Acknowledgement
from heartbeat.core.switches import OFF, SwitchedOff
from heartbeat.core.transcript import Did, Note, Ran, Told
from heartbeat.core.windows import Windows
from heartbeat.dispatch import LOOK, Dispatch
from heartbeat.line import Line, run_slot, take, tick_of
from heartbeat.outbox import Outbox
from heartbeat.quiet.storms import NETWORK
from heartbeat.quiet.surroundings import Surroundings
from heartbeat.quiet.times import Quiet
from heartbeat.runner import Workshop
from heartbeat.scheduler import Scheduler
from heartbeat.selfwatch.vitals import Vitals, self_checks
from heartbeat.simulation.props import Hands, Letters, Paper, Timetable, first_slot, next_slot, paced, pause
from heartbeat.state import Live, State
from heartbeat.store import Entry, Store
from heartbeat.store.rows import encode, read_status

START = 1_767_614_400.0
"""When a story begins where nobody says otherwise: Monday 5 January 2026, 12:00:00 UTC."""
LOOKS = 5000
"""Into how many steps a long wait is divided, while something is to be told as soon as nothing stands against it."""

Work = Coroutine[float, None, Any]


class Simulation:
    """One story of a configuration's checks. ``play`` is to be called once.

    Args:
        config: what the checks are, and who is told.
        check: the name of the check that the words are about where they name none.
        every: seconds between the runs of every check, instead of the configured ones.
        start: when the first run takes place.
    """

    def __init__(self, config: Config, check: str, *, every: float | None = None, start: float = START) -> None:
        checks = {name: paced(one, every) for name, one in config.checks.items()}
        self.now = self._start = start
        self._config = config
        self._check = check
        self._notes: list[Note] = []
        self._state = State({name: Live(one) for name, one in checks.items()})
        self._due = {name: first_slot(one, start) for name, one in checks.items()}
        self._second_looks: dict[str, tuple[float, Work]] = {}
        self._asked: set[str] = set()
        """Checks that owe somebody a look out of turn."""
        self._looked: dict[str, float] = {}
        self._results: dict[str, Result] = {}
        """What each check found last: a look that the script says nothing of finds that again."""
        self._kept: dict[str, Entry] = {}
        self._before = Severity.OK
        self._quiet = Quiet()
        self._quiet.adopt(config.maintenance)
        others = (name for name, one in checks.items() if name != check and one.enabled == OFF)
        self._quiet.switched = dict.fromkeys(others, SwitchedOff(str(OFF)))
        self._line = self._make_line()
        self._surroundings = self._surround()
        self._timetable = Timetable(self._line, self._state)
        self._absences = Absences(cast("Dispatch", self._timetable), cast("Scheduler", self._timetable))

    def play(self, acts: Iterable[Act]) -> Iterator[Note]:
        """Let it happen, and yield what it led to. Raises ``ValueError`` for what cannot happen."""
        network = next(check for check in self_checks(self._vitals()) if check.name == NETWORK)
        self._state.checks[NETWORK] = Live(replace(network, notify=Routes(self._config.self_notify)))
        for act in acts:
            with capture_logs():  # what the daemon would log is no part of the story
                self._take_slot(act) if act.verb in RUNS else self._do(act)
            yield from self._notes
            self._notes.clear()
        self._forget_second_looks()

    # --- what the line works with --------------------------------------------------------------------------------

    def _make_line(self) -> Line:
        return Line(
            clock=cast("Clock", Hands(lambda: self.now)),
            workshop=cast("Workshop", None),
            store=cast("Store", Paper(self._note)),
            outbox=cast("Outbox", Letters()),
            ways_out=self._config.ways_out,
            unwell=self._state.unwell,
            look_at_parents=lambda live: self._surroundings.look_around(live, self.now),
            perform=self._perform,
            pause=pause,
            location=self._config.location,
            buckets=self._config.duration_buckets,
        )

    def _surround(self) -> Surroundings:
        around = Surroundings(self._state, self._quiet, self._ask)
        around.adopt({name: live.config for name, live in self._state.checks.items()}, self._config.storm)
        self._line.against, self._line.held_back = around.against, around.held_back
        return around

    def _vitals(self) -> Vitals:
        """Return what the daemon's check of its network looks at."""
        none = cast("Any", None)
        return Vitals(self._state, none, none, none, none, none, self._surroundings.storms)

    async def _perform(self, _line: Line, live: Live, _run: Run) -> Result:
        if live.config.name != NETWORK:
            return self._results[live.config.name]
        problem = self._vitals().network_problem()
        return Result(Outcome.FAIL, 0.0, Reason.CONNECT, problem) if problem else Result(Outcome.OK, 0.0)

    def _ask(self, name: str) -> None:
        """Note that somebody wants to know how a check is; as in ``dispatch``, not again and again."""
        if name in self._state.checks and self.now >= self._looked.get(name, -NEVER) + LOOKS_APART:
            self._looked[name] = self.now
            self._asked.add(name)

    def _note(self, entry: Entry) -> None:
        """Turn what would be recorded into what is shown, and keep what a restart would find."""
        if entry.status is not None:
            self._kept[entry.name] = entry
        if entry.run and entry.verdict:
            after = self._state.checks[entry.name].severity
            self._notes.append(Ran(self.now, entry.name, entry.verdict, self._before, after))
        self._notes += [Told(self.now, delivery) for delivery in entry.deliveries]

    # --- words -----------------------------------------------------------------------------------------------------

    def _take_slot(self, act: Act) -> None:
        live = self._live(act)
        config, name = live.config, live.config.name
        at, work = self._second_looks.pop(name, (NEVER, None))
        if work and (act.verb == "missed" or at >= self._due[name]):
            work.close()
            work = None
        self._pass_until(at if work else max(self.now, self._due[name]), name)
        is_look = work is None and name in self._asked
        self._asked.discard(name)
        if not (work or is_look):
            self._due[name] = next_slot(config, self.now)
        if act.verb == "missed":
            self._miss(live, act.reason or Reason.LATE)
            return
        self._timetable.planned.pop(name, None)
        self._line.running.discard(name)
        self._results[name] = make_up(act, config.limits, config.timeout)
        self._drive(live, work or run_slot(self._line, live, self.now, LOOK if is_look else 0))

    def _look(self, besides: str) -> None:
        """Let the checks run that were asked for a look, but for the one that the script goes on with."""
        while asked := sorted(self._asked - {besides}):
            self._asked.remove(asked[0])
            live = self._state.checks[asked[0]]
            self._results.setdefault(asked[0], make_up(Act("ok"), live.config.limits, live.config.timeout))
            self._drive(live, run_slot(self._line, live, self.now, LOOK))

    def _do(self, act: Act) -> None:
        self._notes.append(Did(self.now, act.words))
        match act.verb:
            case "wait":
                self._wait(act.seconds or 0.0)
            case "restart":
                self._restart()
            case _:
                self._do_to(self._live(act), act)

    def _do_to(self, live: Live, act: Act) -> None:
        name = live.config.name
        match act.verb:
            case "ack":
                self._drive(live, take(self._line, live, Taken(name, Acknowledgement("somebody", "", self.now))))
            case "silence":
                self._silence(name, act.seconds)
            case "remove":
                del self._state.checks[name]
                self._drive(live, take(self._line, live, Removal(name)))

    def _miss(self, live: Live, reason: Reason) -> None:
        name = live.config.name
        self._timetable.planned.setdefault(name, self._start)
        if reason is Reason.BUSY:
            self._line.running.add(name)
        elif reason is Reason.OVERLOAD:
            self._timetable.overloaded_at = self.now
        live.miss(reason, at=self.now)
        run = Run("", name, self.now, 0, self.now, live.config.timeout)
        verdict = Verdict(run, self.now, Outcome.MISSED, Severity.OK, reason)
        self._notes.append(Ran(self.now, name, verdict, live.severity, live.severity))

    def _silence(self, name: str, seconds: float | None) -> None:
        for order in [order for order in self._quiet.orders.values() if name in order.matcher.checks]:
            self._quiet.put(end(order, self.now, "ended"))
        if seconds is not None:
            who, until = Matcher((name,)), self.now + seconds
            self._quiet.put(Order(name, QuietKind.SILENCE, who, "somebody", "as they said", self.now, until))

    def _wait(self, seconds: float) -> None:
        """Let time pass; the next runs are those after it."""
        self._forget_second_looks()
        self._pass_until(self.now + seconds)
        for name, live in self._state.checks.items():
            while self._due.get(name, NEVER) < self.now:
                self._due[name] = next_slot(live.config, self._due[name])

    def _restart(self) -> None:
        """Go on with what the store would give back: the latest status of each check that was recorded, and no more."""
        self._forget_second_looks()
        for name, live in list(self._state.checks.items()):
            kept = self._kept.get(name)
            status = read_status(encode(kept.status)) if kept and kept.status else FRESH
            fresh = Live(live.config, rearm(status, live.config.policy))
            if live.run and live.result and live.verdict:
                fresh.restore(live.run, live.result, live.verdict)
            if live.windows and fresh.windows:
                fresh.windows = Windows.load(fresh.windows.plan, live.windows.dump())
            self._state.checks[name] = fresh
        self._surroundings = self._surround()
        self._surroundings.storms.recall(self.now)

    # --- time ------------------------------------------------------------------------------------------------------

    def _pass_until(self, until: float, going_on_with: str = "") -> None:
        """Let time pass, and each check see it whenever it has something to do, as the ticker does each second.

        It ends early where the check that the script goes on with is asked for a look: what comes next is that.
        """
        self._look(going_on_with)
        step = max(LOOK_AGAIN, ceil((until - self.now) / LOOKS))
        while going_on_with not in self._asked and (at := self._next_tick(step)) <= until:
            self.now = at
            for live in [live for live in self._state.checks.values() if (live.status.wake_at or NEVER) <= at]:
                if tick := tick_of(self._line, live, at):
                    self._drive(live, take(self._line, live, tick))
                else:
                    self._surroundings.look_around(live, at)
            for live, absence in tuple(self._absences.find()):
                self._drive(live, take(self._line, live, absence))
            self._watch_storms()
            self._look(going_on_with)
        if going_on_with not in self._asked:
            self.now = max(self.now, until)

    def _next_tick(self, step: float) -> float:
        soon = self.now + step
        if self._timetable.planned or self._surroundings.storms.storm:
            return soon
        wakes = (live.status.wake_at for live in self._state.checks.values())
        return min((wake if wake > self.now else soon for wake in wakes if wake is not None), default=NEVER)

    def _watch_storms(self) -> None:
        if self._surroundings.storms.look(self.now):
            self._ask(NETWORK)

    def _drive(self, live: Live, work: Work) -> None:
        """Let the line work until it is done, or pauses before a second look."""
        self._before = live.severity
        try:
            seconds = copy_context().run(work.send, None)
        except StopIteration:
            self._watch_storms()
            return
        self._second_looks[live.config.name] = (self.now + seconds, work)

    def _forget_second_looks(self) -> None:
        for _, work in self._second_looks.values():
            work.close()
        self._second_looks.clear()

    def _live(self, act: Act) -> Live:
        name = act.check or self._check
        if name not in self._state.checks or name == NETWORK:
            raise ValueError(f"there is no check {name} in this story")
        return self._state.checks[name]

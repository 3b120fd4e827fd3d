"""Running the checks: each again and again through ``run_slot``, the daemon's own line, until it has run enough.

Around the line there is a list instead of a store, and nobody to tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import cast

import structlog

from heartbeat.clock import Clock
from heartbeat.config.model import NOBODY, CheckConfig
from heartbeat.core.gate import Look
from heartbeat.core.model import NOTHING, Outcome, Reason, Result, Run, Severity, Verdict
from heartbeat.line import Line, perform, run_slot
from heartbeat.outbox import Outbox
from heartbeat.runner import Workshop, new_run_id
from heartbeat.simulation.props import Letters, Paper
from heartbeat.state import Live
from heartbeat.store import Entry, Store
from heartbeat.verification.terms import Terms

log = structlog.get_logger()

FAREWELL = 0.5
"""Seconds for what is under way when everything is to end."""


class Stage(StrEnum):
    """How far a check is."""

    WAITING = "waiting"
    """It is not healthy yet; its runs do not count."""
    RUNNING = "running"
    DONE = "done"
    TOO_LATE = "too late"
    """It did not become healthy in time."""


@dataclass(slots=True)
class Trial:
    """One check under verification: ``looks`` are the attempts that count, ``before`` those until it was healthy."""

    config: CheckConfig
    live: Live
    pace: float
    stage: Stage = Stage.RUNNING
    looks: list[Look] = field(default_factory=list)
    before: int = 0
    latest: Look | None = None
    broke: str = ""
    """What went wrong in Heartbeat itself, or who ended it."""

    @property
    def name(self) -> str:
        """The name of the check."""
        return self.config.name

    @property
    def runs(self) -> int:
        """How many runs count so far."""
        return sum(1 for look in self.looks if look.verdict.run.attempt == 0)

    def take(self, look: Look) -> None:
        """Take an attempt. Of each outcome the evidence of the latest is kept: runs may be many."""
        self.latest = look
        if self.stage is Stage.WAITING:
            self.before += look.verdict.run.attempt == 0
            return
        for place in range(len(self.looks) - 1, -1, -1) if look.result.evidence else ():
            old = self.looks[place]
            if old.verdict.outcome is look.verdict.outcome and old.result.evidence:
                self.looks[place] = replace(old, result=replace(old.result, evidence=NOTHING))
                break
        self.looks.append(look)

    def is_healthy(self) -> bool:
        """Say whether the latest run was good, and the policy of the check finds nothing wrong either."""
        latest, status = self.latest, self.live.status
        good = latest is not None and not (latest.says_nothing or latest.is_bad)
        return good and not (status.fail or status.broken)

    def count_from_now(self) -> None:
        """Let the runs count from the latest on, or after it, where it was a second look."""
        self.stage, self.live = Stage.RUNNING, Live(self.config)
        latest = self.latest
        if latest is not None and latest.verdict.run.attempt == 0:
            self.before -= 1
            self.take(latest)
            if self.live.windows is not None:
                self.live.windows.take(latest.verdict.at, latest.verdict.outcome, latest.result)


class Verification:
    """Runs checks side by side. ``watch`` is called with a trial whenever something happened to it."""

    def __init__(
        self, checks: Iterable[CheckConfig], terms: Terms, workshop: Workshop, watch: Callable[[Trial], None]
    ) -> None:
        self._terms = terms
        self._watch = watch
        self._places = asyncio.Semaphore(terms.concurrency)
        self._clock = Clock()
        self.trials = {check.name: self._try(check) for check in checks}
        self.line = Line(
            clock=self._clock,
            workshop=workshop,
            store=cast("Store", Paper(self._note)),
            outbox=cast("Outbox", Letters()),
            ways_out=lambda _: (),
            perform=self._perform,
        )
        self._tasks: dict[asyncio.Task[None], Trial] = {}

    async def run(self) -> None:
        """Run all checks until each has run enough, or all are to stop."""
        self._tasks = {
            asyncio.create_task(self._follow(trial), name=f"verify {trial.name}"): trial
            for trial in self.trials.values()
        }
        closing = asyncio.create_task(self.line.closing.wait())
        waiting: set[asyncio.Task[object]] = {*self._tasks}
        while waiting and not closing.done():
            _, waiting = await asyncio.wait({*waiting, closing}, return_when=asyncio.FIRST_COMPLETED)
            waiting -= {closing}
        closing.cancel()
        for task in waiting:
            task.cancel()
        if waiting:
            await asyncio.wait(waiting, timeout=FAREWELL)
        for task, trial in self._tasks.items():
            self._end(task, trial)

    def stop(self) -> None:
        """Begin nothing new, and give up what is under way."""
        self.line.closing.set()

    def share_done(self, trial: Trial) -> float:
        """Return how far a trial is, from 0 to 1."""
        if trial.stage in (Stage.DONE, Stage.TOO_LATE):
            return 1.0
        if not self._terms.seconds:
            return min(1.0, trial.runs / self._terms.runs)
        begun = trial.looks[0].verdict.at if trial.looks else self._clock.now()
        return min(1.0, (self._clock.now() - begun) / self._terms.seconds)

    @property
    def is_stuck(self) -> bool:
        """Whether any plugin is still at work: it may never end."""
        return bool(self.line.running)

    def _try(self, check: CheckConfig) -> Trial:
        pace = self._terms.pace(check)
        limits = (*check.limits, *self._terms.required.each)
        policy = replace(check.policy, interval=pace)
        config = replace(check, policy=policy, limits=limits, objective=None, notify=NOBODY)
        trial = Trial(config, Live(config), pace)
        if self._terms.patience:  # what came before it was healthy is in no window: it would not become so by them
            trial.stage, trial.live.windows = Stage.WAITING, None
        return trial

    async def _follow(self, trial: Trial) -> None:
        if trial.stage is Stage.WAITING and not await self._become_healthy(trial):
            trial.stage = Stage.TOO_LATE
            self._watch(trial)
            return
        begun = due = self._clock.steady()
        if trial.looks:  # the one by which it was found to be healthy
            due += trial.pace
        while self._goes_on(trial, begun, due):
            await self._wait_until(due)
            await self._run(trial)
            due = max(due + trial.pace, self._clock.steady())
        trial.stage = Stage.DONE
        self._watch(trial)

    def _goes_on(self, trial: Trial, begun: float, due: float) -> bool:
        if self._terms.seconds:
            return not trial.looks or due < begun + self._terms.seconds
        return trial.runs < self._terms.runs

    async def _become_healthy(self, trial: Trial) -> bool:
        deadline = self._clock.steady() + self._terms.patience
        while True:
            due = self._clock.steady() + trial.pace
            await self._run(trial)
            if trial.is_healthy():
                trial.count_from_now()
                self._watch(trial)
                return True
            if max(due, self._clock.steady()) >= deadline:
                return False
            await self._wait_until(due)

    async def _run(self, trial: Trial) -> None:
        if trial.name in self.line.running:
            self._miss(trial)
        else:
            await run_slot(self.line, trial.live, self._clock.now())

    async def _perform(self, line: Line, live: Live, run: Run) -> Result:
        async with self._places:
            return await perform(line, live, run)

    async def _wait_until(self, due: float) -> None:
        await asyncio.sleep(max(0.0, due - self._clock.steady()))

    def _note(self, entry: Entry) -> None:
        """Take what the daemon would record."""
        if entry.verdict is not None and entry.result is not None:
            trial = self.trials[entry.name]
            trial.take(Look(entry.verdict, entry.result))
            self._watch(trial)

    def _miss(self, trial: Trial) -> None:
        """Count a run that cannot take place, as the daemon would."""
        now, sentence = self._clock.now(), "the run before is still going on, past its deadline"
        trial.live.miss(Reason.BUSY, at=now)
        run = Run(new_run_id(), trial.name, now, 0, now, trial.config.timeout)
        verdict = Verdict(run, now, Outcome.MISSED, Severity.OK, Reason.BUSY, sentence)
        trial.take(Look(verdict, Result(Outcome.MISSED, 0.0, Reason.BUSY, sentence)))
        self._watch(trial)

    def _end(self, task: asyncio.Task[None], trial: Trial) -> None:
        """Look at how a trial ended: a mistake of ours must not look like a good check."""
        with suppress(asyncio.CancelledError, asyncio.InvalidStateError):
            if error := task.exception():
                said = self.line.workshop.redact(f"{type(error).__name__}: {error}")
                trial.broke = f"a run broke inside Heartbeat; please report this: {said}"
                log.critical("a run broke inside Heartbeat; please report this", check=trial.name, exc_info=error)

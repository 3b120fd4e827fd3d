"""One run of a flow: its steps in order, the accounts they use, and what is done afterwards."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from secrets import token_hex
from time import time
from typing import Any

from heartbeat import CheckFailed, Probe

from ._flow_act import act, conceal_values, take_unread, warn_of
from ._flow_cleanup import clean, clean_left, is_settled
from ._flow_course import Course
from ._flow_ledger import Ledger, let_go
from ._flow_references import Scope, Unknown
from ._flow_step import Step
from ._flow_sweep import PREFIX, sweep
from ._flow_take import describe, is_bounded

NOTHING: dict[str, Any] = {}
CREDENTIALS = 4
"""How many credentials are tried at most in one run: those that were read again, and the next ones."""
GRACE = 180.0
"""Seconds after its deadline at which a run is over in any case, with all that follows it."""
DONE = frozenset({"content", "mismatch", "absent"})
"""A step that failed for one of these may have created something all the same; a refusal has another reason."""
SHOWN = 10
"""How many of the values that a step took are shown by their names."""


class Trip:
    """One run of a flow."""

    def __init__(self, course: Course, probe: Probe) -> None:
        self._course = course
        self._probe = probe
        self._attempts: list[Scope] = []
        self._lines: list[str | tuple[str, float, dict[str, Any]]] = []
        self._reached = ""
        self._accounts: dict[str, Any] = {}
        self._stack = AsyncExitStack()
        self._ledger = Ledger(probe) if course.plan is not None else None
        self._swept = 0
        self._seconds = 0.0

    async def go(self) -> None:
        """Do the steps, from the start again where an account has another credential to try."""
        probe, course = self._probe, self._course
        self._prepare()
        for name in course.accounts:
            self._accounts[name] = await self._stack.enter_async_context(probe.account(name))
        probe.note("steps", self._shown)
        try:
            while not await self._attempt():
                pass
        except BaseException:
            self._conceal()
            raise
        finally:
            if not probe.closed:
                probe.record_duration(self._seconds)
        if probe.caution is not None:
            self._conceal()

    def _prepare(self) -> None:
        """Have done afterwards what is to be done; what is asked for first comes last."""
        probe, seconds = self._probe, self._course.cleanup_timeout
        if self._ledger is None:
            let_go(probe)
        if self._ledger is not None or self._course.accounts:
            probe.on_cleanup(self._finish)
        if self._course.sweep is not None:
            probe.on_cleanup(self._sweep, timeout=seconds)
        if self._ledger is not None:
            probe.on_cleanup(self._clean_left, timeout=seconds)
        if self._course.cleanup:
            probe.on_cleanup(self._clean, timeout=seconds)

    async def _attempt(self) -> bool:
        """Do the steps; return False where they are to be done again with another credential."""
        probe = self._probe
        tag = PREFIX + token_hex(8)
        scope = Scope({"id": probe.run, "tag": tag}, self._accounts)
        self._attempts.append(scope)
        known = tuple(probe.evidence)
        for step in self._course.steps:
            self._reached = step.name
            try:
                await self._do(step, scope)
            except CheckFailed as failed:
                if failed.reason != "auth" or len(step.accounts) != 1:  # of several nobody knows which one was meant
                    raise
                if not await self._account_of(step).refuse() or len(self._attempts) >= CREDENTIALS:
                    raise _refused(failed, step) from failed
                self._lines.append(f"again from the start, with another credential of {_named(step)}")
                self._forget(known)
                probe.where = ""
                if probe.session:
                    probe.session.clear()
                return False
            self._forget(known)
        self._reached = ""
        return True

    async def _do(self, step: Step, scope: Scope) -> None:
        probe, ledger = self._probe, self._ledger
        if step.creates and ledger is not None:
            await ledger.begin(scope, step, time() + probe.remaining + GRACE)
        before = probe.phases.get(step.name, 0.0)
        try:
            await act(probe, step, scope)
        except CheckFailed as failed:
            self._lines.append(f"{step.name}: failed, {self._count(step, before):.3f} s")
            values = await take_unread(probe, step)
            was_done = failed.reason in DONE and not isinstance(failed, Unknown)
            if step.creates and was_done:
                scope.values[step.name] = {name: value for name, value in values.items() if is_bounded(value)}
                await self._note(step, scope)
            raise
        self._lines.append((step.name, self._count(step, before), scope.values.get(step.name, NOTHING)))
        for name in step.accounts:
            self._accounts[name].accept()
        await self._note(step, scope)

    async def _note(self, step: Step, scope: Scope) -> None:
        """Note what is known of what this run created."""
        plan = self._course.plan
        if plan is not None and self._ledger is not None and step.name in plan.owned:
            await self._ledger.add(scope, plan)

    def _count(self, step: Step, before: float) -> float:
        seconds = self._probe.phases.get(step.name, 0.0) - before
        self._seconds += seconds
        return seconds

    def _forget(self, known: Collection[str]) -> None:
        """Leave out the evidence of steps that are well; what one of them warned of stays."""
        evidence = self._probe.evidence
        if len(evidence) > len(known) and self._probe.caution is None:
            for name in [name for name in evidence if name not in known]:
                del evidence[name]

    def _account_of(self, step: Step) -> Any:
        """Return the account of a step that uses one."""
        return self._accounts[next(iter(step.accounts))]

    def _conceal(self) -> None:
        for scope in self._attempts:
            conceal_values(self._probe, scope)

    def _shown(self) -> str:
        """Return a line for each step: what became of it, and how long it took."""
        names = [step.name for step in self._course.steps]
        lines = [line if isinstance(line, str) else _well(*line) for line in self._lines]
        is_open = bool(self._reached) and not any(line.startswith(f"{self._reached}: failed") for line in lines)
        rest = names[names.index(self._reached) + 1 :] if self._reached else []
        under_way = [f"{self._reached}: failed, not over at the end of the run"] if is_open else []
        after = [line for line in lines if line.startswith("cleanup ")]
        done = [line for line in lines if not line.startswith("cleanup ")]
        return "\n".join([*done, *under_way, *(f"{name}: not reached" for name in rest), *after])

    async def _clean(self, probe: Probe) -> None:
        """Clean up what this run created."""
        for scope in self._attempts:
            entry = self._ledger.find(scope.run["tag"]) if self._ledger else None
            cleaned = await clean(probe, self._course, scope, entry, self._tell)
            if entry is not None and self._ledger is not None and is_settled(cleaned, self._course):
                await self._ledger.settle({entry["tag"]})
            if cleaned.failed:
                name, failed = next(iter(cleaned.failed.items()))
                warn_of(probe, f"the cleanup step {name} failed", failed)
        if probe.caution is None:
            probe.evidence.clear()

    def _tell(self, step: str, said: str) -> None:
        self._lines.append(f"cleanup {step}: {said}")

    async def _clean_left(self, probe: Probe) -> None:
        """Clean up what earlier runs left."""
        if self._ledger is not None and self._attempts:
            await clean_left(probe, self._course, self._ledger, self._attempts[-1])

    async def _sweep(self, probe: Probe) -> None:
        """Remove what nothing known leads to, where there may be something."""
        how, ledger = self._course.sweep, self._ledger
        if how is None or ledger is None or not self._attempts or not (ledger.is_sweep_due or ledger.left()):
            return
        before = time()
        try:
            swept = await sweep(probe, how, self._attempts[-1], ledger.under_way)
        except CheckFailed as failed:
            warn_of(probe, "the sweep for what earlier runs left behind failed", failed)
            return
        finally:
            probe.measurements.clear()
            if probe.caution is None:
                probe.evidence.clear()
        self._swept = len(swept.removed)
        ledger.is_sweep_due = swept.is_more
        gone = {entry["tag"] for entry in ledger.left() if entry["at"] < before - how.older_than and not swept.is_more}
        await ledger.settle({*swept.removed, *gone})

    async def _finish(self, probe: Probe) -> None:
        """Give the accounts back, and say what is left."""
        await self._stack.aclose()
        if self._ledger is not None:
            self._ledger.end(scope.run["tag"] for scope in self._attempts)
            probe.record("leftovers", len(self._ledger.entries))
            if self._course.sweep is not None:
                probe.record("swept", self._swept)


def _well(name: str, seconds: float, taken: Mapping[str, Any]) -> str:
    shown = ", ".join(f"{one} ({describe(value)})" for one, value in list(taken.items())[:SHOWN])
    return f"{name}: ok, {seconds:.3f} s" + (f"; took {shown}" if shown else "")


def _refused(failed: CheckFailed, step: Step) -> CheckFailed:
    return CheckFailed(
        f"{failed.sentence}; no other credential of {_named(step)} is left to try",
        reason="auth",
        expected=failed.expected,
        observed=failed.observed,
    )


def _named(step: Step) -> str:
    return f"the account {next(iter(step.accounts))}"

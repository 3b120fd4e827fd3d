"""Cleaning up what a run created, and what earlier runs left behind."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from heartbeat import CheckFailed, Probe

from ._flow_act import act, conceal_values
from ._flow_course import Course, Plan
from ._flow_ledger import Entry, Ledger
from ._flow_references import Scope, Unknown
from ._flow_step import Step

ENTRIES_PER_RUN = 20
FAILURES_PER_RUN = 3
"""After so many of what earlier runs left the rest waits for the next run: the target may be down."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Cleaned:
    """What became of cleaning up after one run.

    Attributes:
        done: steps that did their work.
        left_out: steps that had nothing to do.
        failed: steps that did not, and why.
        is_unsure: something may be left that nothing known leads to.
    """

    done: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    failed: dict[str, CheckFailed] = field(default_factory=dict)
    is_unsure: bool = False


async def clean(
    probe: Probe, course: Course, scope: Scope, entry: Entry | None, tell: Callable[[str, str], None] | None = None
) -> Cleaned:
    """Do the cleanup steps for what one run created; each is tried, whatever becomes of the others.

    Args:
        probe: the probe of the cleanup.
        course: of the flow.
        scope: what references stand for.
        entry: what is noted of the run, None where it created nothing.
        tell: is told of each step, and of what became of it.
    """
    steps, begun = course.cleanup, entry["begun"] if entry else ()
    owned = course.plan.owned if course.plan else frozenset()
    cleaned = Cleaned(is_unsure=bool(begun) and (not steps or not owned >= set(begun)))  # one may have another name now
    for number, step in enumerate(steps):
        try:
            await act(probe, step, scope, within=probe.remaining / (len(steps) - number))
        except Unknown as unknown:
            said = _weigh(unknown, step, cleaned, begun, course.plan)
        except CheckFailed as failed:
            cleaned.failed[step.name] = failed
            said = f"failed: {failed.sentence}"
        else:
            cleaned.done.append(step.name)
            said = "ok"
        probe.where = ""
        if tell is not None:
            tell(step.name, said)
    conceal_values(probe, scope)
    return cleaned


def is_settled(cleaned: Cleaned, course: Course) -> bool:
    """Say whether nothing more can be done: all is cleaned up, or nothing leads to what may be left."""
    return not cleaned.failed and (course.sweep is None or not cleaned.is_unsure)


def _weigh(unknown: Unknown, step: Step, cleaned: Cleaned, begun: Sequence[str], plan: Plan | None) -> str:
    """Say what it means that a cleanup step cannot be done: nothing to do, something unknown, or not yet."""
    name = unknown.reference.path[0]
    if plan is not None and name in plan.owned:
        cleaned.is_unsure = cleaned.is_unsure or name in begun
    elif name in cleaned.failed or (begun and name not in cleaned.left_out):  # it may be known another time
        cleaned.failed[step.name] = unknown
    if step.name not in cleaned.failed:
        cleaned.left_out.append(step.name)
    return f"left out: {unknown.sentence}"


async def clean_left(probe: Probe, course: Course, ledger: Ledger, around: Scope) -> None:
    """Clean up what runs that are over have left, as far as something known leads to it."""
    failures = 0
    for entry in ledger.left()[:ENTRIES_PER_RUN]:
        cleaned = await clean(probe, course, _scope_of(entry, around, course.plan), entry)
        if is_settled(cleaned, course):
            await ledger.settle({entry["tag"]})
            _tell(entry, is_unsure=cleaned.is_unsure)
            continue
        ledger.postpone(entry)
        if cleaned.failed and not failures:  # the others will not be cleaned up for another reason
            name, failed = next(iter(cleaned.failed.items()))
            said = "what a flow left behind cannot be cleaned up yet: %s (%s): %s failed, %s"
            log.warning(said, entry["run"], entry["tag"], name, failed.reason)
        failures += bool(cleaned.failed)
        if failures >= FAILURES_PER_RUN:
            break
    probe.measurements.clear()
    probe.evidence.clear()


def _tell(entry: Entry, *, is_unsure: bool) -> None:
    if is_unsure:
        said = "what a flow left behind: %s may have left something that only its tag leads to (%s)"
        log.warning(said, entry["run"], entry["tag"])
    else:
        log.info("what a flow left behind: %s is cleaned up now (%s)", entry["run"], entry["tag"])


def _scope_of(entry: Entry, around: Scope, plan: Plan | None) -> Scope:
    """Return what references stand for after an earlier run: its values, and the tokens of this one."""
    session: Mapping[str, Mapping[str, object]] = around.values
    return Scope(
        run={"id": entry["run"], "tag": entry["tag"]},
        accounts=around.accounts,
        values={name: dict(values) for name, values in session.items() if plan is None or name not in plan.owned},
        kept=entry["values"],
    )

"""What a flow consists of, as its runs need it: nothing of it changes from run to run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from heartbeat import Part, Reference

from ._flow_step import Step, accounts_of
from ._flow_sweep import Sweep


@dataclass(frozen=True, slots=True)
class Plan:
    """What a flow keeps of what it creates.

    Attributes:
        owned: the steps from the first that creates something on; what those before took is never kept, as tokens are.
        wanted: the references of cleanup steps to values of these.
    """

    owned: frozenset[str]
    wanted: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class Course:
    """What a flow consists of.

    Attributes:
        steps: the steps, in order.
        cleanup: what follows in any case.
        sweep: how what earlier runs left is found.
        cleanup_timeout: seconds for each of the parts of the cleanup.
        accounts: the test accounts that are referred to, in the order in which they are leased.
        plan: what is kept of what is created; None where no step creates anything.
    """

    steps: Sequence[Step]
    cleanup: Sequence[Step]
    sweep: Sweep | None
    cleanup_timeout: float
    accounts: Sequence[str]
    plan: Plan | None


def course_of(steps: Sequence[Step], cleanup: Sequence[Step], sweep: Sweep | None, cleanup_timeout: float) -> Course:
    """Return the course of a flow."""
    after: list[Part | None] = [step.check for step in cleanup]
    if sweep is not None:
        after += [sweep.list_, sweep.remove]
    accounts = accounts_of(*(step.check for step in steps), *after)
    return Course(steps, cleanup, sweep, cleanup_timeout, sorted(accounts), _plan_of(steps, after))


def _plan_of(steps: Sequence[Step], after: Iterable[Part | None]) -> Plan | None:
    first = next((number for number, step in enumerate(steps) if step.creates), None)
    if first is None:
        return None
    owned = frozenset(step.name for step in steps[first:])
    found = (one for part in after if part is not None for one in part.references())
    return Plan(owned, tuple(dict.fromkeys(one for one in found if one.root == "steps" and one.path[0] in owned)))

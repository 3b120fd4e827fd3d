"""The check type `flow`: steps in order, each a check of any type, with values taken from one for the next."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from heartbeat import Check, Duration, Probe

from ._flow_course import Course, course_of
from ._flow_references import Known
from ._flow_run import Trip
from ._flow_step import Step, named, objection
from ._flow_sweep import Sweep

STEPS = 20


def _some_named(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    if not steps:  # pydantic's own bound also objects where a step is there that it objected to already
        raise ValueError("a flow has one step at least")
    return named(steps)


def _cleanup_named(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    return named(steps, "cleanup_")


class Flow(Check):
    """Do steps in order, as a person would: log in, order, look whether it is there, take it back.

    Each step is a check of any type. What it takes from its answer is known to the steps after it as
    ``${steps.NAME.VALUE}``; beside that there are ``${accounts.NAME.FIELD}``, ``${run.id}`` and ``${run.tag}``, a name
    for what this run creates. The first step that fails ends the flow; ``cleanup`` follows in any case. What a step
    with ``creates`` made is noted on disk before, cleaned up by a later run where this one was killed, and found by
    ``sweep`` where nothing else leads to it. The measurements ``leftovers`` and ``swept`` say how much of that is left,
    and how much this run swept up.
    """

    fills: ClassVar[frozenset[str]] = frozenset({"steps", "accounts", "run", "item"})

    steps: Annotated[tuple[Step, ...], AfterValidator(_some_named)] = Field(
        description="the steps, in order; they share cookies", max_length=STEPS, json_schema_extra={"minItems": 1}
    )
    cleanup: Annotated[tuple[Step, ...], AfterValidator(_cleanup_named)] = Field(
        (), description="steps that follow in any case; those with nothing to clean up are left out", max_length=STEPS
    )
    sweep: Sweep | None = Field(None, description="how what earlier runs left behind is found, by its tag and its age")
    cleanup_timeout: Duration = Field(
        10.0, description="how long the cleanup may take, and again what earlier runs left, and the sweep", gt=0, le=20
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Flow:
        wrong = [*self._misnamed(), *self._pointless(), *self._dangling()]
        if wrong:
            raise ValidationError.from_exception_data("flow", wrong)
        return self

    def _misnamed(self) -> Iterator[InitErrorDetails]:
        names = {step.name for step in self.steps}
        for number, step in enumerate(self.cleanup):
            if step.name in names:
                yield objection(f'there is a step "{step.name}" already', ("cleanup", number, "name"))

    def _pointless(self) -> Iterator[InitErrorDetails]:
        for number, step in enumerate(self.cleanup):
            if step.creates:
                yield objection("a cleanup step creates nothing", ("cleanup", number, "creates"))
        first = next((number for number, step in enumerate(self.steps) if step.creates), None)
        if first is not None and not self.cleanup and self.sweep is None:
            yield objection("who creates something needs cleanup: or sweep:", ("steps", first, "creates"))
        if first is None and self.sweep is not None:
            yield objection("there is nothing to sweep up unless a step says creates: true", ("sweep",))

    def _dangling(self) -> Iterator[InitErrorDetails]:
        """Yield what is wrong with references."""
        for kind, before, steps in (("steps", (), self.steps), ("cleanup", self.steps, self.cleanup)):
            for number, step in enumerate(steps):
                known = Known((*before, *steps[:number]), steps[number:])
                yield from known.objections(step.check, (kind, number))
        if self.sweep is not None:
            yield from Known(self.steps).objections(self.sweep.list_, ("sweep", "list"))
            yield from Known(self.steps, has_item=True).objections(self.sweep.remove, ("sweep", "remove"))

    async def run(self, probe: Probe) -> None:
        """Do the steps."""
        await Trip(self.course, probe).go()

    @cached_property
    def course(self) -> Course:
        """What a run needs to know."""
        return course_of(self.steps, self.cleanup, self.sweep, self.cleanup_timeout)

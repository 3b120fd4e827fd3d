"""One step of a flow: a check of any type or a pause, what is taken from its answer, how long it is tried."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cached_property
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from heartbeat import Duration, Part, Probe, Reported

from ._flow_take import Fixed, Take

NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
VALUE = r"^[A-Za-z][A-Za-z0-9_-]{0,31}$"
PART = TypeAdapter(Part)
PART_SCHEMA = {"type": "object", "x-heartbeat-check": True, "x-heartbeat-beside": True}
"""What editors are told: the key of a check type stands beside the other keys."""
OWN = ("name", "take", "until", "every", "timeout", "creates", "wait")


def _is_name(name: str) -> str:
    """Refuse what phases and measurements of the step could not be called by."""
    if not NAME.fullmatch(name):
        raise ValueError("a step's name is a lower-case word of at most 32 letters, digits and _, such as log_in")
    probe = Probe()
    probe.record(f"{name}_status_code", 0.0)
    if probe.refused:
        raise ValueError(f"a step cannot be called {name}: {probe.refused}")
    return name


def is_runnable(part: Part) -> Part:
    """Refuse what is no step: checks that are reported to, and those that run steps themselves."""
    if issubclass(part.type, Reported):
        raise ValueError(f"{part.kind} waits for reports; it looks at nothing, and is no step")  # noqa: TRY004 - pydantic wants this one
    if part.type.fills:
        raise ValueError(f"{part.kind} runs steps itself, and is no step")
    return part


class Step(BaseModel):
    """One step: a check of any type, by the key of the type, or a pause (``wait``)."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[Fixed, AfterValidator(_is_name)] = Field(
        "", description="what it is called in phases, measurements and references; its type and number if left out"
    )
    take: Mapping[Annotated[str, Field(pattern=VALUE)], Take] = Field(
        default_factory=dict, description="values to take from the answer, for ${steps.NAME.VALUE}; name to JSONPath"
    )
    until: Duration | None = Field(None, description="try again until it is well, for so long at most", gt=0)
    every: Duration = Field(0.5, description="with until: the pause between two tries", ge=0.01)
    timeout: Duration | None = Field(
        None, description="how long it may take; what is left of the run if left out", gt=0
    )
    creates: bool = Field(
        False, description="whether it makes something that must be cleaned up; noted on disk before it runs"
    )
    wait: Duration | None = Field(None, description="a pause, in the place of a check", gt=0)
    check: Annotated[Part | None, WithJsonSchema(PART_SCHEMA)] = None

    @model_validator(mode="wrap")
    @classmethod
    def _from_keys(cls, value: Any, handler: ModelWrapValidatorHandler[Step]) -> Step:
        """Take the one key that is none of ours as the check type; say all that is wrong at once."""
        if not isinstance(value, Mapping):
            return handler(value)
        rest = {key: one for key, one in value.items() if key in OWN}
        kinds = _kinds([key for key in value if key not in OWN])
        errors: list[ValidationError] = []
        try:
            if len(kinds) == 1:
                rest["check"] = is_runnable(PART.validate_python({kinds[0]: value[kinds[0]]}))
        except ValidationError as error:
            rest["check"] = None  # there is one, so nobody asks for it
            errors.append(error)
        unknown = {key: value[key] for key in value if key not in OWN and key not in kinds}
        step: Step | None = None
        try:
            step = handler({**rest, **unknown})
        except ValidationError as error:
            errors.append(error)
        if errors:
            raise _together(errors)
        if len(kinds) > 1:
            raise ValueError(f"a step is one check, not {len(kinds)} ({', '.join(sorted(map(str, kinds))[:5])})")
        if step is None:
            raise ValueError("a step is a mapping")
        return step

    @model_validator(mode="after")
    def _is_consistent(self) -> Step:
        given = self.model_fields_set
        if self.wait is not None:
            if odd := sorted(given - {"wait", "name"}):
                raise ValueError(f"a pause (wait) has no {' and no '.join(odd)}")
        elif "check" not in given:
            raise ValueError("needs one key that names a check type, such as http:, or wait:")
        if "every" in given and self.until is None:
            raise ValueError("every has no effect without until")
        if self.creates and self.until is not None:
            raise ValueError("a step that creates something is tried once: what a failed try made would have no name")
        return self

    @cached_property
    def accounts(self) -> frozenset[str]:
        """The test accounts that it refers to."""
        return accounts_of(self.check)


def accounts_of(*parts: Part | None) -> frozenset[str]:
    """Return the names of the test accounts that parts refer to."""
    found = (one for part in parts if part is not None for one in part.references())
    return frozenset(one.path[0] for one in found if one.root == "accounts")


def _kinds(keys: list[str]) -> list[str]:
    """Return the keys that are meant as check types: of several, not those that look like one of ours."""
    return keys if len(keys) == 1 else [key for key in keys if not get_close_matches(str(key), OWN, n=1)]


def _together(errors: Iterable[ValidationError]) -> ValidationError:
    """Return one error with the objections of all."""
    every = list(errors)
    if len(every) == 1:
        return every[0]
    return ValidationError.from_exception_data(
        "step", [objection(one["msg"], one["loc"], one["type"]) for error in every for one in error.errors()]
    )


def objection(sentence: str, place: tuple[str | int, ...], kind: str = "value_error") -> InitErrorDetails:
    """Return what is wrong at a place below the one that is being read."""
    said = PydanticCustomError(kind, "{said}", {"said": sentence})
    return InitErrorDetails(type=said, loc=place, input=None)


def named(steps: tuple[Step, ...], before: str = "") -> tuple[Step, ...]:
    """Return steps that all have a name. Raises ``ValueError`` where two have the same."""
    done = [
        step if step.name else step.model_copy(update={"name": f"{before}{_kind(step)}{number}"})
        for number, step in enumerate(steps, 1)
    ]
    names = [step.name for step in done]
    if twice := [name for at, name in enumerate(names) if name in names[:at]]:
        raise ValueError(f'two steps are called "{twice[0]}"; each has a name of its own')
    return tuple(done)


def _kind(step: Step) -> str:
    return step.check.kind[:20] if step.check is not None else "wait"

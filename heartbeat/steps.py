"""Checks as options of other checks: one key names the type, with its options, as everywhere in a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, create_model
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError, core_schema

from heartbeat.check import Check, CheckBroken
from heartbeat.references import Late, LookUp, Reference, fill, late, references

MARK = "x-heartbeat-check"
"""In a JSON schema: here stands a check of any type."""
INLINE = "x-heartbeat-beside"
"""In a JSON schema, beside ``MARK``: the key of the type stands beside the other keys, in the place of this one."""
NO_PART = "heartbeat_part"
"""The type of pydantic's error for a key that names no check type."""
STAND_IN = "1"
"""What stands for a value that is not known yet while options are checked: it is text, a number, and part of a URL."""


class Types(Protocol):
    """The check types that there are."""

    def __call__(self, name: str, /) -> type[Check]:
        """Return the class of a type. Raises ``LookupError`` with a sentence where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What surrounds options while they are read, and what they turn out to make use of."""

    type_of: Types
    folder: Path = Path()
    """What relative paths are relative to: the folder of the configuration file."""
    used: set[str] = field(default_factory=set)
    """The names of the types that are used as parts of another check."""
    files: set[Path] = field(default_factory=set)
    """Files whose change changes what the check does."""
    modules: dict[Path, ModuleType] = field(default_factory=dict)
    """Python files that are named in them, as they were imported for this configuration."""


READING: ContextVar[Reading | None] = ContextVar("heartbeat_reading", default=None)


@contextmanager
def reading(around: Reading) -> Iterator[Reading]:
    """Read options inside: checks among them are found, and relative paths belong to the configuration's folder."""
    token = READING.set(around)
    try:
        yield around
    finally:
        READING.reset(token)


@dataclass(frozen=True, slots=True)
class Part:
    """A check of any type as an option of another: ``check: Part`` takes ``{http: {url: ...}}``.

    Its options are checked when they are read. Those with references are checked again once these are filled in.
    """

    kind: str
    type: type[Check]
    options: Mapping[str, Any]
    ready: Check | None
    """The check itself, where nothing has to be filled in."""
    around: Reading | None = field(default=None, compare=False, repr=False)
    """What surrounded the options when they were read, and does again when they are filled in."""

    def references(self) -> Iterator[Reference]:
        """Yield what has to be filled in."""
        return references(self.options)

    def build(self, look_up: LookUp) -> Check:
        """Return the check with its references filled in. Raises ``CheckBroken`` where they do not fit."""
        if self.ready is not None:
            return self.ready
        around = self.around or Reading(_bundled)
        try:
            with reading(Reading(around.type_of, around.folder, modules=around.modules)):
                return self.type.model_validate(fill(self.options, look_up))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, (self.kind, *first["loc"])))
            sentence = f"{where}: {first['msg'].removeprefix('Value error, ')}; a value that was filled in does not fit"
            raise CheckBroken(sentence, reason="config") from None
        except (UnicodeError, RecursionError) as error:  # what no text, or no JSON, can be made of
            sentence = f"{self.kind}: a value that was filled in does not fit: {type(error).__name__}"
            raise CheckBroken(sentence, reason="config") from None

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(_read_part)

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "object", "minProperties": 1, "maxProperties": 1, MARK: True}


def _read_part(value: Any) -> Part:
    """Read ``{type: options}``. Objections of the type's own model keep their place below the key of the type."""
    if isinstance(value, Part):
        return value
    if not isinstance(value, Mapping) or len(value) != 1:
        raise ValueError("needs one key that names a check type, such as http:, with its options")
    kind, options = next(iter(value.items()))
    around = READING.get()
    options = {} if options is None else options
    if around is None:  # it is made in code, where nobody has told references from text yet
        options = late(options)
    if not isinstance(options, Mapping):
        raise _at(kind, f"{kind} must be a mapping of options")
    try:
        found = (around.type_of if around else _bundled)(kind)
    except LookupError as error:
        raise _at(kind, str(error.args[0])) from None
    if around is not None:
        around.used.add(kind)
    for name in sorted(found.literal):
        if any(True for _ in references(options.get(name))):
            raise ValueError(f"{kind}.{name} takes no references: hand the values over beside it")
    is_ready = not any(True for _ in references(options))
    checked = _check_options(kind, found, options)
    return Part(kind, found, options, checked if is_ready else None, around)


def _at(kind: str, sentence: str) -> ValidationError:
    """Return an objection to the key itself."""
    said = PydanticCustomError(NO_PART, "{said}", {"said": sentence})
    return ValidationError.from_exception_data(kind, [InitErrorDetails(type=said, loc=(kind,), input=kind)])


def _check_options(kind: str, found: type[Check], options: Mapping[str, Any]) -> Check | None:
    """Check options, something standing in for what is not known yet; what is objected to that comes again later."""
    try:
        checked = _only_option(kind, found).model_validate({kind: fill(options, lambda _: STAND_IN)})
    except ValidationError as error:
        every = error.errors(include_url=False)
        known = [one for one in every if not is_late(options, one["loc"][1:])]
        if len(known) == len(every):
            raise
        if known:
            raise ValidationError.from_exception_data(kind, [_again(one) for one in known]) from None
        return None
    made: Check = getattr(checked, kind)
    return made


def is_late(options: Any, path: Sequence[str | int]) -> bool:
    """Say whether a path leads to a text with references. A step that leads nowhere names a member of a union."""
    for step in path:
        try:
            options = options if isinstance(options, str) else options[step]
        except (LookupError, TypeError):
            continue
    return isinstance(options, Late)


def _again(error: ErrorDetails) -> InitErrorDetails:
    """Return an objection of pydantic's as one that can be raised again."""
    said = PydanticCustomError(error["type"], "{said}", {"said": error["msg"]})
    return InitErrorDetails(type=said, loc=error["loc"], input=None)


@cache
def _only_option(kind: str, found: type[Check]) -> type[BaseModel]:
    """Return a model with one field, so that what is wrong below it carries the key in its place."""
    fields: dict[str, Any] = {kind: (found, ...)}
    model: type[BaseModel] = create_model(kind, __config__=ConfigDict(hide_input_in_errors=True), **fields)
    return model


@cache
def _bundled(kind: str) -> type[Check]:
    from heartbeat.plugins import discover, load_type  # noqa: PLC0415 - only where no configuration says what there is

    source = discover().sources.get(kind)
    if source is None:
        raise LookupError(f"there is no check type {kind!r}")
    return load_type(source)


def configured_path(path: str) -> Path:
    """Return a path in options as it is meant: relative to the configuration's folder. Its changes are watched."""
    around = READING.get()
    if around is None:
        return Path(path)
    whole = around.folder / path
    around.files.add(whole)
    return whole

"""The check type `script`: a plain Python function in a file beside the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from inspect import Parameter, iscoroutinefunction, signature
from pathlib import PurePath
from traceback import extract_tb
from typing import Any, ClassVar

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from heartbeat import Answer, Check, CheckBroken, CheckFailed, Probe, configured_module


class Script(Check):
    """Run a Python function: for what does not deserve a plugin.

    `def check(probe, **arguments)`, with or without `probe`, plain (then in a thread) or `async`. It returns nothing,
    or a mapping of measurements in base units (`{"orders": 12, "age_seconds": 3.5}`). What is wrong it raises:
    `CheckFailed`, or simply an `assert` with a sentence. The file is loaded as plugins are: as a module of its own,
    with the `_*.py` beside it as helpers, and not where anybody may write to it. A change of it counts at the next
    reload.
    """

    literal: ClassVar[frozenset[str]] = frozenset({"file", "function"})

    file: str = Field(description="the Python file; a relative path begins at the configuration's folder", min_length=1)
    function: str = Field("check", description="the name of the function in it", validate_default=True)
    arguments: dict[str, Any] = Field(
        {}, description="what it is called with, by name", repr=False, validate_default=True
    )

    _call: Callable[..., Any] = PrivateAttr()
    _takes_probe: bool = PrivateAttr(default=False)

    @field_validator("file")
    @classmethod
    def _loads(cls, value: str) -> str:
        configured_module(value)
        return value

    @field_validator("function")
    @classmethod
    def _is_there(cls, value: str, info: ValidationInfo) -> str:
        if "file" in info.data:
            _function(info.data["file"], value)
        return value

    @field_validator("arguments")
    @classmethod
    def _fit(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "probe" in value:
            raise ValueError("probe is what the function gets from us; name the argument otherwise")
        if {"file", "function"} <= info.data.keys():
            call = _function(info.data["file"], info.data["function"])
            probe = {"probe": None} if _takes_probe(call) else {}
            try:
                signature(call).bind(**probe, **value)
            except TypeError as error:
                raise ValueError(f"{info.data['function']} cannot be called with these: {error}") from None
        return value

    @model_validator(mode="after")
    def _keep_function(self) -> Script:
        self._call = _function(self.file, self.function)
        self._takes_probe = _takes_probe(self._call)
        return self

    async def run(self, probe: Probe) -> None:
        """Call the function, and record what it measured."""
        call = partial(self._call, **({"probe": probe} if self._takes_probe else {}), **self.arguments)
        try:
            if iscoroutinefunction(self._call):
                found = await call()
            else:
                found = await probe.backing.in_thread(call, probe.keep_busy)
        except AssertionError as error:
            raise CheckFailed(_words(error, self._call)) from error
        if found is None:
            return
        if not isinstance(found, Mapping):
            words = f"{self.function} returned {_kind(found)}; it returns nothing or a mapping of measurements"
            raise CheckBroken(f"{words}, and raises CheckFailed where something is wrong")
        for name, value in found.items():
            probe.record(name, value)
        probe.answer(lambda: Answer(value=dict(found)))


def _function(file: str, name: str) -> Callable[..., Any]:
    module = configured_module(file)
    found = getattr(module, name, None)
    if found is None:
        raise ValueError(f"there is no function {name} in {PurePath(file).name}")
    if not callable(found) or isinstance(found, type):
        raise ValueError(f"{name} in {PurePath(file).name} is no function")  # noqa: TRY004 - pydantic wants this one
    return found  # type: ignore[no-any-return]  # callable, as was just seen


def _takes_probe(call: Callable[..., Any]) -> bool:
    probe = signature(call).parameters.get("probe")
    return probe is not None and probe.kind in {Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY}


def _words(error: AssertionError, call: Callable[..., Any]) -> str:
    """Return what an assertion says, or else what it was about."""
    if said := str(error):
        return said
    frames = extract_tb(error.__traceback__)
    file = getattr(getattr(call, "__code__", None), "co_filename", "")
    last = next((one for one in reversed(frames) if one.filename == file), frames[-1])
    return f"it does not hold: {last.line} ({PurePath(last.filename).name}:{last.lineno})"


def _kind(value: object) -> str:
    return str(value) if isinstance(value, bool) else f"a value of the type {type(value).__name__}"

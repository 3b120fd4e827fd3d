"""What the references in a flow stand for: checked when the options are read, looked up while it runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from pydantic_core import InitErrorDetails

from heartbeat import Check, CheckFailed, Part, Reference

from ._flow_step import Step, objection

Place = tuple[str | int, ...]
FIELDS = ("user", "password", "token", "totp")
RUN = ("id", "tag")
CONCEALED_FROM = 8
"""Characters from which on a value that was taken is kept out of evidence: it may be a token."""


class Unknown(CheckFailed):
    """A reference to what is not known: the step did not run, or its answer had no such part."""

    def __init__(self, reference: Reference, sentence: str) -> None:
        super().__init__(f"{reference}: {sentence}", reason="absent")
        self.reference = reference


@dataclass(slots=True)
class Scope:
    """What references stand for in one attempt of a run.

    Attributes:
        run: the id of the run, and the tag of what it creates.
        accounts: what is leased, by name.
        values: what was taken so far, by step.
        kept: what an earlier run left behind instead, by the dotted path of the reference.
        item: what is being swept.
        given: the values of accounts that a step has asked for: a one-time code is given once.
    """

    run: Mapping[str, str]
    accounts: Mapping[str, Any] = field(default_factory=dict)
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    kept: Mapping[str, Any] = field(default_factory=dict)
    item: Any = None
    given: dict[tuple[str, ...], str] = field(default_factory=dict)

    def __call__(self, reference: Reference) -> Any:
        """Return what a reference stands for. Raises ``Unknown``."""
        first, *rest = reference.path
        if reference.root == "run":
            return self.run[first]
        if reference.root == "accounts":
            return self._of_account(reference, first, rest[0])
        if reference.root == "item":
            return _inside(reference, self.item, reference.path)
        dotted = ".".join(reference.path)
        if dotted in self.kept:
            return self.kept[dotted]
        if first not in self.values:
            raise Unknown(reference, f"the step {first} has not run, or failed")
        if rest[0] not in self.values[first]:
            raise Unknown(reference, f"the step {first} took nothing")
        return _inside(reference, self.values[first][rest[0]], rest[1:])

    def _of_account(self, reference: Reference, name: str, what: str) -> Any:
        if reference.path not in self.given:
            self.given[reference.path] = self.accounts[name][what]
        return self.given[reference.path]


async def fill_in(part: Part, scope: Scope) -> Check:
    """Return the check of a part, with what its references stand for. Raises ``Unknown``, or ``CheckBroken``."""
    if part.ready is not None:
        return part.ready
    scope.given.clear()
    for name in {one.path[0] for one in part.references() if one.root == "accounts" and one.path[1] == "totp"}:
        await scope.accounts[name].fresh()
    return part.build(scope)


def _inside(reference: Reference, value: Any, path: Sequence[str]) -> Any:
    for number, step in enumerate(path):
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise Unknown(reference, f"there is no {'.'.join(path[: number + 1])}")
    return value


def texts_in(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the texts in a value that may be a token, each with the path to it."""
    waiting = [("", value)]  # no recursion: it may nest as deeply as JSON can
    while waiting:
        place, one = waiting.pop()
        if isinstance(one, str) and len(one) >= CONCEALED_FROM:
            yield place, one
        elif isinstance(one, (Mapping, list)):
            inner = one.items() if isinstance(one, Mapping) else enumerate(one)
            waiting += reversed([(f"{place}.{key}", below) for key, below in inner])


class Known:
    """What references may name at one place of a flow."""

    def __init__(self, steps: Sequence[Step], later: Sequence[Step] = (), *, has_item: bool = False) -> None:
        self._takes = {step.name: tuple(step.take) for step in steps}
        self._later = {step.name for step in later}
        self._roots = ("steps", "accounts", "run", *(("item",) if has_item else ()))

    def objections(self, part: Part | None, place: Place) -> Iterator[InitErrorDetails]:
        """Yield what is wrong with the references in a part."""
        if part is not None:
            for below, reference in _walk(part.options, ()):
                if said := self._problem(reference):
                    yield objection(f"{reference}: {said}", (*place, part.kind, *below))

    def _problem(self, reference: Reference) -> str:
        root, (first, *rest) = reference.root, reference.path
        if root not in self._roots:
            return f"only sweep.remove knows ${{{root}...}}"
        if root == "run":
            return "" if first in RUN and not rest else f"a run has an id and a tag{_nearest(first, RUN)}"
        if root == "accounts":
            field = rest[0] if rest else ""
            is_field = len(rest) == 1 and field in FIELDS
            return "" if is_field else f"an account has {', '.join(FIELDS)}{_nearest(field, FIELDS)}"
        return self._problem_of_step(first, rest) if root == "steps" else ""

    def _problem_of_step(self, name: str, rest: Sequence[str]) -> str:
        if name in self._later:
            return f'the step "{name}" comes later; only what earlier steps took is known here'
        if name not in self._takes:
            return f'there is no step "{name}"{_nearest(name, self._takes)}'
        takes = self._takes[name]
        if not rest:
            return f"needs the name of a value, such as ${{steps.{name}.{takes[0] if takes else 'id'}}}"
        if rest[0] not in takes:
            hint = _nearest(rest[0], takes) or f"; write take: there, with {rest[0]}: and a JSONPath"
            return f'the step "{name}" takes no "{rest[0]}"{hint}'
        return ""


def _walk(value: Any, place: Place) -> Iterator[tuple[Place, Reference]]:
    if isinstance(value, str):
        yield from ((place, one) for one in getattr(value, "parts", ()) if isinstance(one, Reference))
    elif isinstance(value, (Mapping, list, tuple)):
        for key, one in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _walk(one, (*place, key))


def _nearest(word: str, known: Iterable[str]) -> str:
    found = get_close_matches(word[:100], list(known), n=1)
    return f'; did you mean "{found[0]}"?' if found else ""

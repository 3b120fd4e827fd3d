"""Equal values of many checks become one object: ten thousand checks have one policy, one schedule, one expectation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from heartbeat.check import Check
from heartbeat.core.model import NOTHING

T = TypeVar("T")
_EMPTY = (dict, list, set)


class Shared:
    """What was seen so far. Only what never changes is shared."""

    def __init__(self) -> None:
        self._kept: dict[Any, Any] = {}

    def __call__(self, value: T) -> T:
        """Return the first value that was equal to this one, and of the same type; frozen ones only."""
        kept: T = self._kept.setdefault((type(value), value), value)
        return kept

    def labels(self, labels: Mapping[str, str]) -> Mapping[str, str]:
        """Return the first labels that were equal to these, in the same order."""
        kept: Mapping[str, str] = self._kept.setdefault(tuple(labels.items()), labels) if labels else NOTHING
        return kept

    def model(self, check: Check) -> Check:
        """Return a check that shares with others its frozen parts, and the set of the names that were given.

        Where a default is a model that cannot be hashed, pydantic makes each check a copy of its own: with the
        set that is half of what a check takes.
        """
        if check.model_config.get("frozen"):
            self._share_names(check)
        values = vars(check)
        for name, value in values.items():
            if isinstance(value, BaseModel) and (key := _key(value)) is not None:
                values[name] = self._kept.setdefault(key, value)
        return check

    def _share_names(self, model: BaseModel) -> None:
        given = model.model_fields_set
        kept = self._kept.setdefault(frozenset(given), given)
        object.__setattr__(model, "__pydantic_fields_set__", kept)  # the model is frozen, so nothing adds to it


def _key(part: BaseModel) -> tuple[Any, ...] | None:
    """Return what equal parts have in common, or None for one that may change, or may differ in what is private."""
    if not part.model_config.get("frozen") or part.__pydantic_private__ or part.__pydantic_extra__:
        return None
    values = tuple((type(value), value) for value in vars(part).values())
    plain = tuple((kind, () if kind in _EMPTY and not value else value) for kind, value in values)
    key = (type(part), plain, frozenset(part.model_fields_set))
    try:
        hash(key)
    except TypeError:  # a list or mapping with something in it
        return None
    return key

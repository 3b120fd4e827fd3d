"""One expectation of one value: a bare value means equality, anything else is tagged."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from heartbeat.check import CheckFailed
from heartbeat.http.text import clean

TAGS = ("exists", "equals", "matches", "contains", "above", "below", "in", "not")


class Missing:
    """The type of ``MISSING``: there is no such value (which is not the value null)."""

    def __repr__(self) -> str:
        return "nothing"


MISSING = Missing()


@lru_cache(maxsize=4096)
def pattern(text: str) -> Any:
    """Compile an RE2 pattern (linear time, whatever the text). Raises ``ValueError`` where it is none."""
    import re2  # noqa: PLC0415 - most checks need none of it

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(text, options=options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else error.args[0]
        raise ValueError(f"the pattern {clean(text, 80)!r} is no regular expression (RE2): {reason}") from None


class Expectation(BaseModel):
    """What a value should be. All tags that are given must hold."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True)
    exists: bool | None = Field(None, description="whether there must be such a value at all")
    equals: Any = Field(None, description="the value itself; the same as writing it bare")
    matches: str | None = Field(None, description="an RE2 regular expression, found anywhere in the text")
    contains: Any = Field(None, description="a part of the text, an item of the list, or a key of the object")
    above: float | None = Field(None, description="the number must be larger")
    below: float | None = Field(None, description="the number must be smaller")
    in_: list[Any] | None = Field(None, alias="in", description="the value must be one of these")
    not_: Expectation | None = Field(None, alias="not", description="an expectation that must not hold")

    @model_validator(mode="before")
    @classmethod
    def _from_bare(cls, value: Any) -> Any:
        if isinstance(value, (dict, cls)):
            if not value:
                raise ValueError(f"an expectation needs one of {', '.join(TAGS)}")
            return value
        return {"equals": value}

    @field_validator("matches")
    @classmethod
    def _compiled(cls, value: str | None) -> str | None:
        if value is not None:
            pattern(value)
        return value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Let the editor know that a bare value will do."""
        tagged = handler.resolve_ref_schema(handler(schema))
        return {"anyOf": [{"type": ["string", "number", "boolean", "null", "array"]}, tagged]}

    def problem(self, value: Any) -> tuple[str, str, str] | None:
        """Hold a value against this; return reason, what was expected and what is wrong in words, or None.

        ``value`` is a JSON value, a text, or ``MISSING``. Texts equal numbers and booleans that are written so.
        """
        if value is MISSING:
            return self._problem_of_nothing()
        for test in self._tests():
            found = test(value)
            if found is not None:
                return found
        return None

    def _problem_of_nothing(self) -> tuple[str, str, str] | None:
        if self.exists is False or (self.not_ is not None and self.model_fields_set == {"not_"}):
            return None
        return "absent", self.wanted(), "is missing"

    def wanted(self) -> str:
        """Say in words what is expected."""
        given = self.model_dump(by_alias=True, include=self.model_fields_set - {"not_"})
        words = [_tag_in_words(tag, value) for tag, value in given.items()]
        if self.not_ is not None:
            words.append(f"not {self.not_.wanted()}")
        return clean(" and ".join(words))

    def _tests(self) -> Iterator[Callable[[Any], tuple[str, str, str] | None]]:
        for name in self.model_fields_set:
            yield getattr(self, f"_test_{name.rstrip('_')}")

    def _test_exists(self, _value: Any) -> tuple[str, str, str] | None:
        return None if self.exists else ("content", "nothing", "is there")

    def _test_equals(self, value: Any) -> tuple[str, str, str] | None:
        return None if same(self.equals, value) else ("mismatch", show(self.equals), "is another value")

    def _test_matches(self, value: Any) -> tuple[str, str, str] | None:
        found = pattern(self.matches or "").search(_searchable(value))
        return None if found else ("content", f"matches {clean(self.matches)}", "does not match")

    def _test_contains(self, value: Any) -> tuple[str, str, str] | None:
        held = self.contains in value if isinstance(value, dict) else _holds(value, self.contains)
        return None if held else ("content", f"contains {show(self.contains)}", "does not contain it")

    def _test_above(self, value: Any) -> tuple[str, str, str] | None:
        return _compare(value, f"above {self.above:g}", lambda number: number > (self.above or 0.0))

    def _test_below(self, value: Any) -> tuple[str, str, str] | None:
        return _compare(value, f"below {self.below:g}", lambda number: number < (self.below or 0.0))

    def _test_in(self, value: Any) -> tuple[str, str, str] | None:
        held = any(same(wanted, value) for wanted in self.in_ or ())
        return None if held else ("content", f"one of {show(self.in_)}", "is none of them")

    def _test_not(self, value: Any) -> tuple[str, str, str] | None:
        inner = self.not_
        if inner is None or inner.problem(value) is not None:
            return None
        return "content", f"not {inner.wanted()}", "is what it must not be"


def _tag_in_words(tag: str, value: Any) -> str:
    if tag == "exists":
        return "anything" if value else "nothing"
    if tag == "equals":
        return show(value)
    return f"{'one of' if tag == 'in' else tag} {value if tag == 'matches' else show(value)}"


def _holds(value: Any, part: Any) -> bool:
    if isinstance(value, list):
        return any(same(part, item) for item in value)
    return show(part, quote=False, limit=1_000_000) in _searchable(value)


def _compare(value: Any, wanted: str, test: Callable[[float], bool]) -> tuple[str, str, str] | None:
    try:
        number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else float(str(value).strip())
    except ValueError:
        return "content", wanted, "is no number"
    return None if test(number) else ("content", wanted, f"is not {wanted}")


def same(wanted: Any, value: Any) -> bool:
    """Compare as JSON does: true is not 1, but 1 is 1.0; a text equals what would be written so."""
    if isinstance(value, Text):
        return str(value) == show(wanted, quote=False, limit=1_000_000)
    if isinstance(wanted, bool) or isinstance(value, bool):
        return wanted is value
    if isinstance(wanted, list) and isinstance(value, list):
        return len(wanted) == len(value) and all(map(same, wanted, value))
    if isinstance(wanted, dict) and isinstance(value, dict):
        return wanted.keys() == value.keys() and all(same(item, value[key]) for key, item in wanted.items())
    return bool(wanted == value)


class Text(str):
    """A text that came without a type: a header or a body, where ``5`` may be meant as a number."""

    __slots__ = ()


def show(value: Any, *, quote: bool = True, limit: int = 200) -> str:
    """Write a value as JSON and YAML would."""
    if isinstance(value, str):
        return f'"{clean(value, limit)}"' if quote else value
    return json.dumps(value, ensure_ascii=False, default=str)[: limit + 1]


def _searchable(value: Any) -> str:
    text = show(value, quote=False, limit=1_000_000)
    return text.encode("utf-8", "replace").decode()  # RE2 takes no lone surrogates


def require(expectation: Expectation, value: Any, name: str) -> None:
    """Hold a value against an expectation. Raises ``CheckFailed`` with a sentence that begins with the name."""
    found = expectation.problem(value)
    if found is None:
        return
    reason, wanted, words = found
    observed = None if value is MISSING else show(value, quote=False)
    observed = observed if observed is None else clean(observed)
    raise CheckFailed(f"{name} {words}", reason=reason, expected=wanted, observed=observed)

"""Values that a flow takes from the answers of its steps: JSONPath, RE2, header, cookie, measurement."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Annotated, Any, NoReturn

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from heartbeat import Answer, CheckFailed, late
from heartbeat.http.expect import path
from heartbeat.http.expectation import pattern
from heartbeat.http.text import clean

VALUE_BYTES = 64 * 1024
VALUES = 1000
"""How many values one path or pattern may give."""
CUT_OFF = "the answer ends in the middle of its JSON: it is broken off, or longer than what the step reads of it"
SOURCES = ("json", "re2", "header", "cookie", "measurement")
MODEL = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _is_path(text: str) -> str:
    path(_fixed(text))
    return text


def _is_pattern(text: str) -> str:
    pattern(_fixed(text))
    return text


def _fixed(text: str) -> str:
    """Refuse references, which are filled in below a check type only."""
    if type(late(text)) is not str:
        raise ValueError("holds a reference; these are filled in below a check type only, such as http:")
    return text


Fixed = Annotated[str, AfterValidator(_fixed)]
Path = Annotated[str, AfterValidator(_is_path)]
Pattern = Annotated[str, AfterValidator(_is_pattern)]


class Take(BaseModel):
    """Where a value is taken from: one of these; a text alone is a JSONPath."""

    model_config = MODEL
    json_: Path | None = Field(None, alias="json", description="a JSONPath (RFC 9535) into the answer")
    re2: Pattern | None = Field(
        None, description="an RE2 regular expression found in the answer's text: its first group, or all of it"
    )
    header: Fixed | None = Field(None, description="the name of a header, in any case", min_length=1)
    cookie: Fixed | None = Field(None, description="the name of a cookie that the answer sets", min_length=1)
    measurement: Fixed | None = Field(None, description="a measurement of the step, such as status_code")
    default: Any = Field(None, description="the value where there is none; without it the step fails")
    all_: bool = Field(False, alias="all", description="take all that is found, as a list")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"json": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Let editors know that a text alone will do."""
        return {"anyOf": [{"type": "string"}, handler.resolve_ref_schema(handler(schema))]}

    @model_validator(mode="after")
    def _has_one_source(self) -> Take:
        if len(self.model_fields_set - {"default", "all_"}) != 1:
            raise ValueError(f"needs exactly one of {', '.join(SOURCES)}")
        return self

    def from_(self, found: Found) -> Any:
        """Return the value. Raises ``CheckFailed`` (absent or content) with what was there instead."""
        values = self._all(found)
        if len(values) > VALUES:
            raise CheckFailed(f"{self.place} gives more than {VALUES} values")
        if self.all_ and values:
            return values
        if not values:
            if "default" in self.model_fields_set:
                return self.default
            raise CheckFailed(f"there is no {self.place}", reason="absent", expected=self.place, observed=found.seen())
        if len(values) > 1 and self.json_ is not None:
            raise CheckFailed(
                f"there are {len(values)} values at {self.place}; write all: true to take them all",
                expected="one value",
                observed=found.seen(),
            )
        return values[0]

    @property
    def place(self) -> str:
        """Say in words where the value is looked for."""
        if self.json_ is not None:
            return f"{clean(self.json_, 100)} in the answer"
        if self.re2 is not None:
            return f"text in the answer that matches {clean(self.re2, 100)}"
        if self.header is not None:
            return f"header {clean(self.header, 60)}"
        return f"cookie {clean(self.cookie, 60)}" if self.cookie is not None else f"measurement {self.measurement}"

    def _all(self, found: Found) -> list[Any]:
        if self.json_ is not None:
            return found.at(self.json_)
        if self.re2 is not None:
            return found.matching(self.re2)
        if self.header is not None:
            return found.headers(self.header)
        return found.cookies(self.cookie) if self.cookie is not None else found.measured(self.measurement or "")


class Found:
    """What a step found: its answer, read once whatever is taken from it, and its measurements."""

    def __init__(self, answer: Answer, measure: Callable[[str], float | None] = lambda _: None) -> None:
        self._answer = answer
        self._measure = measure
        self._read: tuple[Any] | None = None
        self.seen: Callable[[], str] = self._seen_headers

    @property
    def document(self) -> Any:
        """The answer as JSON says it. Raises ``CheckFailed`` where it is none."""
        if self._read is None:
            self._read = (self._answer.value if self._answer.value is not None else _parse(self._answer.text),)
        return self._read[0]

    def at(self, text: str) -> list[Any]:
        """Return what a JSONPath leads to."""
        self.seen = lambda: outline(self.document)
        return look_up(text, self.document)

    def matching(self, text: str) -> list[str]:
        """Return what a pattern finds."""
        self.seen = self._seen_text
        subject = self._answer.text.encode("utf-8", "replace").decode()  # RE2 takes no lone surrogates
        found: list[str] = []
        for match in pattern(text).finditer(subject):
            found += [(match.group(1) if match.re.groups else match.group()) or ""]
            if len(found) > VALUES:
                break
        return found

    def headers(self, name: str) -> list[str]:
        """Return the values of a header."""
        self.seen = self._seen_headers
        return [value for one, value in self._answer.headers if one.lower() == name.lower()]

    def cookies(self, name: str) -> list[str]:
        """Return the value that a cookie was set to last (RFC 6265, section 5.2)."""
        pairs = [value.partition(";")[0].partition("=") for value in self.headers("set-cookie")]
        names = ", ".join(clean(one.strip(), 40) for one, _, _ in pairs[:20])
        self.seen = lambda: f"the cookies {names}" if names else "no cookies"
        return [_unquoted(value.strip()) for one, _, value in pairs if one.strip() == name][-1:]

    def measured(self, name: str) -> list[float]:
        """Return a measurement of the step."""
        self.seen = lambda: "nothing of that name"
        value = self._measure(name)
        return [] if value is None else [int(value) if value.is_integer() else value]

    def _seen_text(self) -> str:
        try:
            return outline(self.document)
        except CheckFailed as failed:
            return failed.observed or ""

    def _seen_headers(self) -> str:
        names = ", ".join(clean(name, 40) for name, _ in self._answer.headers[:20])
        return f"the headers {names}" if names else "no headers"


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def take_all(takes: Mapping[str, Take], found: Found) -> dict[str, Any]:
    """Return what is taken, by name. Raises ``CheckFailed`` that names the value which cannot be."""
    return {name: _take(name, take, found) for name, take in takes.items()}


def take_some(takes: Mapping[str, Take], found: Found) -> dict[str, Any]:
    """Return what can be taken, by name."""
    values = {}
    for name, take in takes.items():
        with suppress(CheckFailed):
            values[name] = take.from_(found)
    return values


def _take(name: str, take: Take, found: Found) -> Any:
    try:
        value = take.from_(found)
        size = size_of(value)
    except CheckFailed as failed:
        sentence = f"{name} cannot be taken: {failed.sentence}"
        raise CheckFailed(sentence, reason=failed.reason, expected=failed.expected, observed=failed.observed) from None
    if size > VALUE_BYTES:
        raise CheckFailed(f"{name} cannot be taken: it has {size} bytes, more than {VALUE_BYTES}")
    return value


def look_up(text: str, document: Any) -> list[Any]:
    """Return what a JSONPath leads to, one more than are taken at most. Raises ``CheckFailed`` where it cannot be."""
    from jsonpath import JSONPathError  # noqa: PLC0415 - loaded when there is an answer to look into

    found = []
    try:
        for node in path(text).finditer(document):
            found.append(node.obj)
            if len(found) > VALUES:
                break
    except (JSONPathError, RecursionError) as error:
        raise CheckFailed(f"{clean(text, 100)} cannot be looked up: {clean(error)}") from None
    return found


def _parse(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise CheckFailed("the JSON of the answer is nested too deeply to be read") from None
    except ValueError as error:
        is_cut = isinstance(error, json.JSONDecodeError) and _is_cut(error)
        sentence = CUT_OFF if is_cut else "the answer is no JSON"
        raise CheckFailed(sentence, expected="JSON", observed=_kind_of(text)) from None


def _is_cut(error: json.JSONDecodeError) -> bool:
    """Say whether nothing is wrong with a text but that it ends too early."""
    is_end = error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated")
    return is_end and bool(error.doc.strip())


def _kind_of(text: str) -> str:
    """Say what a text is; how it begins only where it is markup, as all of it may be a token."""
    if not text.strip():
        return "nothing"
    return f"text that begins with {clean(text, 60)}" if text.lstrip()[0] == "<" else describe(text)


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def size_of(value: Any) -> int:
    """Return how many bytes a value has as text or JSON. Raises ``CheckFailed`` for what JSON cannot say."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)
        return len(text.encode())
    except RecursionError:
        raise CheckFailed("it is nested too deeply") from None
    except UnicodeEncodeError:
        raise CheckFailed("it holds half a character, which nobody can be sent", expected="Unicode") from None
    except (TypeError, ValueError):
        raise CheckFailed(f"it is no value that JSON knows: {type(value).__name__}") from None


def is_bounded(value: Any) -> bool:
    """Say whether a value is one that can be taken."""
    try:
        return size_of(value) <= VALUE_BYTES
    except CheckFailed:
        return False


def describe(value: Any) -> str:
    """Say what kind of value it is and how large; never the value, which may be a token."""
    if isinstance(value, str):
        return f"text of {len(value)} characters"
    if isinstance(value, (list, dict)):
        return f"{'list' if isinstance(value, list) else 'object'} of {len(value)}"
    return "nothing" if value is None else "true or false" if isinstance(value, bool) else "number"


def outline(value: Any, depth: int = 3) -> str:
    """Return the shape of a value: its keys, and the kinds of its values; 200 characters or so."""
    if isinstance(value, dict) and value and depth:
        inner = (f"{clean(key, 40)}: {outline(one, depth - 1)}" for key, one in list(value.items())[:12])
        return clean("{" + ", ".join(inner) + (", …}" if len(value) > 12 else "}"))
    if isinstance(value, list) and value and depth:
        return clean(f"[{len(value)} of {outline(value[0], depth - 1)}]")
    return describe(value)

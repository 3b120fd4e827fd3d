"""What an answer should be: status, headers, body, values in its JSON; checked at load, held against one body."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from heartbeat.check import CheckFailed
from heartbeat.http.expectation import MISSING, Expectation, Text, require
from heartbeat.http.message import Response
from heartbeat.http.text import clean, decode

if TYPE_CHECKING:
    from jsonpath import JSONPath, JSONPathEnvironment

SUCCESS = ((200, 299),)
UNAUTHORIZED = 401  # whoever asked, his credentials are refused or missing (RFC 9110 section 15.5.2)
NODES = 1000  # values that one path may give


def _ranges(value: Any) -> tuple[tuple[int, int], ...]:
    """Read ``200``, ``"200-299"``, ``"2xx"`` or a list of these."""
    if isinstance(value, (list, tuple)):
        if not value:
            raise ValueError("the list of statuses is empty")
        return tuple(pair for item in value for pair in ([item] if isinstance(item, tuple) else _ranges(item)))
    low, dash, high = str(value).strip().lower().partition("-")
    if len(low) == 3 and low.endswith("xx"):
        low, dash, high = low.replace("x", "0"), "-", low.replace("x", "9")
    first, last = (low.strip(), (high if dash else low).strip())
    if not (first.isdecimal() and last.isdecimal() and 100 <= int(first) <= int(last) <= 599) or value is True:
        raise ValueError(
            f"a status is a number from 100 to 599, a range like 200-299, or a list, not {clean(value, 40)!r}"
        )
    return ((int(first), int(last)),)


@cache
def _environment() -> JSONPathEnvironment:
    from jsonpath import JSONPathEnvironment  # noqa: PLC0415 - most checks need none of it

    return JSONPathEnvironment(strict=True)


@lru_cache(maxsize=4096)
def path(text: str) -> JSONPath:
    """Compile a JSONPath (RFC 9535). Raises ``ValueError`` where it is none."""
    from jsonpath import JSONPath, JSONPathError  # noqa: PLC0415 - as above

    try:
        compiled = _environment().compile(text)
    except (JSONPathError, RecursionError) as error:
        raise ValueError(f"{clean(text, 80)!r} is no JSONPath (RFC 9535): {clean(error)}") from None
    assert isinstance(compiled, JSONPath)  # noqa: S101 - strict mode knows no compound paths; for the type checker
    return compiled


def _checked_path(text: str) -> str:
    path(text)
    return text


STATUS_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 100, "maximum": 599},
        {"type": "string", "pattern": "^([1-5]\\d\\d(-[1-5]\\d\\d)?|[1-5]xx)$"},
        {"type": "array", "items": {"type": ["integer", "string"]}, "minItems": 1},
    ]
}
Statuses = Annotated[tuple[tuple[int, int], ...], BeforeValidator(_ranges), WithJsonSchema(STATUS_SCHEMA)]
Path = Annotated[str, AfterValidator(_checked_path)]


class Expect(BaseModel):
    """What an answer should be. Everything that is given must hold; the first that does not is reported."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True)

    status: Statuses = Field(
        SUCCESS, description="status of the final answer: 200, 200-299, or a list; 2xx if left out"
    )
    headers: Mapping[str, Expectation] = Field(default_factory=dict, description="header name to expectation")
    body: Expectation | None = Field(None, description="expectation of the body as text")
    json_: Mapping[Path, Expectation] = Field(
        default_factory=dict, alias="json", description="JSONPath to expectation; with several values each must hold"
    )

    def hold(self, response: Response) -> None:
        """Hold an answer against this. Raises ``CheckFailed`` (status, absent, mismatch or content)."""
        self._hold_status(response.status)
        for name, expectation in self.headers.items():
            value = response.header(name)
            require(expectation, MISSING if value is None else Text(value), f"the header {clean(name, 60)}")
        if self.body is not None:
            text = decode(response.body, response.header("content-type"))
            where = f"the body (its first {len(response.body)} bytes)" if response.truncated else "the body"
            require(self.body, Text(text), where)
        if self.json_:
            self._hold_json(response)

    def _hold_status(self, status: int) -> None:
        if not any(low <= status <= high for low, high in self.status):
            wanted = ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in self.status)
            reason = "auth" if status == UNAUTHORIZED else "status"
            raise CheckFailed(f"the status is {status}, not {wanted}", reason=reason, expected=wanted, observed=status)

    def _hold_json(self, response: Response) -> None:
        from jsonpath import JSONPathError  # noqa: PLC0415 - as above

        document = parse(response)
        for text, expectation in self.json_.items():
            try:
                for value in _values(text, document):
                    require(expectation, value, f"{clean(text, 100)} in the JSON body")
            except (JSONPathError, RecursionError) as error:
                raise CheckFailed(f"{clean(text, 100)} cannot be looked up in the JSON body: {clean(error)}") from None


def _values(text: str, document: Any) -> list[Any]:
    """Return what a path leads to, or ``MISSING`` where it leads nowhere."""
    found = []
    for node in path(text).finditer(document):
        found.append(node.obj)
        if len(found) > NODES:
            raise CheckFailed(f"{clean(text, 100)} gives more than {NODES} values in the JSON body")
    return found or [MISSING]


def parse(response: Response) -> Any:
    """Read the body as JSON (RFC 8259, so without NaN). Raises ``CheckFailed`` (content) where it is none."""
    if response.truncated:
        raise CheckFailed(f"the JSON body is longer than {len(response.body)} bytes, where reading stopped")
    if not response.body.strip():
        raise CheckFailed("the body is empty, not JSON", expected="JSON", observed="nothing")
    try:
        return json.loads(response.body, parse_constant=_refuse)
    except RecursionError:
        raise CheckFailed("the JSON body is nested too deeply to be read") from None
    except ValueError as error:
        head = clean(decode(response.body[:400], response.header("content-type")), 100)
        raise CheckFailed(f"the body is not JSON: {clean(error, 120)}", expected="JSON", observed=head) from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON value")

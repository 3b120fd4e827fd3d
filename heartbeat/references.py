"""References that are filled in while a check runs: ``${steps.login.token}``, ``${accounts.shopper.password}``.

The configuration leaves them in a text of a type of its own, so that a ``${`` which somebody escaped, or which stands
in a secret, is never taken for one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Self
from urllib.parse import quote

ROOTS = frozenset({"steps", "accounts", "run", "item"})
"""What references to be filled in later begin with."""
_REFERENCE = re.compile(r"([a-z]+)((?:\.[A-Za-z0-9_-]+)+)(?:\|(quote))?")
_TOKEN = re.compile(r"\$(\$\{)|\$\{([^{}]*)\}")


class Reference(NamedTuple):
    """One reference: ``${steps.login.token|quote}`` has the root ``steps`` and the path ``("login", "token")``.

    ``is_quoted`` asks for percent-encoding (RFC 3986), for a value that becomes a part of a URL.
    """

    root: str
    path: tuple[str, ...]
    is_quoted: bool = False

    def __str__(self) -> str:
        return "${" + ".".join((self.root, *self.path)) + ("|quote" if self.is_quoted else "") + "}"


Part = str | Reference
LookUp = Callable[[Reference], Any]
"""Returns the value of a reference, or raises what the run shall end with. One that returns the reference itself
leaves it to whoever fills in next."""


class Late(str):
    """A text with references in it; as a plain text it shows them as they were written."""

    __slots__ = ("parts",)
    parts: tuple[Part, ...]

    def __new__(cls, parts: tuple[Part, ...]) -> Self:
        """Make one of its parts."""
        late = super().__new__(cls, "".join(map(str, parts)))
        late.parts = parts
        return late

    def __reduce__(self) -> tuple[type[Late], tuple[tuple[Part, ...]]]:
        return Late, (self.parts,)

    def __getnewargs__(self) -> tuple[tuple[Part, ...]]:  # type: ignore[override]  # of a text it is the text
        return (self.parts,)


def parse_reference(inner: str) -> Reference | None:
    """Return the reference between ``${`` and ``}``, None where it is none of these."""
    found = _REFERENCE.fullmatch(inner)
    if found is None or found[1] not in ROOTS:
        return None
    return Reference(found[1], tuple(found[2].split(".")[1:]), bool(found[3]))


def late(value: Any) -> Any:
    """Return a value in which texts with references became ``Late``: for checks that are made in code, as in tests."""
    if isinstance(value, Late):
        return value
    if isinstance(value, str):
        return _late_text(value) if "${" in value else value
    if isinstance(value, Mapping):
        return {key: late(one) for key, one in value.items()}
    return [late(one) for one in value] if isinstance(value, (list, tuple)) else value


def _late_text(text: str) -> str:
    parts: list[Part] = []
    end = 0
    for token in _TOKEN.finditer(text):
        parts.append(text[end : token.start()])
        found = None if token[1] else parse_reference(token[2])
        parts.append("${" if token[1] else found or token[0])
        end = token.end()
    parts.append(text[end:])
    if not any(isinstance(part, Reference) for part in parts):
        return "".join(map(str, parts))
    return Late(tuple(part for part in parts if part != ""))


def references(value: Any) -> Iterator[Reference]:
    """Yield the references anywhere in a value."""
    if isinstance(value, Late):
        yield from (part for part in value.parts if isinstance(part, Reference))
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from references(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from references(one)


def fill(value: Any, look_up: LookUp) -> Any:
    """Return a value with its references filled in. A text that is one reference alone becomes what that stands for."""
    if isinstance(value, Late):
        return _fill_text(value, look_up)
    if isinstance(value, Mapping):
        return {key: fill(one, look_up) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [fill(one, look_up) for one in value]
    return value


def _fill_text(text: Late, look_up: LookUp) -> Any:
    found = [part if isinstance(part, str) else (part, look_up(part)) for part in text.parts]
    if any(isinstance(one, tuple) and isinstance(one[1], Reference) for one in found):
        return Late(tuple(one if isinstance(one, str) else _left(*one) for one in found))
    if len(found) == 1 and isinstance(found[0], tuple) and not found[0][0].is_quoted:
        return found[0][1]
    return "".join(one if isinstance(one, str) else _show(*one) for one in found)


def _left(reference: Reference, value: Any) -> Part:
    return reference if isinstance(value, Reference) else _show(reference, value)


def _show(reference: Reference, value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return quote(text, safe="") if reference.is_quoted else text

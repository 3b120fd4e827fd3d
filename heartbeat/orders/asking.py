"""What somebody asks for over the socket, read and weighed: who, why, about which checks, until when."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from heartbeat.config.problem import quoted
from heartbeat.control import Refused
from heartbeat.core.quiet import LABEL_NAME, NOTHING, PATTERN, Matcher
from heartbeat.core.text import plain
from heartbeat.core.times import readable

LONGEST = 366 * 86400.0
"""Seconds: what is to be quiet for longer is to be changed in the configuration."""
LONGEST_TEST = 3600.0
"""Seconds that anybody waits for what is answered to a test alert."""
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,99}")

Model = TypeVar("Model", bound=BaseModel)


class Ask(BaseModel):
    """The body of a request; ``lasts`` is in seconds, ``until`` in seconds since the epoch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: str = ""
    reason: str = ""
    name: str = ""
    checks: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    lasts: FiniteFloat | None = None
    until: FiniteFloat | None = None
    until_recovered: bool = False


@dataclass(frozen=True, slots=True)
class Stated:
    """What was asked for, once it makes sense."""

    by: str
    reason: str
    name: str = ""
    matcher: Matcher = NOTHING
    end: float | None = None
    until_recovered: bool = False


class AskTest(BaseModel):
    """The body of a request for a test alert: of which check it should look, and how many seconds to wait."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    check: str = ""
    wait: FiniteFloat = Field(default=60.0, gt=0, le=LONGEST_TEST)


def read_ask(body: object) -> Ask:
    """Return what the body of a request asks for. Raises ``Refused``."""
    return read(Ask, body)


def read_test(body: object) -> AskTest:
    """Return what test alert the body of a request asks for. Raises ``Refused``."""
    return read(AskTest, body)


def read(kind: type[Model], body: object) -> Model:
    """Return the body of a request as what it is to be. Raises ``Refused``, with what is wrong first."""
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise Refused(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", status=400) from None


def state(ask: Ask, now: float, *, named: bool = False, needs_reason: bool = True, covers: bool = True) -> Stated:
    """Return what was asked for. Raises ``Refused`` with what is missing, or makes no sense.

    Args:
        ask: what was asked for.
        now: the time, in seconds since the epoch.
        named: it has a name, and a known end.
        needs_reason: it must say why.
        covers: it must say about which checks and for how long.
    """
    by, reason = plain(ask.by, 100), plain(ask.reason, 500)
    if not by:
        raise Refused("it must be known who asks: --by NAME", status=400)
    if needs_reason and not reason:
        raise Refused('whoever is not told wants to know why: --reason "..."', status=400)
    if named and not NAME.fullmatch(ask.name):
        raise Refused(f"{quoted(ask.name)} is no name: use letters, digits, _ . - (at most 100)", status=400)
    if not covers:
        return Stated(by, reason)
    if named and ask.until_recovered:
        raise Refused("a maintenance needs an end: --for 1h, or --until TIME", status=400)
    return Stated(by, reason, ask.name, _matcher(ask), _end(ask, now), ask.until_recovered)


def _matcher(ask: Ask) -> Matcher:
    matcher = Matcher(ask.checks, ask.types, tuple(ask.labels.items()))
    if matcher.is_empty:
        raise Refused("it must be known for which checks: --checks 'shop-*', --label team=shop or --type http; "
                      "--checks '*' is all", status=400)  # fmt: skip
    for pattern in (*ask.checks, *ask.types):
        if not PATTERN.fullmatch(pattern):
            raise Refused(f"{quoted(pattern)} is no pattern: use letters, digits, _ . - and * for anything", status=400)
    for name, value in ask.labels.items():
        if not LABEL_NAME.fullmatch(name) or not value or plain(value, 200) != value:
            raise Refused(f"{quoted(f'{name}={value}')} is no label: write it like team=shop", status=400)
    return matcher


def _end(ask: Ask, now: float) -> float | None:
    if ask.lasts is not None and ask.until is not None:
        raise Refused("--for and --until exclude each other; keep one", status=400)
    if ask.lasts is None and ask.until is None:
        if ask.until_recovered:
            return None
        raise Refused("it needs an end: --for 2h, --until TIME or --until-recovered", status=400)
    until = now + ask.lasts if ask.lasts is not None else ask.until or 0.0
    if not now < until:
        raise Refused(f"its end, {readable(until)}, is past: it is {readable(now)}", status=400)
    if until > now + LONGEST:
        raise Refused("that is more than a year away; change the configuration instead", status=400)
    return until

"""Scripts: a story in words, such as ``ok fail*3 wait 2h ok(duration=900ms)``, for ``heartbeat simulate``.

A script is words, one after the other. A word may be repeated (``fail*3``), and so may several (``(ok fail)*5``); one
that is not about the main check names another first (``gateway:fail``).

=============================  =========================================================================================
``ok``, ``warn``               a run that is well, and one that breaks a limit which warns
``ok(duration=2s, depth=12)``  one that measured this; ``missing`` is what it did not measure
``fail``, ``fail=timeout``     a run whose target is bad, with a reason
``error``, ``error=plugin``    a run whose check is bad
``missed``, ``missed=busy``    a slot without a run
``wait 2h``, ``~2h``           time passes, and what runs in it says nothing new
``silence 1h``, ``off``        somebody silences the check, and ends that
``ack``                        somebody takes care of it
``restart``                    the daemon ends and starts
``remove``                     the check is taken out of the configuration
=============================  =========================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from heartbeat.core.model import BROKEN_REASONS, MISSED_REASONS, NOTHING, TARGET_REASONS, Reason
from heartbeat.core.times import span
from heartbeat.core.units import parse_duration, parse_ratio, parse_size

MOST = 10_000
"""Words of a script, written out."""
REASONS = {"fail": TARGET_REASONS, "error": BROKEN_REASONS, "missed": MISSED_REASONS}
RUNS = frozenset({"ok", "warn", *REASONS})
"""The words for a slot; the others are deeds, which take no time."""
OPERANDS = frozenset({"wait", "silence"})
DEEDS = OPERANDS | {"ack", "restart", "remove"}
_WORD = re.compile(
    r"(?:(?P<check>[A-Za-z0-9][A-Za-z0-9_.-]*):)?(?P<verb>[a-z]+)(?:=(?P<reason>[a-z]+))?(?:\((?P<pairs>[^()]*)\))?"
)
_TIMES = re.compile(r"\*([0-9]{1,5})")
_TEXT = re.compile(r"[^\s()]+")
_SPACE = re.compile(r"[\s,]*")


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that happens.

    Attributes:
        verb: what happens: a word of ``RUNS`` or of ``DEEDS``.
        check: to which check; empty for the one that the story is about.
        reason: why a run is not ok, where the script says so.
        values: what it measured, by name; None for what it did not measure.
        seconds: how long; None for the end of a silence.
    """

    verb: str
    check: str = ""
    reason: Reason | None = None
    values: Mapping[str, float | None] = field(default_factory=lambda: NOTHING)
    seconds: float | None = None

    @property
    def words(self) -> str:
        """What is shown of a deed."""
        operand = "" if self.verb not in OPERANDS else " off" if self.seconds is None else f" {span(self.seconds)}"
        return f"{self.verb}{operand}{self.check and ' of '}{self.check}"


def parse_script(text: str) -> tuple[Act, ...]:
    """Return what happens, repetitions written out. Raises ``ValueError`` with a sentence."""
    acts, end = _sequence(text, 0, depth=0)
    if end < len(text):
        raise ValueError(f'there is a ")" too many before "{_shown(text, end + 1)}"')
    if not acts:
        raise ValueError("is empty: say what happens, such as ok fail*3 ok")
    return acts


def _sequence(text: str, start: int, depth: int) -> tuple[tuple[Act, ...], int]:
    """Read words up to the end of the text or of the group; return them and where that is."""
    acts: tuple[Act, ...] = ()
    at = _skip(text, start)
    while at < len(text) and text[at] != ")":
        if text[at] == "(":
            found, at = _group(text, at, depth)
        else:
            found, at = _word(text, at)
        times = _TIMES.match(text, at)
        acts += found * (int(times[1]) if times else 1)
        if len(acts) > MOST:
            raise ValueError(f"has more than {MOST} words")
        end = times.end() if times else at
        at = _skip(text, end)
        if at == end < len(text) and text[at] not in "()":
            raise ValueError(f'cannot be read from "{_shown(text, at)}" on')
    return acts, at


def _group(text: str, start: int, depth: int) -> tuple[tuple[Act, ...], int]:
    if depth > 10:
        raise ValueError("has too many brackets in brackets")
    found, end = _sequence(text, start + 1, depth + 1)
    if end == len(text):
        raise ValueError(f'has no ")" to "{_shown(text, start)}"')
    return found, end + 1


def _word(text: str, start: int) -> tuple[tuple[Act, ...], int]:
    if text[start] == "~":
        return _wait(text, start + 1)
    word = _WORD.match(text, start)
    if word is None or word["verb"] not in RUNS | DEEDS:
        known = ", ".join(("ok", "warn", *REASONS, "wait", "silence", "ack", "restart", "remove"))
        raise ValueError(f'"{_shown(text, start)}": there is no such word; there are {known}')
    verb, check, end = word["verb"], word["check"] or "", word.end()
    if verb == "wait":
        return _wait(text, end)
    if verb == "silence":
        operand, end = _operand(text, end, 'silence needs a duration, such as "silence 1h", or "silence off"')
        return (Act(verb, check, seconds=None if operand == "off" else parse_duration(operand)),), end
    reason = _reason(verb, word["reason"])
    return (Act(verb, check, reason, dict(_values(word["pairs"] or ""))),), end


def _wait(text: str, start: int) -> tuple[tuple[Act, ...], int]:
    operand, end = _operand(text, start, 'wait needs a duration, such as "wait 2h"')
    return (Act("wait", seconds=parse_duration(operand)),), end


def _operand(text: str, start: int, otherwise: str) -> tuple[str, int]:
    found = _TEXT.match(text, _skip(text, start))
    if found is None:
        raise ValueError(otherwise)
    return found[0].rstrip(","), found.end()


def _reason(verb: str, word: str | None) -> Reason | None:
    if word is None:
        return None
    allowed = REASONS.get(verb, frozenset())
    if word not in {reason.value for reason in allowed}:
        known = f"the reasons are {', '.join(sorted(allowed))}" if allowed else "it takes no reason"
        raise ValueError(f"{verb}={word}: {known}")
    return Reason(word)


def _values(pairs: str) -> Iterator[tuple[str, float | None]]:
    for pair in filter(None, map(str.strip, pairs.split(","))):
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f'"{pair}": what a run measured is written as name=value')
        yield name.strip(), _number(name.strip(), value.strip())


def _number(name: str, text: str) -> float | None:
    """Read a number, duration, size or ratio; None for what is missing."""
    if text == "missing":
        return None
    for parse in (float, parse_duration, parse_size, parse_ratio):
        try:
            return parse(text)
        except ValueError:
            continue
    raise ValueError(f'{name}={text}: must be a number, 900ms, 64KiB, 99.5%, or "missing"')


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _shown(text: str, at: int) -> str:
    return text[at:].split(maxsplit=1)[0][:40] if text[at:].strip() else "the end"

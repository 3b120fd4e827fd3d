"""Switches: what says whether a check runs, what is known of that, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import ClassVar, NamedTuple

from heartbeat.core.quiet import QuietKind
from heartbeat.core.text import plain
from heartbeat.core.times import readable

WORDS = {**dict.fromkeys(("1", "true", "yes", "on"), True), **dict.fromkeys(("0", "false", "no", "off"), False)}
"""What stands for on and off, in variables, files and answers; in small and in capital letters."""
EVERY = 30.0
"""Seconds between two questions where nobody says otherwise."""
NEITHER = "it says neither on nor off"
PROBLEM_CHARACTERS = 300

Found = bool | str
"""What came of asking: on or off, or why that is not known, as what is said of the source ("it answers 503")."""


@dataclass(frozen=True, slots=True)
class InFile:
    """A file whose first word says it, or which has to be there (``exists``), or must not be."""

    path: str
    exists: bool | None = None

    def __str__(self) -> str:
        return f"the file {self.path}"


@dataclass(frozen=True, slots=True)
class AtUrl:
    """An answer over HTTP whose first word says it, or a value in its JSON (RFC 9535)."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    json: str = ""

    def __str__(self) -> str:
        return self.url.partition("?")[0] + (f" ({self.json})" if self.json else "")


@dataclass(frozen=True, slots=True)
class InFlag:
    """A flag of the OpenFeature provider, evaluated for each check with what is told of it besides."""

    flag: str
    context: str = ""
    """A JSON object."""

    def __str__(self) -> str:
        return f"the flag {self.flag}"


Asks = InFile | AtUrl | InFlag


@dataclass(frozen=True, slots=True)
class Switch:
    """What says whether a check runs.

    Attributes:
        asks: who is asked while the daemon runs; None where it was known at load.
        default: the answer where there is none yet, and where ``asks`` is None.
        every: seconds between two questions; files are looked at all the time.
        said: who said it, where it was known at load.
    """

    asks: InFile | AtUrl | InFlag | None = None
    default: bool = True
    every: float = EVERY
    said: str = "the configuration"

    def __str__(self) -> str:
        return self.said if self.asks is None else str(self.asks)

    @property
    def may_be_off(self) -> bool:
        """Say whether anything can switch a check off, or has."""
        return self.asks is not None or not self.default


ON, OFF = Switch(), Switch(default=False)
"""``enabled: true`` and ``enabled: false``; nobody is asked."""


class Source(NamedTuple):
    """One thing that is asked. A flag is asked for each check by itself: what it says may depend on the check."""

    asks: Asks
    check: str = ""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known of a source.

    Attributes:
        on: what it said last; None where it never said anything.
        doubtful_since: since when it does not say whether that still holds.
        problem: why not; empty where it was not asked yet.
    """

    on: bool | None = None
    doubtful_since: float | None = None
    problem: str = ""


UNASKED = Knowledge()


@dataclass(frozen=True, slots=True)
class SwitchedOff:
    """That a check is off because of its switch. It stands against telling like what a person switched off."""

    source: str
    known: Knowledge = UNASKED
    is_default: bool = False
    kind: ClassVar[QuietKind] = QuietKind.DISABLED

    def until(self, _now: float) -> float:
        """Return until when that is so: nobody knows."""
        return inf

    def say(self) -> str:
        """Return why nobody is told, and why it does not run."""
        if not self.is_default:
            how = f"switched off by {self.source}"
            return f"{how}, {_last_words(self.known)}" if self.known.problem else how
        if self.known.problem:
            return f"switched off by default: {self.source} {_unheard(self.known)}"
        return f"switched off by default, until {self.source} was asked"


def source_of(switch: Switch, check: str) -> Source | None:
    """Return what is asked for a check; None where nothing is."""
    if switch.asks is None:
        return None
    return Source(switch.asks, check if isinstance(switch.asks, InFlag) else "")


def read_word(text: object) -> Found:
    """Return what a value says: a boolean, or a text by its first word."""
    if isinstance(text, bool):
        return text
    words = str(text).split(maxsplit=1) if isinstance(text, (str, int)) else []
    if isinstance(text, str) and not words:
        return "it is empty"
    return WORDS.get(words[0].lower(), NEITHER) if words else NEITHER


def learn(known: Knowledge, found: Found, now: float) -> Knowledge:
    """Return what is known after a question. Where there is no answer, the last one holds."""
    if isinstance(found, bool):
        return Knowledge(found)
    since = now if known.doubtful_since is None else known.doubtful_since
    return replace(known, doubtful_since=since, problem=plain(found, PROBLEM_CHARACTERS))


def is_on(switch: Switch, known: Knowledge) -> bool:
    """Say whether a check runs."""
    return switch.default if switch.asks is None or known.on is None else known.on


def find_off(switch: Switch, known: Knowledge = UNASKED) -> SwitchedOff | None:
    """Return that a check is off, where it is."""
    if is_on(switch, known):
        return None
    return SwitchedOff(str(switch), known, is_default=switch.asks is not None and known.on is None)


def doubt(switch: Switch, known: Knowledge) -> str:
    """Say that nobody knows whether a check is still to run as it does, or nothing."""
    if not known.problem:
        return ""
    state = "on" if is_on(switch, known) else "off"
    if known.on is None:
        return f"{switch} {_unheard(known)}; the check is {state} by default"
    return f"the check is {state} by {switch}, {_last_words(known)}"


def needs_keeping(known: Knowledge, default: bool) -> bool:
    """Say whether a restart must know what was said last: it would do otherwise without."""
    return known.on is not None and (known.on is not default or known.doubtful_since is not None)


def _last_words(known: Knowledge) -> str:
    return f"as it said last; nobody has known since {readable(known.doubtful_since or 0.0)}: {known.problem}"


def _unheard(known: Knowledge) -> str:
    return f"has said nothing since {readable(known.doubtful_since or 0.0)}: {known.problem}"

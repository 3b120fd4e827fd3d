"""What channels share that people read in a chat or on a phone: tones, links, and texts cut to fit, saying so.

What comes from a target could be written to call a whole channel, or to pose as a link. So it goes only where a service
shows text as it is: in code, or in elements without any markup.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from heartbeat.core.message import GOOD, Message, Part
from heartbeat.core.telling import Pairs
from heartbeat.core.text import cut

CUT_HERE = "\n[cut here: the rest did not fit]"
LEFT_OUT = "Evidence is left out: it did not fit."
MOST_ROOM = 4000
ROOMS = ((MOST_ROOM, 5), (1500, 5), (0, 5), (0, 1), (0, 0))
"""Characters of evidence and incidents in detail, from the most to the least that a message may hold; with none in
detail, the worst has its first facts."""
BRIEF = 8


@dataclass(frozen=True, slots=True)
class Tone:
    """How a state looks: a colour (24 bits), the style of a card, the short code of a sign."""

    colour: int
    style: str
    sign: str


TONES = {
    "FAILING": Tone(0xD92D20, "attention", "rotating_light"),
    "WARNING": Tone(0xF79009, "warning", "warning"),
    "CHECK BROKEN": Tone(0x6938EF, "accent", "wrench"),
    "NOT RUNNING": Tone(0x6938EF, "accent", "hourglass"),
    "BUDGET BURNING": Tone(0xF79009, "warning", "fire"),
    "FLAPPING": Tone(0xF79009, "warning", "arrows_counterclockwise"),
    **dict.fromkeys(GOOD, Tone(0x12B76A, "good", "white_check_mark")),
}
NEUTRAL = Tone(0x667085, "emphasis", "information_source")


def tone_of(state: str) -> Tone:
    """Return how a state looks."""
    return TONES.get(state, NEUTRAL)


def split_headline(message: Message) -> tuple[str, str]:
    """Return the state, which is ours, and the rest of the headline, which may hold what a target said."""
    if message.headline.startswith(f"{message.state}: "):
        return message.state, message.headline.removeprefix(f"{message.state}: ")
    return message.state, message.headline


def links_of(part: Part) -> tuple[tuple[str, str], ...]:
    """Return what our own configuration links to: runbook and page, as title and URL."""
    context = part.event.context
    found = ((title, safe_link(context.get(key))) for title, key in (("Runbook", "runbook"), ("Page", "page")))
    return tuple((title, url) for title, url in found if url)


def safe_link(url: object) -> str:
    """Return a URL that is one in every format, or nothing."""
    return url if isinstance(url, str) and re.fullmatch(r"https?://[^\s<>|\"'`()\\\[\]\x00-\x20]{1,900}", url) else ""


def fit(text: str, limit: int, size: Callable[[str], int] = len) -> str:
    """Return a text within a limit, cut at the end of a line where possible, and saying that it is cut."""
    if size(text) <= limit:
        return text
    room = limit - size(CUT_HERE)
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if size(text[:middle]) <= room else (low, middle - 1)
    line = text.rfind("\n", low // 2, low)
    return text[: line if line > 0 else low] + CUT_HERE


def as_full_as_fits(message: Message, write: Callable[..., bytes], limit: int) -> bytes:
    """Return the fullest body within the limit: ``write(message, parts, left_out=)`` is asked for less and less."""
    has_evidence = any(part.evidence for part in message.detailed)
    attempts = (
        write(message, shortened(message, room, most), left_out=has_evidence and not room) for room, most in ROOMS
    )
    return first_fitting(attempts, limit)


def first_fitting(attempts: Iterable[bytes], limit: int) -> bytes:
    """Return the first body that is within the limit, or the last of all."""
    body = b""
    for body in attempts:
        if len(body) <= limit:
            break
    return body


def utf8(text: str) -> int:
    """Return the length in bytes."""
    return len(text.encode())


def utf16(text: str) -> int:
    """Return the length in code units, as Telegram and Teams count."""
    return len(text.encode("utf-16-le")) // 2


def fenced(text: str) -> str:
    """Return a text in which nothing ends a block or a span of code: U+02CB looks like the mark that would."""
    return text.replace("`", "\u02cb")


def shortened(message: Message, room: int, most: int) -> tuple[Part, ...]:
    """Return the incidents to tell in detail, with so many characters of evidence: the worst first."""
    parts = []
    for part in message.detailed[:most]:
        kept = []
        for name, text in part.evidence:
            if room > 0:
                kept.append((name, fit(text, max(room, 2 * len(CUT_HERE)))))
            room -= len(text)
        parts.append(replace(part, evidence=tuple(kept)))
    return tuple(parts)


def brief(part: Part) -> Pairs:
    """Return the first facts of an incident, each cut short."""
    return tuple((cut(name, 40), cut(value, 100)) for name, value in part.facts[:BRIEF])


def lines(facts: Pairs) -> str:
    """Return facts, a line each."""
    return "\n".join(f"{name}: {value}" for name, value in facts)

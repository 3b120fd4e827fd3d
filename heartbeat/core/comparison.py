"""What was told beside what would have been: who got how many messages, how often at night, how long after. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from heartbeat.core.model import OPENING, Delivery, DeliveryState, Kind, Severity, Track
from heartbeat.core.sentences import is_urgent, sentence_of, track_of
from heartbeat.core.text import plain
from heartbeat.core.times import lasting, readable

DAY = 86_400.0
NEAR = 900.0
"""Two messages so many seconds apart, of the same kind and to the same recipient, are the same, sooner or later."""
_BEGINNINGS = frozenset(OPENING.values())
_LEFT_OUT = frozenset({Kind.DRILL, Kind.MISSED, Kind.RESUMED})
"""What says nothing of limits and policies, and cannot be judged again from results: there were none."""


@dataclass(frozen=True, slots=True)
class Telling:
    """One event told to one recipient, or to nobody, with the reason why."""

    at: float
    check: str
    kind: Kind
    severity: Severity
    since: float
    event: str
    who: str
    sentence: str
    is_urgent: bool
    kept_back: str = ""

    @property
    def what(self) -> tuple[str, Kind, Severity, str]:
        """What makes two of them the same, at about the same time."""
        return self.check, self.kind, self.severity, self.who


@dataclass(frozen=True, slots=True)
class Pair:
    """One message as it was, and as it would be; one of them may be missing."""

    was: Telling | None
    would: Telling | None

    @property
    def at(self) -> float:
        """When it was, or would be sent."""
        return (self.was or self.would).at  # type: ignore[union-attr]  # one of them is there


@dataclass(frozen=True, slots=True)
class Figures:
    """What one side comes to. ``delays`` are seconds from the beginning of a trouble to the message, sorted."""

    messages: int
    recipients: dict[str, int]
    pages_per_day: float
    delays: tuple[float, ...]
    kept_back: int


def telling_of(delivery: Delivery) -> Telling | None:
    """Return what a delivery tells; None where it is not compared: a fallback, a drill, that a check does not run."""
    event = delivery.event
    if delivery.why or event.kind in _LEFT_OUT or track_of(event) is Track.RUNS:
        return None
    to = delivery.address
    return Telling(
        event.at,
        event.check,
        event.kind,
        event.severity,
        event.since,
        event.id,
        " ".join(filter(None, (plain(to.channel, 100), plain(to.recipient, 200)))),
        plain(sentence_of(event), 200),
        is_urgent(event),
        plain(delivery.note, 300) if delivery.state is DeliveryState.SUPPRESSED else "",
    )


def figures_of(tellings: Iterable[Telling], seconds: float) -> Figures:
    """Return what tellings of so many seconds come to."""
    told, kept = [], 0
    for one in tellings:
        if one.who:
            told.append(one)
        else:
            kept += 1
    pages = {one.event for one in told if one.is_urgent}
    first = {one.event: one.at - one.since for one in told if one.kind in _BEGINNINGS}
    return Figures(
        messages=len(told),
        recipients=dict(sorted(Counter(one.who for one in told).items())),
        pages_per_day=len(pages) / (seconds / DAY) if seconds > 0 else 0.0,
        delays=tuple(sorted(max(0.0, one) for one in first.values())),
        kept_back=kept,
    )


def pair_up(was: Sequence[Telling], would: Sequence[Telling]) -> list[Pair]:
    """Put those together that say the same at about the same time, the nearest first; in the order of their times."""
    before, after = _sorted_by_what(was), _sorted_by_what(would)
    pairs: list[Pair] = []
    for what in dict.fromkeys((*before, *after)):
        pairs += _pair(before.get(what, []), after.get(what, []))
    return sorted(pairs, key=lambda pair: pair.at)


def _sorted_by_what(tellings: Sequence[Telling]) -> dict[tuple[str, Kind, Severity, str], list[Telling]]:
    found: dict[tuple[str, Kind, Severity, str], list[Telling]] = {}
    for one in sorted(tellings, key=lambda one: one.at):
        if one.who:
            found.setdefault(one.what, []).append(one)
    return found


def _pair(was: list[Telling], would: list[Telling]) -> Iterator[Pair]:
    times = [one.at for one in would]
    near = []
    for index, one in enumerate(was):
        first, last = bisect_left(times, one.at - NEAR), bisect_right(times, one.at + NEAR)
        near += [(abs(times[other] - one.at), index, other) for other in range(first, last)]
    partners: dict[int, int] = {}
    taken: set[int] = set()
    for _, index, other in sorted(near):
        if index not in partners and other not in taken:
            partners[index] = other
            taken.add(other)
    yield from (Pair(one, would[partners[index]] if index in partners else None) for index, one in enumerate(was))
    yield from (Pair(None, one) for index, one in enumerate(would) if index not in taken)


def table_of(was: Figures, would: Figures) -> Iterator[tuple[str, str, str]]:
    """Yield the rows of a summary: what, as it was, as it would be."""
    yield "messages", str(was.messages), str(would.messages)
    for who in sorted(was.recipients.keys() | would.recipients.keys()):
        yield f"  {who}", str(was.recipients.get(who, 0)), str(would.recipients.get(who, 0))
    yield "pages a day", f"{was.pages_per_day:.3g}", f"{would.pages_per_day:.3g}"
    yield "from trouble to message, median", _median(was.delays), _median(would.delays)
    yield "from trouble to message, longest", _longest(was.delays), _longest(would.delays)
    yield "told to nobody", str(was.kept_back), str(would.kept_back)


def lines_of(pairs: Iterable[Pair]) -> Iterator[str]:
    """Yield a line for each message: ``=`` as it was, ``-`` not sent any more, ``+`` not sent before."""
    for pair in pairs:
        one = pair.was or pair.would
        if one is None:
            continue
        sign = "=" if pair.was and pair.would else "-" if pair.was else "+"
        moved = _moved(pair.would.at - pair.was.at) if pair.was and pair.would else ""
        yield f"{sign} {readable(one.at)}  {one.check} {one.kind.value} to {one.who}{moved}: {one.sentence}"


def data_of(figures: Figures) -> dict[str, Any]:
    """Return figures for machines; durations in seconds."""
    return {
        "messages": figures.messages,
        "recipients": figures.recipients,
        "pages_per_day": round(figures.pages_per_day, 4),
        "delay_median_seconds": median(figures.delays),
        "delay_longest_seconds": figures.delays[-1] if figures.delays else None,
        "told_to_nobody": figures.kept_back,
    }


def median(values: Sequence[float]) -> float | None:
    """Return the middle of sorted values, of two the lower one; None of none."""
    return values[(len(values) - 1) // 2] if values else None


def _median(delays: tuple[float, ...]) -> str:
    middle = median(delays)
    return "-" if middle is None else lasting(middle)


def _longest(delays: tuple[float, ...]) -> str:
    return lasting(delays[-1]) if delays else "-"


def _moved(seconds: float) -> str:
    if abs(seconds) < 1:
        return ""
    return f" ({lasting(abs(seconds))} {'later' if seconds > 0 else 'sooner'})"

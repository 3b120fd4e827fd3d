"""Holds what arrived against what was to be told: what is lost, told twice, or told in the wrong order."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

from heartbeat.testing.soak.facts import Facts, Pair, Told
from heartbeat.testing.soak.journal import Message

SPARE = "spare"
"""The way that is told what another could not be told."""
OVER = frozenset({"resolved", "check_repaired", "resumed", "budget_safe", "settled", "withdrawn"})
TROUBLES = "FAILING|WARNING|CHECK BROKEN|NOT RUNNING|BUDGET BURNING|FLAPPING"
ENDS = "RESOLVED|CHECK REPAIRED|RUNNING AGAIN|BUDGET SAFE|SETTLED|WITHDRAWN"


@dataclass(frozen=True, slots=True)
class Way:
    """What became of the events of one channel and recipient. ``passed_on`` were refused for good and told to others.

    ``created`` are those that it was to be told of; ``duplicated`` counts messages that were acknowledged before.
    """

    name: str
    created: int
    acknowledged: int
    passed_on: int
    duplicated: int
    lost: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All that is to be said. ``disorder`` is told in the wrong order; ``altered`` came again with other bytes.

    ``invented`` was told and is not in the store; ``unfinished`` are checks whose last event is not a good one,
    although all is well.
    """

    ways: tuple[Way, ...]
    disorder: tuple[str, ...]
    altered: tuple[str, ...]
    invented: tuple[str, ...]
    unfinished: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        """Say whether nothing is wrong."""
        wrong = (self.disorder, self.altered, self.invented, self.unfinished, *(way.lost for way in self.ways))
        return not any(wrong)


def judge(facts: Facts, messages: Sequence[Message], ways: Iterable[str]) -> Report:
    """Compare; ``ways`` are those that every event was to be told to, and ``spare`` is who is told in their place.

    An event that is suppressed is to be told to nobody.
    """
    told = [(message, told_by(facts, message)) for message in messages]
    acknowledged: dict[str, set[str]] = defaultdict(set)
    for message, events in told:
        if message.acknowledged:
            acknowledged[message.way] |= events
    return Report(
        tuple(_way(facts, name, acknowledged, messages) for name in ways),
        tuple(find_disorder(facts, told)),
        tuple(find_altered(messages)),
        tuple(sorted({event for message in messages for event in message.events} - facts.events.keys())),
        tuple(find_unfinished(facts)),
    )


def told_by(facts: Facts, message: Message) -> frozenset[str]:
    """Return the events that a message tells in detail, with those that it says they have superseded.

    Of one that was acknowledged also those that it only names, or has a line for among many: there the store says
    which they are, and the message shows at least the newest of each incident.
    """
    told = {event for event in message.spans if event in facts.events}
    for newest, (first, last) in message.spans.items():
        if newest in facts.events:
            incident = facts.incidents[facts.events[newest].incident]
            told |= {event.id for event in incident if first <= event.sequence <= last}
    return frozenset(told | _told_in_short(facts, message) if message.acknowledged else told)


def _told_in_short(facts: Facts, message: Message) -> set[str]:
    mine = [
        facts.events[event]
        for (way, event), batch in facts.batches.items()
        if way == message.way and batch and batch in message.id and event in facts.events
    ]
    newest = {event.incident: event for event in sorted(mine, key=lambda event: event.sequence)}
    shown = {one.incident for one in newest.values() if one.id in message.events or _has_line(message, one)}
    return {event.id for event in mine if event.incident in shown and event.id not in message.spans}


def _has_line(message: Message, event: Told) -> bool:
    states = ENDS if event.kind in OVER else TROUBLES
    return re.search(rf"^\* ({states}): {re.escape(event.check)}: ", message.text, re.MULTILINE) is not None


def _way(facts: Facts, name: str, acknowledged: dict[str, set[str]], messages: Sequence[Message]) -> Way:
    due = facts.events.keys() - facts.suppressed
    mine = acknowledged[name] & facts.events.keys()
    dead = {event for (way, event), state in facts.states.items() if way == name and state == "dead"}
    passed_on = (dead & acknowledged[SPARE]) - mine
    copies = Counter(message.id for message in messages if message.way == name and message.acknowledged)
    return Way(
        name,
        len(due),
        len(mine),
        len(passed_on),
        sum(number - 1 for number in copies.values()),
        tuple(sorted(due - mine - passed_on)),
    )


def find_disorder(facts: Facts, told: Sequence[tuple[Message, frozenset[str]]]) -> Iterable[str]:
    """Yield what arrived before all earlier events of its incident were acknowledged there, or given up."""
    since = _acknowledged_since(told)
    for message, named in told:
        for later in (facts.events[one] for one in named if one in facts.events and message.way != SPARE):
            for event in facts.incidents[later.incident]:
                is_earlier = event.sequence < later.sequence and event.id not in named
                is_given_up = facts.states.get((message.way, event.id)) == "dead" or event.id in facts.suppressed
                if is_earlier and not is_given_up and since.get((message.way, event.id), inf) > message.arrived:
                    yield f"{message.way}: {later.kind} {later.id} came before {event.kind} {event.id}"


def _acknowledged_since(told: Sequence[tuple[Message, frozenset[str]]]) -> dict[Pair, float]:
    since: dict[Pair, float] = {}
    for message, named in told:
        if message.acknowledged and message.answered is not None:
            for event in named:
                since[message.way, event] = min(since.get((message.way, event), inf), message.answered)
    return since


def find_altered(messages: Sequence[Message]) -> Iterable[str]:
    """Yield messages that came with other bytes after a copy that their receiver has, or may have."""
    kept: dict[tuple[str, str], bytes] = {}
    for message in messages:
        key = (message.way, message.id)
        if kept.get(key, message.content) != message.content:
            yield f"{message.way}: {message.id}"
        if message.acknowledged or message.answered is None:
            kept[key] = message.content


def find_unfinished(facts: Facts) -> Iterable[str]:
    """Yield the incidents of the soak's own checks that have no end."""
    for incident in facts.incidents.values():
        last = incident[-1]
        if last.kind not in OVER and not last.check.startswith("heartbeat."):
            yield f"{last.check}: {last.kind} {last.id}"

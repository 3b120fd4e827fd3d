"""Whom to tell in the configuration: of everything, apart by severity and kind of event, and if nobody takes care."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from heartbeat.config.problem import nearest
from heartbeat.config.reading import Reader, Spot, Wrong, duration, fields, names
from heartbeat.core.model import OPENING, OVER, Kind, Severity
from heartbeat.core.policy import Routes

Told = Mapping[str, tuple[str, ...]]

OTHERWISE = "otherwise"
"""Who is told of what is not told apart."""
KINDS = tuple(kind.value for kind in (*OPENING.values(), Kind.REMINDER) if kind is not Kind.RAISED)
WORDS = (Severity.WARN.word, Severity.FAIL.word, *KINDS)
"""What can be told apart; a kind of event comes before a severity."""
_ELSEWHERE = {
    **dict.fromkeys(OVER, "goes to whoever was told that it began; leave it out"),
    Kind.RAISED: "goes the way of its severity; name warn and fail",
    Kind.EASED: "goes the way of the severity that is left; name warn",
    Kind.ESCALATED: "goes to those in escalate: {after: 15m, to: [...]}",
    Kind.DRILL: "goes to the receiver that drill: names",
}
_OTHER_WORDS = {
    **dict.fromkeys(("warning", "warnings", "minor"), "warn"),
    **dict.fromkeys(("failure", "failed", "critical", "major", "down", "page"), "fail"),
    **dict.fromkeys(("error", "errors", "broken", "check"), "check_broken"),
    **dict.fromkeys(("absent", "absence", "stale"), "missed"),
    **dict.fromkeys(("budget", "slo", "objective", "burn", "burning"), "budget_burning"),
    **dict.fromkeys(("reminders", "remind", "repeat"), "reminder"),
    **dict.fromkeys(("default", "defaults", "else", "rest", "other", "others", "all"), OTHERWISE),
}
_ESCALATION_WORDS = {"notify": "to", "receivers": "to", "receiver": "to", "in": "after", "delay": "after"}


@dataclass(frozen=True, slots=True)
class Notify:
    """What one ``notify`` says; a list speaks of everything, and so takes the place of all that is said elsewhere."""

    told: Told = field(default_factory=dict)
    is_list: bool = False

    def over(self, other: Notify) -> Notify:
        """Return what is said here, and of what is not said here what is said elsewhere."""
        return self if self.is_list else Notify({**other.told, **self.told})


def receivers_named(known: Mapping[str, Any]) -> Reader:
    """Return a reader of a list of receivers' names, which must exist."""

    def read(spot: Spot) -> tuple[str, ...]:
        found = names(spot)
        for one in found:
            if one not in known:
                raise Wrong(f'there is no receiver "{one}"{nearest(one, known)}')
        return found

    return read


def notify_reader(known: Mapping[str, Any]) -> Reader:
    """Return a reader of ``notify``: a list of receivers, or a mapping of words and such lists."""
    receivers = receivers_named(known)

    def read(spot: Spot) -> Notify:
        if not isinstance(spot.node.value, dict):
            return Notify({OTHERWISE: receivers(spot)}, is_list=True)
        for word, child in spot.entries().items():
            if word in _ELSEWHERE:
                child.wrong(f"{word} {_ELSEWHERE[Kind(word)]}", child.key)
        known_words = (*WORDS, OTHERWISE)
        readers = dict.fromkeys((*known_words, *_ELSEWHERE), receivers)
        return Notify({word: told for word, told in fields(spot, readers, _OTHER_WORDS).items() if word in known_words})

    return read


def escalation_reader(known: Mapping[str, Any]) -> Reader:
    """Return a reader of ``escalate``: after how long whom to tell; ``never`` takes back what the defaults say."""
    readers = {"after": duration(1.0), "to": receivers_named(known)}

    def read(spot: Spot) -> dict[str, Any]:
        if spot.node.value in ("never", False):
            return {"after": None}
        if not isinstance(spot.node.value, dict):
            raise Wrong("must be {after: 15m, to: [receivers]}, or never")
        return fields(spot, readers, _ESCALATION_WORDS)

    return read


def make_routes(notify: Notify, escalation: Mapping[str, Any]) -> Routes:
    """Return who is told of a check. Raises ``Wrong`` for an escalation of which one half is missing."""
    told = dict(notify.told)
    usual = told.pop(OTHERWISE, ())
    apart = tuple((word, told[word]) for word in WORDS if word in told)
    after = escalation.get("after")
    if escalation and "after" not in escalation:
        raise Wrong('needs "after", such as 15m')
    if after is not None and "to" not in escalation:
        raise Wrong('needs "to", a list of receivers')
    return Routes(usual, apart, escalation["to"] if after is not None else ())

"""What a simulation shows: a line per run, per message, and per message that was not sent, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from heartbeat.core.batch import single
from heartbeat.core.message import compose
from heartbeat.core.model import Delivery, DeliveryState, Outcome, Severity, Verdict
from heartbeat.core.times import readable, timestamp


@dataclass(frozen=True, slots=True)
class Ran:
    """A run took place, or did not (``outcome`` missed). ``before`` and ``after`` are the severity of the check."""

    at: float
    check: str
    verdict: Verdict
    before: Severity
    after: Severity


@dataclass(frozen=True, slots=True)
class Told:
    """A message went to somebody, or to nobody."""

    at: float
    delivery: Delivery

    @property
    def why(self) -> str:
        """Why it was sent, or why it was not."""
        return self.delivery.note if self.is_suppressed else compose(single(self.delivery), self.at).why

    @property
    def headline(self) -> str:
        """Its first line."""
        return compose(single(self.delivery), self.at).headline

    @property
    def is_suppressed(self) -> bool:
        """Say whether nobody got it."""
        return self.delivery.state is DeliveryState.SUPPRESSED


@dataclass(frozen=True, slots=True)
class Did:
    """Something else happened: a restart, a silence, ..."""

    at: float
    what: str


Note = Ran | Told | Did


def text_of(notes: Iterable[Note]) -> Iterator[str]:
    """Yield lines for people; the day stands above its lines."""
    today = ""
    for note in notes:
        day, clock = readable(note.at).removesuffix(" UTC").rsplit(" ", 1)
        if day != today:
            today = day
            yield f"{day}, UTC"
        yield f"{clock}  {_words(note)}"


def data_of(note: Note) -> dict[str, Any]:
    """Return a note for machines."""
    at = timestamp(note.at)
    match note:
        case Ran():
            verdict = note.verdict
            return {
                "at": at,
                "check": note.check,
                "outcome": verdict.outcome.value,
                "severity": verdict.severity.word,
                "reason": verdict.reason,
                "sentence": verdict.sentence,
                "attempt": verdict.run.attempt,
                "status": note.after.word,
            }
        case Told():
            to, event = note.delivery.address, note.delivery.event
            return {
                "at": at,
                "check": event.check,
                "kind": event.kind.value,
                "severity": event.severity.word,
                "told": not note.is_suppressed,
                "receiver": to.receiver,
                "channel": to.channel,
                "recipient": to.recipient,
                "headline": note.headline,
                "why": note.why,
            }
        case Did():
            return {"at": at, "did": note.what}


def _words(note: Note) -> str:
    match note:
        case Ran():
            return _run(note)
        case Told():
            to, event = note.delivery.address, note.delivery.event
            who = " ".join(filter(None, (to.channel or "nobody", to.recipient)))
            return f"-> {who}: {note.headline} ({event.kind.value}: {note.why})"
        case Did():
            return f"{note.what}"


def _run(note: Ran) -> str:
    verdict = note.verdict
    is_known = verdict.outcome in (Outcome.OK, Outcome.FAIL)
    word = verdict.severity.word if is_known else verdict.outcome.value
    again = ", a second look" if verdict.run.attempt else ""
    found = f", {verdict.sentence}" if verdict.sentence else f", {verdict.reason}" if verdict.reason else ""
    if note.after is not note.before:
        status = f"; now {note.after.word}"
    elif not is_known or note.after is not verdict.severity:
        status = f"; still {note.after.word}"
    else:
        status = ""
    return f"{note.check} {word}{again}{found}{status}"

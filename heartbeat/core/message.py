"""The message: what a batch says to people. Pure: times come in as arguments, and every text is bounded and inert.

The subject stays the same through an incident, because mail programs group by it; the state stands in the first line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from heartbeat.core.batch import Batch, Story, stories
from heartbeat.core.model import Event, derive_id
from heartbeat.core.sentences import is_test, is_urgent, state_of
from heartbeat.core.telling import EVIDENCE_TOTAL, Pairs, Part, is_command, mention, short_id, some, tell
from heartbeat.core.text import cut, plain
from heartbeat.core.times import lasting

__all__ = ["GOOD", "TEXT_BYTES", "TROUBLES", "Message", "Part", "compose", "delay", "subject"]

TEXT_BYTES = 20_000
LATE = 60.0
"""Seconds beyond the wait for others, from which on a message says that it is late."""
IN_DETAIL = 10
"""Incidents of a batch that are told in detail; of the others the message has a line each, or at least the name."""
LISTED = 60
LIST_CHARACTERS = 9000
TROUBLES = ("FAILING", "BUDGET BURNING", "FLAPPING", "WARNING", "NOT RUNNING", "CHECK BROKEN")
"""The states in which something is to be done, the worst first."""
GOOD = ("RESOLVED", "BUDGET SAFE", "CHECK REPAIRED")
"""The states in which all is well, as far as the incident goes."""
RANKS = (*TROUBLES, "SETTLED", *GOOD, "RUNNING AGAIN", "WITHDRAWN", "DRILL", "TEST")
# What is given up first where the text would be too long: the share of the evidence, then incidents told in detail.
_ROOM = ((1.0, IN_DETAIL), (0.4, IN_DETAIL), (0.1, IN_DETAIL), (0.0, IN_DETAIL), (0.0, 3), (0.0, 1))


@dataclass(frozen=True, slots=True)
class Message:
    """What a person reads.

    ``headline`` is state, check and sentence in one line, and of several incidents how many are in which state;
    ``state`` is that of the worst. ``notes`` stand on top: why this recipient gets it, that it is late, and the
    ``warning`` that the store does not have it. ``parts`` are all incidents, the worst first. Of several, ``listed``
    has a line for each, and ``detailed`` are those that are told in full: the others have neither facts nor evidence.
    ``text`` is all of it, at most 20 kB in UTF-8. ``urgent`` is set where somebody should
    be woken.
    """

    subject: str
    state: str
    headline: str
    notes: tuple[str, ...]
    warning: str
    parts: tuple[Part, ...]
    listed: tuple[str, ...]
    detailed: tuple[Part, ...]
    text: str
    urgent: bool

    @property
    def facts(self) -> Pairs:
        """The short pairs of the worst incident."""
        return self.parts[0].facts

    @property
    def evidence(self) -> Pairs:
        """The texts of the worst incident."""
        return self.parts[0].evidence

    @property
    def why(self) -> str:
        """What the message was sent for, as for the worst incident."""
        return self.parts[0].why


def compose(batch: Batch, at: float, *, group_wait: float = 0.0, room: int = EVIDENCE_TOTAL) -> Message:
    """Turn a batch into what a person reads at a time.

    Args:
        batch: what is told; one incident, or several.
        at: when it leaves; a message that leaves late says so.
        group_wait: seconds that messages of this channel wait for others in any case.
        room: characters for evidence, the worst incident first. Less is used where the text would be too long.
    """
    told = tuple(sorted(stories(batch), key=lambda story: RANKS.index(state_of(story.newest))))
    for share, in_detail in _ROOM:
        message = _message(batch, told, _parts(told, at, group_wait, int(room * share), in_detail), in_detail)
        message = replace(message, notes=_notes(batch, at, group_wait))
        text = _text(message)
        if len(text.encode()) <= TEXT_BYTES:
            break
    return replace(message, text=_bounded(text))


def subject(*events: Event) -> str:
    """Return the subject: the same for all messages on an incident, or on the same set of incidents."""
    began = {event.incident: (event.since, event.check) for event in reversed(events)}
    check = plain(min(began.values())[1], 120)
    check = f"TEST {check}" if all(map(is_test, events)) else check
    if len(began) == 1:
        return f"heartbeat: {check} (incident {short_id(events[0].incident)})"
    return f"heartbeat: {check} and {len(began) - 1} more (incidents {short_id(derive_id('set', *sorted(began)))})"


def delay(events: Iterable[Event], at: float, group_wait: float) -> float:
    """Return how many seconds the news is old, 0 where it is told in time."""
    age = max((at - event.at for event in events), default=0.0)
    return age if age > group_wait + LATE else 0.0


def _message(batch: Batch, told: tuple[Story, ...], parts: tuple[Part, ...], in_detail: int) -> Message:
    return Message(
        subject=subject(*batch.events),
        state=parts[0].state,
        headline=_headline(told) or parts[0].headline,
        notes=(),
        warning=_warning(batch.events),
        parts=parts,
        listed=_list(parts),
        detailed=parts[:in_detail],
        text="",
        urgent=any(is_urgent(story.newest) for story in told),
    )


def _headline(told: tuple[Story, ...]) -> str:
    """Count several incidents by state, and name the checks; say nothing of a single one, which has its own."""
    if len(told) == 1:
        return ""
    counts = Counter(state_of(story.newest) for story in told)
    return f"{', '.join(f'{counts[state]} {state}' for state in RANKS if counts[state])}: {some(_names(told))}"


def _names(told: tuple[Story, ...]) -> list[str]:
    return list(dict.fromkeys(story.newest.check for story in told))


def _parts(told: tuple[Story, ...], at: float, group_wait: float, room: int, in_detail: int) -> tuple[Part, ...]:
    names, parts = set(_names(told)), []
    for story in told[:in_detail]:
        late = delay(story.events, at, group_wait) if len(told) > 1 else 0.0
        parts.append(tell(story, at, late=late, told=names, room=room))
        names |= set(story.newest.context.get("also_failing") or ())
        room -= sum(len(text) for _, text in parts[-1].evidence)
    return (*parts, *map(mention, told[in_detail:]))


def _notes(batch: Batch, at: float, group_wait: float) -> tuple[str, ...]:
    late = _late(delay(batch.events, at, group_wait))
    return tuple(filter(None, (_because(batch), late, _warning(batch.events))))


def _because(batch: Batch) -> str:
    """Say why this recipient gets it, where that is not the configuration."""
    reasons = list(dict.fromkeys(plain(delivery.why, 300).rstrip(".") for delivery in batch.deliveries if delivery.why))
    more = f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return f"You get this because {'; '.join(reasons[:3])}{more}." if reasons else ""


def _late(seconds: float) -> str:
    return f"This message is delayed {lasting(seconds)}: it could not leave earlier." if seconds else ""


def _warning(events: tuple[Event, ...]) -> str:
    """Say so when an event is in memory only: after a crash nobody would know of it."""
    if all(event.context.get("recorded", True) for event in events):
        return ""
    return "Heartbeat could not write to its store: this message is not yet recorded. Look at its disk."


def _text(message: Message) -> str:
    blocks = [message.headline, *message.notes]
    if not message.listed:
        return "\n\n".join([*blocks, *_details(message.parts[0])]) + "\n"
    blocks.append("\n".join(f"* {line}" for line in message.listed))
    for number, part in enumerate(message.detailed, 1):
        blocks += [f"--- {number} of {len(message.parts)} ---\n{part.headline}", *_details(part)]
    return "\n\n".join(blocks) + "\n"


def _list(parts: tuple[Part, ...]) -> tuple[str, ...]:
    """Return a line for each of several incidents, as far as there is room, and the names of all others."""
    if len(parts) == 1:
        return ()
    most = max(80, LIST_CHARACTERS // min(len(parts), LISTED))
    lines = [cut(part.headline, most) for part in parts[:LISTED]]
    if rest := parts[LISTED:]:
        lines.append(cut(f"and {len(rest)} more: {', '.join(plain(part.event.check, 60) for part in rest)}", 4000))
    return tuple(lines)


def _details(part: Part) -> list[str]:
    """Write facts and evidence as plain text. Evidence is indented, so that it cannot pose as a line of ours."""
    facts = "\n".join(f"{name + ':':<13} {value}" for name, value in part.facts)
    evidence = [f"{name}:\n{_indented(name, text)}" for name, text in part.evidence]
    return [facts, f"Why this message: {part.why}.", *evidence]


def _indented(name: str, text: str) -> str:
    """Indent a text; a command only by spaces, so that it can be copied and run."""
    margin = "    " if is_command(name) else "  | "
    return "\n".join(f"{margin}{line}" for line in text.split("\n"))


def _bounded(text: str) -> str:
    if len(text.encode()) <= TEXT_BYTES:
        return text
    return text.encode()[: TEXT_BYTES - 20].decode(errors="ignore") + "\n[cut here]\n"

"""What is said of one incident: its state, a sentence, facts and evidence. Pure; every text is bounded and inert."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from heartbeat.core.batch import Story
from heartbeat.core.limits import show
from heartbeat.core.model import Event, Kind, Severity
from heartbeat.core.text import block, plain
from heartbeat.core.times import lasting, period, readable, span

SENTENCE_CHARACTERS = 1000
EVIDENCE_CHARACTERS = 2000
COMMAND_CHARACTERS = 6000
"""Of the command that repeats the request: cut, it is of no use to anyone."""
EVIDENCE_TOTAL = 10_000
FACTS = 30
"""Measurements, limits or labels listed at most."""
NAMES = 10

Pairs = tuple[tuple[str, str], ...]

_UNITS = {"_seconds": "s", "_bytes": "B", "_ratio": "ratio"}
_STATES = {
    Kind.RESOLVED: "RESOLVED",
    Kind.CHECK_BROKEN: "CHECK BROKEN",
    Kind.CHECK_REPAIRED: "CHECK REPAIRED",
    Kind.WITHDRAWN: "WITHDRAWN",
    Kind.DRILL: "DRILL",
}
_TRACES = ("trace_id", "trace", "traceparent")
"""Under which names checks keep what finds the request in a tracing system."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a message says of one incident.

    ``headline`` is state, check and sentence in one line; ``facts`` are short pairs; ``evidence`` are texts of several
    lines; ``why`` says what this message was sent for. ``event`` is the one that says how it stands.
    """

    event: Event
    state: str
    headline: str
    facts: Pairs
    evidence: Pairs
    why: str


def tell(story: Story, at: float, *, late: float = 0.0, told: Iterable[str] = (), room: int = EVIDENCE_TOTAL) -> Part:
    """Turn a story into what a person reads, in full.

    Args:
        story: the events of one incident.
        at: when it is told.
        late: seconds that its first event is told later than it should have been.
        told: names of checks that stand in the same message; they need not be named again.
        room: characters for the texts that the check kept.
    """
    facts, evidence = _facts(story, at, late, set(told)), _evidence(_cause(story), room)
    return replace(mention(story), facts=facts, evidence=evidence)


def mention(story: Story) -> Part:
    """Turn a story into a single line for a person; its facts and evidence are left out."""
    event, state = story.newest, state_of(story.newest)
    return Part(event, state, f"{state}: {plain(event.check, 200)}: {outcome_of(story)}", (), (), why_of(story))


def state_of(event: Event) -> str:
    """Return how the check stands after the event, in capitals: ``FAILING``, ``WARNING``, ``RESOLVED``, ..."""
    return _STATES.get(event.kind) or ("FAILING" if event.severity is Severity.FAIL else "WARNING")


def short_id(identity: str) -> str:
    """Return the first characters of an id, enough for people to tell two apart."""
    return plain(identity.rpartition("_")[2][:8], 8)


def outcome_of(story: Story) -> str:
    """Say in one sentence how it stands; of what began and ended before it could be told, say both."""
    return _over(story) if story.is_over else sentence_of(story.newest)


def sentence_of(event: Event) -> str:
    """Say in one sentence what happened, in our words first; what came from the target stands after a colon."""
    found = plain(event.sentence, SENTENCE_CHARACTERS)
    lasted = span(event.at - event.since)
    if event.kind is Kind.CHECK_BROKEN:
        return f"the check itself is broken, the state of its target is unknown: {found or _reason(event)}"
    if event.kind is Kind.CHECK_REPAIRED:
        return f"the check works again after {lasted}"
    if event.kind is Kind.RESOLVED:
        return f"works again after {lasted}"
    if event.kind is Kind.WITHDRAWN:
        return f"removed from the configuration {lasted} into this incident; nobody watches it any more"
    if event.kind is Kind.REMINDER:
        return f"not well for {lasted}: {found or _reason(event)}"
    return found or _reason(event)


def why_of(story: Story) -> str:
    """Say why this message is sent: the question of everyone who is woken."""
    event = story.newest
    policy = plain(event.context.get("policy", ""), 100)
    rule = f" (its policy: {policy})" if policy else ""
    place = "message is the first" if event.sequence == 1 else f"message is number {event.sequence}"
    if len(story.events) > 1:
        place = f"it tells number {story.events[0].sequence} to {event.sequence}"
    messages = {
        Kind.RAISED: f"the check rose from {event.was.word} to {event.severity.word}{rule}",
        Kind.EASED: f"the check eased from {event.was.word} to {event.severity.word}{rule}",
        Kind.RESOLVED: f"the check went back from {event.was.word} to ok{rule}",
        Kind.REMINDER: "a reminder was due: nothing has changed since the last message",
        Kind.CHECK_BROKEN: "the check could not be carried out, so it says nothing about its target",
        Kind.CHECK_REPAIRED: "the check could be carried out again",
        Kind.WITHDRAWN: "the check left the configuration while this incident was open",
        Kind.DRILL: "a drill of this way out was due",
    }
    return f"{messages[event.kind]}; {place} of this incident"


def _over(story: Story) -> str:
    last, cause = story.newest, _cause(story)
    if cause.kind in (Kind.CHECK_BROKEN, Kind.CHECK_REPAIRED):
        trouble = "could not be checked"
    else:
        trouble = "was down" if max(cause.severity, cause.was) is Severity.FAIL else "was not well"
    end = ", then it was removed from the configuration" if last.kind is Kind.WITHDRAWN else ""
    found = plain(cause.sentence, SENTENCE_CHARACTERS) or _reason(cause)
    return f"{trouble} {period(last.since, last.at)}{end}: {found}"


def _cause(story: Story) -> Event:
    """Return the event that tells what was wrong: of what is over the worst, and otherwise the newest."""
    if not story.is_over:
        return story.newest
    return max(story.events, key=lambda event: (max(event.severity, event.was), bool(event.sentence)))


def _reason(event: Event) -> str:
    return f"the reason is {event.reason}" if event.reason else "no reason is known"


def _facts(story: Story, at: float, late: float, told: set[str]) -> Pairs:
    event, cause = story.newest, _cause(story)
    result, run, context = cause.result, cause.run, event.context
    facts = [
        ("expected", plain((result and result.expected) or "", 500)),
        ("observed", plain((result and result.observed) or "", 500)),
        *((f"limit {plain(f.limit, 80)}", plain(f"{f.observed}; {f.expected}", 200)) for f in cause.findings[:FACTS]),
        ("reason", str(cause.reason or "")),
        ("since", f"{readable(event.since)} ({span(max(at, event.at) - event.since)} ago)"),
        ("at", readable(event.at)),
        ("so far", _course(story)),
        ("told late", lasting(late) if late else ""),
        ("also failing", _also_failing(event, told)),
        ("check type", plain(context.get("type", ""), 80)),
        ("location", plain(context.get("location", ""), 200)),
        ("labels", _labels(event)),
        ("runbook", plain(context.get("runbook", ""), 1000)),
        ("page", plain(context.get("page", ""), 1000)),
        ("trace", _trace(cause)),
        ("incident", plain(event.incident, 80)),
        ("event", plain(event.id, 80)),
        ("run", plain(run.id if run else "", 80)),
    ]
    return tuple((name, value) for name, value in facts if value)


def _course(story: Story) -> str:
    """Say what happened one after the other, where one message tells more than one event of an incident."""
    if len(story.events) == 1:
        return ""
    is_short = story.newest.at - story.events[0].at < 86_400
    steps = [f"{readable(event.at)[-12 if is_short else 4 : -4]} {state_of(event).lower()}" for event in story.events]
    return ", ".join(steps if len(steps) <= NAMES else [*steps[:2], "…", *steps[3 - NAMES :]])


def _also_failing(event: Event, told: set[str]) -> str:
    return some([name for name in event.context.get("also_failing") or () if name not in told])


def some(names: list[str]) -> str:
    """Return names in one line, those that are too many counted: ``a, b and 3 more``."""
    shown = ", ".join(plain(name, 60) for name in names[:NAMES])
    return f"{shown} and {len(names) - NAMES} more" if len(names) > NAMES else shown


def _labels(event: Event) -> str:
    labels = event.context.get("labels") or {}
    return ", ".join(f"{plain(name, 60)}={plain(value, 100)}" for name, value in sorted(labels.items())[:FACTS])


def _trace(event: Event) -> str:
    kept = event.result.evidence if event.result else {}
    found = (event.context.get(name) or kept.get(name) for name in _TRACES)
    return plain(next(filter(None, found), ""), 200)


def _evidence(event: Event, room: int) -> Pairs:
    """Return phases, measurements and the texts the check kept, until the room for them is used up."""
    result = event.result
    if result is None or room <= 0:
        return ()
    lines = [f"{'total':<24} {show(result.duration, 's')}"]
    lines += [f"{plain(name, 64):<24} {show(value, 's')}" for name, value in list(result.phases.items())[:FACTS]]
    evidence = [("time taken", "\n".join(lines))]
    if result.measurements:
        measured = list(result.measurements.items())[:FACTS]
        evidence.append(("measurements", "\n".join(f"{plain(n, 64):<24} {_show(n, value)}" for n, value in measured)))
    for name, text in result.evidence.items():
        most = COMMAND_CHARACTERS if name == "curl" else EVIDENCE_CHARACTERS
        if room <= 0:
            break
        if name not in _TRACES and (kept := block(text, min(most, room))):
            evidence.append((plain(name, 64), kept))
            room -= len(kept)
    return tuple(evidence)


def _show(name: str, value: float) -> str:
    unit = next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), "")
    return show(value, unit)

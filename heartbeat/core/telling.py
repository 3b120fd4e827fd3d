"""What is said of one incident: its state, a sentence, facts and evidence. Pure; every text is bounded and inert."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from heartbeat.core.batch import Story
from heartbeat.core.deployment import began_after
from heartbeat.core.limits import show
from heartbeat.core.model import Event
from heartbeat.core.sentences import cause_of, outcome_of, state_of, why_of
from heartbeat.core.text import block, plain
from heartbeat.core.times import lasting, readable, span

EVIDENCE_CHARACTERS = 2000
COMMAND_CHARACTERS = 6000
"""Of the command that repeats the request: cut, it is of no use to anyone."""
EVIDENCE_TOTAL = 10_000
FACTS = 30
"""Measurements, limits or labels listed at most."""
NAMES = 10

Pairs = tuple[tuple[str, str], ...]

_UNITS = {"_seconds": "s", "_bytes": "B", "_ratio": "ratio"}
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
    facts, evidence = _facts(story, at, late, set(told)), _evidence(cause_of(story), room)
    return replace(mention(story), facts=facts, evidence=evidence)


def mention(story: Story) -> Part:
    """Turn a story into a single line for a person; its facts and evidence are left out."""
    event, state = story.newest, state_of(story.newest)
    return Part(event, state, f"{state}: {plain(event.check, 200)}: {outcome_of(story)}", (), (), why_of(story))


def short_id(identity: str) -> str:
    """Return the first characters of an id, enough for people to tell two apart."""
    return plain(identity.rpartition("_")[2][:8], 8)


def _facts(story: Story, at: float, late: float, told: set[str]) -> Pairs:
    event, cause = story.newest, cause_of(story)
    result, run, context = cause.result, cause.run, event.context
    facts = [
        ("expected", plain((result and result.expected) or "", 500)),
        ("observed", plain((result and result.observed) or "", 500)),
        *((f"limit {plain(f.limit, 80)}", plain(f"{f.observed}; {f.expected}", 200)) for f in cause.findings[:FACTS]),
        ("reason", str(cause.reason or "")),
        ("since", f"{readable(event.since)} ({span(max(at, event.at) - event.since)} ago)"),
        ("deployment", _deployment(event)),
        ("at", readable(event.at)),
        ("so far", _course(story)),
        ("told late", lasting(late) if late else ""),
        ("holds back", some(_held(event), event.context.get("holds_back_more", 0))),
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


def _deployment(event: Event) -> str:
    found = event.context.get("deployment")
    return plain(began_after(found, event.since), 300) if found else ""


def _course(story: Story) -> str:
    """Say what happened one after the other, where one message tells more than one event of an incident."""
    if len(story.events) == 1:
        return ""
    is_short = story.newest.at - story.events[0].at < 86_400
    steps = [f"{readable(event.at)[-12 if is_short else 4 : -4]} {state_of(event).lower()}" for event in story.events]
    return ", ".join(steps if len(steps) <= NAMES else [*steps[:2], "…", *steps[3 - NAMES :]])


def _held(event: Event) -> list[str]:
    """Return the checks that nobody is told of, because this one explains what they find."""
    return list(event.context.get("holds_back") or ())


def _also_failing(event: Event, told: set[str]) -> str:
    named = told.union(_held(event))
    return some([name for name in event.context.get("also_failing") or () if name not in named])


def some(names: list[str], more: int = 0) -> str:
    """Return names in one line, those that are too many counted together with ``more``: ``a, b and 3 more``."""
    shown = ", ".join(plain(name, 60) for name in names[:NAMES])
    rest = len(names[NAMES:]) + more
    return f"{shown} and {rest} more" if rest else shown


def _labels(event: Event) -> str:
    labels = event.context.get("labels") or {}
    return ", ".join(f"{plain(name, 60)}={plain(value, 100)}" for name, value in sorted(labels.items())[:FACTS])


def _trace(event: Event) -> str:
    """Return the trace that our requests told of, and what the check noted of that of its target."""
    kept = event.result.evidence if event.result else {}
    noted = [text for name, text in kept.items() if _is(name, *_TRACES)]
    found = [plain(text, 100) for text in (event.context.get("trace_id"), *noted) if text]
    return plain(", ".join(dict.fromkeys(found)), 300)


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
        most = COMMAND_CHARACTERS if is_command(name) else EVIDENCE_CHARACTERS
        if room <= 0:
            break
        if not _is(name, *_TRACES) and (kept := block(text, min(most, room))):
            evidence.append((plain(name, 64), kept))
            room -= len(kept)
    return tuple(evidence)


def is_command(name: str) -> bool:
    """Say whether a piece of evidence is a command to be copied and run."""
    return _is(name, "curl")


def _is(name: str, *wanted: str) -> bool:
    """Say whether evidence is called so, also that of a step, whose name stands before it."""
    return name.rpartition(" ")[2] in wanted


def _show(name: str, value: float) -> str:
    unit = next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), "")
    return show(value, unit)

"""The message: what an event says to people. Pure: times come from the event, and every text is bounded and inert.

The subject stays the same through an incident, because mail programs group by it; the state stands in the first line.
"""

from __future__ import annotations

from dataclasses import dataclass

from heartbeat.core.limits import show
from heartbeat.core.model import Event, Kind, Severity
from heartbeat.core.text import block, plain

TEXT_BYTES = 20_000
SENTENCE_CHARACTERS = 1000
EVIDENCE_CHARACTERS = 2000
EVIDENCE_TOTAL = 10_000
FACTS = 30
"""Measurements, limits or labels listed at most."""

_DAYS = ("Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed")  # the epoch was a Thursday
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNITS = {"_seconds": "s", "_bytes": "B", "_ratio": "ratio"}


@dataclass(frozen=True, slots=True)
class Message:
    """What a person reads.

    ``headline`` is state, check and sentence in one line; ``facts`` are short pairs, ``evidence`` are texts of several
    lines; ``text`` is all of it, at most 20 kB in UTF-8. ``urgent`` is set for a target that fails.
    """

    subject: str
    state: str
    headline: str
    facts: tuple[tuple[str, str], ...]
    evidence: tuple[tuple[str, str], ...]
    why: str
    warning: str
    text: str
    urgent: bool


def compose(event: Event) -> Message:
    """Turn an event into what a person reads."""
    state = _state(event)
    headline = f"{state}: {plain(event.check, 200)}: {sentence_of(event)}"
    facts, evidence, why, warning = _facts(event), _evidence(event), _why(event), _warning(event)
    text = _text(headline, facts, evidence, why, warning)
    return Message(subject(event), state, headline, facts, evidence, why, warning, text, _is_urgent(event))


def subject(event: Event) -> str:
    """Return the subject: the same for all events of an incident."""
    return f"heartbeat: {plain(event.check, 120)} (incident {short_id(event.incident)})"


def short_id(identity: str) -> str:
    """Return the first characters of an id, enough for people to tell two apart."""
    return plain(identity.rpartition("_")[2][:8], 8)


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


def civil(at: float) -> tuple[int, int, int, int, int, int, int]:
    """Return year, month, day, hour, minute, second and weekday (0 is Thursday) in UTC.

    The days are counted as in Howard Hinnant's "chrono-compatible low-level date algorithms": years that begin in
    March put the leap day last, and eras of 400 years are all of one length.
    """
    days, seconds = divmod(int(at // 1), 86_400)
    era, day_of_era = divmod(days + 719_468, 146_097)
    year = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    day = day_of_year - (153 * shifted + 2) // 5 + 1
    return era * 400 + year + (month <= 2), month, day, seconds // 3600, seconds // 60 % 60, seconds % 60, days % 7


def timestamp(at: float) -> str:
    """Write a time as RFC 3339 does, in UTC with milliseconds: ``2026-11-21T14:02:11.250Z``."""
    year, month, day, hour, minute, second, _ = civil(at)
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{int(at % 1 * 1000):03}Z"


def readable(at: float) -> str:
    """Write a time for people, in UTC: ``Sat 21 Nov 2026 14:02:11 UTC``."""
    year, month, day, hour, minute, second, weekday = civil(at)
    return f"{_DAYS[weekday]} {day} {_MONTHS[month - 1]} {year} {hour:02}:{minute:02}:{second:02} UTC"


def span(seconds: float) -> str:
    """Write a duration for people, in its two largest units: ``3h 12m``, ``45s``."""
    left, parts = max(0, round(seconds)), []
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


def _reason(event: Event) -> str:
    return f"the reason is {event.reason}" if event.reason else "no reason is known"


def _state(event: Event) -> str:
    words = {
        Kind.RESOLVED: "RESOLVED",
        Kind.CHECK_BROKEN: "CHECK BROKEN",
        Kind.CHECK_REPAIRED: "CHECK REPAIRED",
        Kind.WITHDRAWN: "WITHDRAWN",
    }
    return words.get(event.kind) or ("FAILING" if event.severity is Severity.FAIL else "WARNING")


def _is_urgent(event: Event) -> bool:
    return event.kind in (Kind.RAISED, Kind.REMINDER) and event.severity is Severity.FAIL


def _why(event: Event) -> str:
    """Say why this message is sent: the question of everyone who is woken."""
    policy = plain(event.context.get("policy", ""), 100)
    rule = f" (its policy: {policy})" if policy else ""
    first = "the first" if event.sequence == 1 else f"number {event.sequence}"
    messages = {
        Kind.RAISED: f"the check rose from {event.was.word} to {event.severity.word}{rule}",
        Kind.EASED: f"the check eased from {event.was.word} to {event.severity.word}{rule}",
        Kind.RESOLVED: f"the check went back from {event.was.word} to ok{rule}",
        Kind.REMINDER: "a reminder was due: nothing has changed since the last message",
        Kind.CHECK_BROKEN: "the check could not be carried out, so it says nothing about its target",
        Kind.CHECK_REPAIRED: "the check could be carried out again",
        Kind.WITHDRAWN: "the check left the configuration while this incident was open",
    }
    return f"{messages[event.kind]}; message is {first} of this incident"


def _warning(event: Event) -> str:
    """Say so when the event is in memory only: after a crash nobody would know of it."""
    if event.context.get("recorded", True):
        return ""
    return "Heartbeat could not write to its store: this message is not yet recorded. Look at its disk."


def _facts(event: Event) -> tuple[tuple[str, str], ...]:
    result, run, context = event.result, event.run, event.context
    facts = [
        ("expected", plain((result and result.expected) or "", 500)),
        ("observed", plain((result and result.observed) or "", 500)),
        *((f"limit {plain(f.limit, 80)}", plain(f"{f.observed}; {f.expected}", 200)) for f in event.findings[:FACTS]),
        ("reason", str(event.reason or "")),
        ("since", f"{readable(event.since)} ({span(event.at - event.since)} ago)"),
        ("at", readable(event.at)),
        ("check type", plain(context.get("type", ""), 80)),
        ("location", plain(context.get("location", ""), 200)),
        ("labels", _labels(event)),
        ("runbook", plain(context.get("runbook", ""), 1000)),
        ("incident", plain(event.incident, 80)),
        ("event", plain(event.id, 80)),
        ("run", plain(run.id if run else "", 80)),
    ]
    return tuple((name, value) for name, value in facts if value)


def _labels(event: Event) -> str:
    labels = event.context.get("labels") or {}
    return ", ".join(f"{plain(name, 60)}={plain(value, 100)}" for name, value in sorted(labels.items())[:FACTS])


def _evidence(event: Event) -> tuple[tuple[str, str], ...]:
    """Return phases, measurements and the texts the check kept, until the room for them is used up."""
    result = event.result
    if result is None:
        return ()
    lines = [f"{'total':<24} {show(result.duration, 's')}"]
    lines += [f"{plain(name, 64):<24} {show(value, 's')}" for name, value in list(result.phases.items())[:FACTS]]
    evidence = [("time taken", "\n".join(lines))]
    if result.measurements:
        measured = list(result.measurements.items())[:FACTS]
        evidence.append(("measurements", "\n".join(f"{plain(n, 64):<24} {_show(n, value)}" for n, value in measured)))
    room = EVIDENCE_TOTAL
    for name, text in result.evidence.items():
        kept = block(text, min(EVIDENCE_CHARACTERS, room))
        if room > 0 and kept:
            evidence.append((plain(name, 64), kept))
        room -= len(kept)
    return tuple(evidence)


def _show(name: str, value: float) -> str:
    unit = next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), "")
    return show(value, unit)


def _text(
    headline: str, facts: tuple[tuple[str, str], ...], evidence: tuple[tuple[str, str], ...], why: str, warning: str
) -> str:
    """Write everything as plain text. Evidence is indented, so that it cannot pose as a line of ours."""
    parts = [headline, *([warning] if warning else []), "\n".join(f"{name + ':':<12} {value}" for name, value in facts)]
    parts.append(f"Why this message: {why}.")
    parts += [f"{name}:\n" + "\n".join(f"  | {line}" for line in text.split("\n")) for name, text in evidence]
    whole = "\n\n".join(parts) + "\n"
    if len(whole.encode()) <= TEXT_BYTES:
        return whole
    return whole.encode()[: TEXT_BYTES - 20].decode(errors="ignore") + "\n[cut here]\n"

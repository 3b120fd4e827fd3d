"""What is said of an incident in one sentence: how it stands, what happened, and why that is told. One line each."""

from __future__ import annotations

from heartbeat.core.batch import Story
from heartbeat.core.model import OPENING, OVER, Event, Kind, Severity, Track
from heartbeat.core.text import plain
from heartbeat.core.times import period, span

SENTENCE_CHARACTERS = 1000
WHY_CHARACTERS = 400
_TRACKS = {kind: track for track, kind in OPENING.items()} | {
    Kind.CHECK_REPAIRED: Track.CHECK,
    Kind.RESUMED: Track.RUNS,
    Kind.BUDGET_SAFE: Track.BUDGET,
    Kind.SETTLED: Track.FLAPPING,
}
_STATES = {
    Track.CHECK: "CHECK BROKEN",
    Track.RUNS: "NOT RUNNING",
    Track.BUDGET: "BUDGET BURNING",
    Track.FLAPPING: "FLAPPING",
}
_ENDS = {
    Kind.RESOLVED: "RESOLVED",
    Kind.CHECK_REPAIRED: "CHECK REPAIRED",
    Kind.RESUMED: "RUNNING AGAIN",
    Kind.BUDGET_SAFE: "BUDGET SAFE",
    Kind.SETTLED: "SETTLED",
    Kind.WITHDRAWN: "WITHDRAWN",
    Kind.DRILL: "DRILL",
}
_BEGAN = {
    Track.CHECK: "the check itself is broken, the state of its target is unknown: ",
    Track.RUNS: "the check does not run, the state of its target is unknown: ",
    Track.BUDGET: "the error budget burns too fast: ",
}
_STANDS = {
    Track.TARGET: "not well for {}: ",
    Track.CHECK: "the check itself has been broken for {}, the state of its target is unknown: ",
    Track.RUNS: "the check has not run for {}, the state of its target is unknown: ",
    Track.BUDGET: "the error budget has burned too fast for {}: ",
    Track.FLAPPING: "has not settled for {}: ",
}
_OVER = {
    Track.CHECK: "could not be checked",
    Track.RUNS: "did not run",
    Track.BUDGET: "burned its error budget too fast",
    Track.FLAPPING: "flapped",
}
_WORKS = {Severity.OK: "works", Severity.WARN: "is beyond a limit", Severity.FAIL: "fails"}
_WHY = {
    Kind.RAISED: "the check rose from {0.was.word} to {0.severity.word}{1}",
    Kind.EASED: "the check eased from {0.was.word} to {0.severity.word}{1}",
    Kind.RESOLVED: "the check went back from {0.was.word} to ok{1}",
    Kind.REMINDER: "a reminder was due: nothing has changed since the last message",
    Kind.ESCALATED: "others were told before, and nobody has acknowledged it since",
    Kind.FLAPPING: "its state changes too often to tell each time; what it settles on will be told",
    Kind.SETTLED: "its state does not change all the time any more, so each change is told again",
    Kind.CHECK_BROKEN: "the check could not be carried out, so it says nothing about its target",
    Kind.CHECK_REPAIRED: "the check could be carried out again",
    Kind.MISSED: "the check was due and did not run, so it says nothing about its target",
    Kind.RESUMED: "the check ran again",
    Kind.BUDGET_BURNING: "at this rate the error budget of its objective will not last",
    Kind.BUDGET_SAFE: "the error budget of its objective burns slowly enough again",
    Kind.WITHDRAWN: "the check left the configuration while this incident was open",
    Kind.DRILL: "a drill of this way out was due",
}

_WHY_ON = {
    (Kind.REMINDER, Track.FLAPPING): "a reminder was due: its state still changes too often to tell each time",
    (Kind.EASED, Track.BUDGET): "the error budget of its objective burns more slowly, and still too fast",
}


def track_of(event: Event) -> Track:
    """Return what an event is about; its kind says it too, as events of older releases know no track."""
    is_well = event.severity is event.was is Severity.OK
    if event.kind is Kind.WITHDRAWN and event.track is Track.TARGET and is_well:
        return Track.CHECK
    return _TRACKS.get(event.kind, event.track)


def state_of(event: Event) -> str:
    """Return how it stands after the event, in capitals: ``FAILING``, ``NOT RUNNING``, ``RESOLVED``, ..."""
    if is_test(event):
        return "TEST"
    words = _ENDS.get(event.kind) or _STATES.get(track_of(event))
    return words or ("FAILING" if event.severity is Severity.FAIL else "WARNING")


def is_test(event: Event) -> bool:
    """Say whether it is no alert, but a test that somebody sent."""
    return event.kind is Kind.DRILL and bool(event.context.get("test"))


def is_urgent(event: Event) -> bool:
    """Say whether somebody should be woken: a target fails, its budget burns as fast, or nobody took care."""
    if event.kind is Kind.ESCALATED:
        return True
    is_news = event.kind in (Kind.RAISED, Kind.REMINDER, Kind.BUDGET_BURNING)
    return is_news and event.severity is Severity.FAIL and track_of(event) in (Track.TARGET, Track.BUDGET)


def outcome_of(story: Story) -> str:
    """Say in one sentence how it stands; of what began and ended before it could be told, say both."""
    return _over(story) if story.is_over else sentence_of(story.newest)


def sentence_of(event: Event) -> str:
    """Say in one sentence what happened, in our words first; what came from the target stands after a colon."""
    found = plain(event.sentence, SENTENCE_CHARACTERS)
    if event.kind in OVER:
        return _end(event, found)
    found, track = found or _reason(event), track_of(event)
    stands = f"{_STANDS[track].format(span(event.at - event.since))}{found}"
    if event.kind is Kind.ESCALATED:
        return f"nobody has acknowledged this: {stands}"
    return stands if event.kind is Kind.REMINDER else f"{_BEGAN.get(track, '')}{found}"


def why_of(story: Story) -> str:
    """Say why this message is sent: the question of everyone who is woken."""
    event = story.newest
    policy = plain(event.context.get("policy", ""), 100)
    place = "message is the first" if event.sequence == 1 else f"message is number {event.sequence}"
    if len(story.events) > 1:
        place = f"it tells number {story.events[0].sequence} to {event.sequence}"
    return f"{_why(event, f' (its policy: {policy})' if policy else '')}; {place} of this incident"


def cause_of(story: Story) -> Event:
    """Return the event that tells what was wrong: of what is over the worst, and otherwise the newest."""
    if not story.is_over:
        return story.newest
    return max(story.events, key=lambda event: (max(event.severity, event.was), bool(event.sentence)))


def _why(event: Event, rule: str) -> str:
    if event.kind is Kind.WITHDRAWN and event.why:
        return "the check was switched off while this incident was open"
    if event.why:  # what kept it back until now
        return plain(event.why, WHY_CHARACTERS)
    return _WHY_ON.get((event.kind, track_of(event)), _WHY[event.kind]).format(event, rule)


def _end(event: Event, found: str) -> str:
    lasted = span(event.at - event.since)
    if event.kind is Kind.RESUMED:
        return f"the check runs again after {lasted}{found and '; its first run says: '}{found}"
    if event.kind is Kind.SETTLED:
        return _settled(event, f", after flapping for {lasted}")
    if event.kind is Kind.WITHDRAWN and event.why:
        return f"nobody watches it any more, {lasted} into this incident: {plain(event.why, WHY_CHARACTERS)}"
    sentences = {
        Kind.CHECK_REPAIRED: f"the check works again after {lasted}",
        Kind.BUDGET_SAFE: f"the error budget no longer burns too fast, after {lasted}",
        Kind.WITHDRAWN: f"removed from the configuration {lasted} into this incident; nobody watches it any more",
    }
    return sentences.get(event.kind, f"works again after {lasted}")


def _settled(event: Event, after: str = "") -> str:
    found = plain(event.sentence, SENTENCE_CHARACTERS) if event.severity else ""
    return f"now it {_WORKS[event.severity]}{after}{found and ': '}{found}"


def _over(story: Story) -> str:
    last, cause = story.newest, cause_of(story)
    was_down = max(cause.severity, cause.was) is Severity.FAIL
    trouble = _OVER.get(track_of(last), "was down" if was_down else "was not well")
    end = ""
    if last.kind is Kind.WITHDRAWN:
        why = plain(last.why, WHY_CHARACTERS)
        end = f", then nobody watched it any more ({why})" if why else ", then it was removed from the configuration"
    told = _settled(last) if last.kind is Kind.SETTLED else plain(cause.sentence, SENTENCE_CHARACTERS) or _reason(cause)
    return f"{trouble} {period(last.since, last.at)}{end}: {told}"


def _reason(event: Event) -> str:
    return f"the reason is {event.reason}" if event.reason else "no reason is known"

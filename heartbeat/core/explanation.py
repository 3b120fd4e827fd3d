"""Why a check stands as it stands, in sentences, from what was recorded. Pure; every text is bounded and inert."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from heartbeat.core.limits import Bound, Limit, measured, show
from heartbeat.core.model import OVER, Delivery, DeliveryState, Event, Outcome, Result, Severity, Track, Verdict
from heartbeat.core.policy import Latch, Policy
from heartbeat.core.sentences import sentence_of, track_of
from heartbeat.core.status import Incident, Status, incidents
from heartbeat.core.text import plain
from heartbeat.core.times import lasting, readable

SENTENCE = 300
_WORDS = {Severity.OK: "is well", Severity.WARN: "warns", Severity.FAIL: "fails"}
_OPEN = {
    Track.TARGET: "its target is not well",
    Track.CHECK: "the check itself is broken",
    Track.RUNS: "it does not run",
    Track.BUDGET: "its error budget burns too fast",
    Track.FLAPPING: "it flaps: its state changes too often to tell each time",
}


def headline(check: str, status: Status | None, now: float) -> str:
    """Say how a check stands, by the status that was recorded last."""
    if status is None:
        return f"{check}: nothing is recorded of it"
    since = f" since {readable(status.since)} ({lasting(now - status.since)})" if status.since is not None else ""
    if status.since is None and status.up is None:
        return f"{check} has said nothing about its target yet"
    found = f": {plain(status.sentence, SENTENCE)}" if status.sentence else ""
    return f"{check} {_WORDS[status.severity]}{since}{found}"


def headline_then(check: str, events: Sequence[Event], at: float) -> str:
    """Say how a check stood at a time, by the events until then: no older status is kept."""
    latest = next((one for one in reversed(events) if track_of(one) is Track.TARGET), None)
    if latest is None or latest.severity is Severity.OK or latest.kind in OVER:
        since = f" since {readable(latest.at)}" if latest else ""
        return f"{check} was well at {readable(at)}{since}, as far as its events say"
    began = f"since {readable(latest.since)} ({lasting(at - latest.since)})"
    return f"{check} {_WORDS[latest.severity][:-1]}ed at {readable(at)} {began}: {plain(sentence_of(latest), SENTENCE)}"


def say_open(status: Status) -> Iterator[str]:
    """Yield a sentence for each incident that is open, and who takes care of it."""
    for track, incident in incidents(status):
        taken = incident.acknowledged
        by = (
            f"acknowledged by {plain(taken.who, 100)} at {readable(taken.at)}"
            if taken
            else "nobody has acknowledged it"
        )
        why = f" ({plain(taken.why, SENTENCE)})" if taken and taken.why else ""
        yield f"{_OPEN[track]} since {readable(incident.since)}; {by}{why}; {_told(incident)}; {incident.id}"


def _told(incident: Incident) -> str:
    if incident.untold:
        return f"its latest news were told to nobody: {plain(incident.untold, SENTENCE)}"
    if incident.first_told is None:
        return "nobody was told yet"
    who = ", ".join(sorted({one.channel for one in incident.told}))
    again = "; others were called in, as nobody took care" if incident.escalated else ""
    return f"{who or 'somebody'} first heard of it at {readable(incident.first_told)}{again}"


def say_policy(policy: Policy, verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Yield what the latches make of the latest verdicts, which come oldest first."""
    counted = [one for one in verdicts if counts(one)]
    for latch, level in ((policy.warn, Severity.WARN), (policy.fail, Severity.FAIL)):
        yield _latch(latch, level, counted)
    errors = [one.outcome is Outcome.ERROR for one in verdicts if one.outcome is not Outcome.MISSED]
    if any(errors[-policy.broken.memory :]):
        latch = policy.broken
        yield (
            f"broken: set by {_of(latch)} that cannot be carried out, "
            f"and {sum(errors[-latch.window :])} of the last {len(errors[-latch.window :])} could not"
        )
    if policy.recheck is not None:
        yield f"after a first failure it looks again in {lasting(policy.recheck)}"
    if policy.hold:
        yield f"it is told only when it lasts for {lasting(policy.hold)}"
    yield f"reminders: {'every ' + lasting(policy.remind) if policy.remind else 'never'}"
    if policy.escalate is not None:
        yield f"others are called in when nobody acknowledges it within {lasting(policy.escalate)}"


def counts(verdict: Verdict) -> bool:
    """Say whether the latches of warnings and failures look at a verdict."""
    return verdict.outcome in (Outcome.OK, Outcome.FAIL) and not verdict.distorted


def _latch(latch: Latch, level: Severity, counted: Sequence[Verdict]) -> str:
    bad = [one.severity >= level for one in counted]
    well = next((index for index, one in enumerate(reversed(bad)) if one), len(bad))
    set_by = f"{level.word}: set by {_of(latch)} that {'reaches' if latch.window == 1 else 'reach'} it"
    cleared_by = f"cleared by {'one' if latch.clear == 1 else f'{latch.clear} in a row'} below it"
    if latch.window == 1:
        return f"{set_by}, which the latest {'did' if bad and bad[-1] else 'did not'}; {cleared_by}"
    return f"{set_by}, and {sum(bad[-latch.window :])} did; {cleared_by}, of which there are {well}"


def _of(latch: Latch) -> str:
    if latch.window == 1:
        return "any run"
    if latch.raise_ < latch.window:
        return f"{latch.raise_} of the last {latch.window} runs"
    return f"{latch.window} runs in a row"


def say_limit(limit: Limit, result: Result | None, verdict: Verdict | None) -> str:
    """Say what a limit allows, and what was measured last."""
    bounds = ", ".join(_bound(bound, limit.unit) for bound in limit.bounds)
    found = next((one for one in verdict.findings if one.limit == limit.name), None) if verdict else None
    if found:
        now = f"the latest: {plain(found.observed, 100)}, {plain(found.expected, 100)}, so {found.severity.word}"
    elif limit.window:
        now = "the latest run did not break it"
    else:
        value = measured(result, limit.measure) if result else None
        now = "the latest run did not measure it" if value is None else f"the latest: {show(value, limit.unit)}"
    return f"{limit.name}: {bounds}; {now}"


def _bound(bound: Bound, unit: str) -> str:
    above = f"above {show(bound.above, unit)}" if bound.above is not None else ""
    below = f"below {show(bound.below, unit)}" if bound.below is not None else ""
    return f"{bound.severity.word} {' or '.join(filter(None, (above, below)))}"


def say_run(verdict: Verdict) -> str:
    """Say in a line what a run found, and whether it counts."""
    is_known = verdict.outcome in (Outcome.OK, Outcome.FAIL)
    word = verdict.severity.word if is_known else verdict.outcome.value
    look = ", a second look" if verdict.run.attempt else ""
    found = f": {plain(verdict.sentence, SENTENCE)}" if verdict.sentence else ""
    ours = ""
    if verdict.distorted:
        ours = " (does not count: our own machine was slow)"
    elif not is_known:
        ours = " (says nothing about the target)"
    return f"{readable(verdict.at)}  {word}{look}{found}{ours}"


def say_event(event: Event) -> str:
    """Say in a line what happened."""
    return f"{readable(event.at)}  {event.kind.value}: {plain(sentence_of(event), SENTENCE)}"


def say_delivery(delivery: Delivery, now: float) -> str:
    """Say what became of a message, or why there was none."""
    who = " ".join(filter(None, (plain(delivery.address.channel, 100), plain(delivery.address.recipient, 200))))
    note = f": {plain(delivery.note, SENTENCE)}" if delivery.note else ""
    because = f" (because {plain(delivery.why, SENTENCE)})" if delivery.why else ""
    tried = f" after {delivery.attempts} attempts" if delivery.attempts > 1 else ""
    match delivery.state:
        case DeliveryState.SUPPRESSED:
            return f"nobody was told{note}"
        case DeliveryState.ACKNOWLEDGED:
            when = f" at {readable(delivery.done_at)}" if delivery.done_at else ""
            return f"{who} has it{when}{tried}{note}{because}"
        case DeliveryState.DEAD:
            return f"{who} did not get it, given up{tried}{note}{because}"
    due = f"the next attempt is {'due' if delivery.next_at <= now else f'at {readable(delivery.next_at)}'}"
    return f"{who} does not have it yet{tried}; {due}{note}{because}"


def say_next(status: Status, policy: Policy | None, now: float) -> str:
    """Say when something happens by itself, if anything does."""
    kept = [incident for _, incident in incidents(status) if incident.untold]
    if kept:
        return "what was kept back is told as soon as nothing stands against it any more"
    if status.wake_at is None or policy is None:
        return ""
    when = f"at {readable(status.wake_at)}" if status.wake_at > now else "now"
    return f"a reminder, or calling in others, is due {when}, unless it ends or somebody acknowledges it"


def open_then(events: Iterable[Event]) -> list[Event]:
    """Return the latest event of each incident that was open after these events."""
    latest = {one.incident: one for one in events}
    return [one for one in latest.values() if one.kind not in OVER]

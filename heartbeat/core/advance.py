"""Advancing a status: two latches, the tracks beside them, and the one function that changes them.

Rules that hold here, and that the tests compare with a naive model of the whole history:

1. A latch sets when the newest verdict reaches its level and K of the last N do; it clears when the last M are all
   below it. The severity is the highest latch that is set.
2. Errors, missed runs and distorted verdicts do not enter that list: only a success clears a failure.
3. Errors have a track of their own with the same latch; a run that says anything about the target repairs it. That a
   check does not run at all, that it flaps, and that its error budget burns are tracks of their own too.
4. Every change of a track is exactly one event; events of an incident are numbered. While a check flaps, changes of its
   severity wait; when it settles, one event tells the last of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from heartbeat.core.flapping import is_flapping, note
from heartbeat.core.incidents import News, Step, describe_flapping, emit, news_of, standing
from heartbeat.core.model import Event, Kind, Outcome, Reason, Severity, Track, Verdict
from heartbeat.core.passing import NEVER, Tick, pass_time, wake_at
from heartbeat.core.policy import Latch, Policy
from heartbeat.core.status import FRESH, Acknowledgement, Sample, Status, incidents, with_incident

DISTORTED_IN_A_ROW = 3
"""From this many distorted verdicts in a row on, each counts as an error: our own machine is the problem."""
STALE_INTERVALS = 3
"""Verdicts older than this many times N intervals do not decide any more."""


@dataclass(frozen=True, slots=True)
class Absence:
    """The check has not run for as many slots as its policy allows."""

    check: str
    since: float
    """When it should have run first."""
    sentence: str
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """Somebody takes care of what is open: reminders and escalation end."""

    check: str
    by: Acknowledgement


@dataclass(frozen=True, slots=True)
class Removal:
    """The check was taken out of the configuration, or switched off; ``why`` says by whom, where it was a person."""

    check: str
    why: str = ""


Other = Tick | Absence | Taken | Removal
"""What changes a check beside its runs."""
Change = Verdict | Other


def advance(status: Status, change: Change, policy: Policy, now: float) -> Step:
    """Return the next status and the events worth telling. Pure: the same arguments give the same events and ids."""
    match change:
        case Verdict():
            if _is_calm(status) and _is_fine(change):
                return _go_on(status, change, policy, now), ()
            status, events = _take_verdict(status, change, policy, now)
        case Tick():
            status, events = pass_time(status, change, policy, now)
        case Absence():
            status, events = _miss(status, change, now)
        case Taken():
            status, events = _take(status, change), ()
        case Removal():
            status, events = _withdraw(status, change, now)
    return replace(status, wake_at=wake_at(status, policy)), events


def needs_recheck(status: Status, verdict: Verdict, policy: Policy) -> bool:
    """Say whether to run again soon: the verdict is worse than the status admits, and the latch still waits."""
    undecided = verdict.outcome in (Outcome.OK, Outcome.FAIL) and verdict.severity > status.severity
    latch = policy.fail if verdict.severity is Severity.FAIL else policy.warn
    return policy.recheck is not None and undecided and verdict.run.attempt < latch.window


def is_steady(before: Status, after: Status, verdict: Verdict) -> bool:
    """Say whether nothing happened that a restart would need to know: all was well, and all is well.

    The times of the samples move on, but samples that are all ok decide nothing that fresh ones would not.
    """
    return before.events == after.events and _is_fine(verdict) and _is_calm(before)


def _is_calm(status: Status) -> bool:
    """Say whether all is well and was so for as long as is remembered."""
    return (
        status.up is True
        and not (status.warn or status.fail or status.broken or status.distorted or status.held or status.states)
        and status.incident is status.broken_incident is status.absent is status.burning is status.flapping is None
        and status.broken_reason is None
        and True not in status.errors
        and not any([sample.severity for sample in status.recent])  # noqa: C419 - a generator takes longer to set up
    )


def _is_fine(verdict: Verdict) -> bool:
    return (
        verdict.outcome is Outcome.OK
        and verdict.severity is Severity.OK
        and not verdict.distorted
        and not verdict.burns
    )


def _go_on(status: Status, verdict: Verdict, policy: Policy, now: float) -> Status:
    """Return what a fine verdict makes of a calm status: nearly all runs come this way, so nothing is looked at twice.

    What is not named is what it is by default in every calm status.
    """
    errors, memory = status.errors, policy.broken.memory
    return Status(
        since=status.since,
        recent=_remember(status.recent, verdict, policy, now),
        errors=errors if len(errors) == memory else (*errors, False)[-memory:],
        events=status.events,
        up=True,
        last_success=now,
    )


def _take_verdict(status: Status, verdict: Verdict, policy: Policy, now: float) -> Step:
    if verdict.outcome is Outcome.MISSED:
        return status, ()
    status, events = _resume(status, verdict, now)
    if verdict.distorted:
        status = replace(status, distorted=status.distorted + 1)
        if status.distorted < DISTORTED_IN_A_ROW:
            return status, events
        sentence = f"measurements were distorted by our own lag {status.distorted} times in a row: {verdict.sentence}"
        verdict = replace(verdict, outcome=Outcome.ERROR, reason=Reason.RESOURCE, sentence=sentence)
    else:
        status = replace(status, distorted=0)
    status, more = _advance_broken(status, verdict, policy, now)
    events += more
    if verdict.outcome is Outcome.ERROR:
        return status, events
    status, more = _advance_severity(status, verdict, policy, now)
    events += more
    status, more = _advance_budget(status, verdict, now)
    return status, events + more


def _advance_broken(status: Status, verdict: Verdict, policy: Policy, now: float) -> Step:
    is_error = verdict.outcome is Outcome.ERROR
    latch = policy.broken
    errors = (*status.errors, is_error)[-latch.memory :]
    status = replace(status, errors=errors)
    if is_error:
        status = replace(status, broken_reason=verdict.reason, broken_sentence=verdict.sentence)
    elif not status.broken and not any(errors):
        status = replace(status, broken_reason=None, broken_sentence="")
    if is_error and not status.broken and sum(errors[-latch.window :]) >= latch.raise_:
        status = replace(status, broken=True)
        return emit(status, Track.CHECK, Kind.CHECK_BROKEN, news_of(verdict), now)
    if status.broken and len(errors) >= latch.clear and not any(errors[-latch.clear :]):
        status, events = emit(status, Track.CHECK, Kind.CHECK_REPAIRED, news_of(verdict), now)
        return replace(status, broken=False, broken_reason=None, broken_sentence=""), events
    return status, ()


def _advance_severity(status: Status, verdict: Verdict, policy: Policy, now: float) -> Step:
    was = status.severity
    recent = _remember(status.recent, verdict, policy, now)
    succeeded = verdict.outcome is Outcome.OK
    status = replace(
        status,
        recent=recent,
        up=succeeded,
        last_success=now if succeeded else status.last_success,
        since=now if status.since is None else status.since,
        warn=_latched(status.warn, recent, Severity.WARN, policy.warn, policy.interval),
        fail=_latched(status.fail, recent, Severity.FAIL, policy.fail, policy.interval),
        held=tuple((finding.limit, finding.severity) for finding in verdict.findings),
    )
    if status.severity != was:
        status = replace(status, since=now)
        if status.severity is Severity.OK:
            status = replace(status, reason=None, sentence="")
        elif verdict.severity >= status.severity:  # not where one latch is merely slower to clear than the other
            status = replace(status, reason=verdict.reason, sentence=verdict.sentence)
    status, events = _watch_flapping(status, verdict, policy, now)
    if status.flapping:
        return status, events
    status, more = _tell_severity(status, verdict, now)
    return status, events + more


def _tell_severity(status: Status, verdict: Verdict, now: float) -> Step:
    """Make the event that brings what was told up to what is so."""
    told = status.incident.severity if status.incident else Severity.OK
    if status.severity is told:
        return status, ()
    better = Kind.EASED if status.severity else Kind.RESOLVED
    kind = Kind.RAISED if status.severity > told else better
    return emit(status, Track.TARGET, kind, _news_of_severity(status, verdict), now)


def _news_of_severity(status: Status, verdict: Verdict) -> News:
    """Return what there is to say of the severity: a verdict that is better than it is not what it is for."""
    news = news_of(verdict, status.severity)
    if verdict.severity >= status.severity:
        return news
    return replace(news, reason=status.reason, sentence=status.sentence, findings=())


def _watch_flapping(status: Status, verdict: Verdict, policy: Policy, now: float) -> Step:
    """Note the state, but not one that the latches do not admit yet, and tell when the flapping begins and ends."""
    if policy.flapping is None:
        status = replace(status, states=())
    elif verdict.severity <= status.severity:
        status = replace(status, states=note(status.states, status.severity))
    was = status.flapping is not None
    now_so = is_flapping(status.states, policy.flapping, was=was)
    if now_so is was:
        return status, ()
    kind = Kind.FLAPPING if now_so else Kind.SETTLED
    news = _news_of_severity(status, verdict)
    if now_so:
        news = replace(news, sentence=describe_flapping(status, news.sentence))
    return emit(status, Track.FLAPPING, kind, news, now)


def _advance_budget(status: Status, verdict: Verdict, now: float) -> Step:
    """Follow the burn rates: their windows are latch enough."""
    level = max((burn.severity for burn in verdict.burns), default=Severity.OK)
    told = status.burning.severity if status.burning else Severity.OK
    sentence = "; ".join(f"{burn.limit} is {burn.observed}, {burn.expected}" for burn in verdict.burns)
    news = replace(news_of(verdict, level), sentence=sentence, reason=Reason.LIMIT, findings=verdict.burns)
    status = replace(status, burning_sentence=sentence)
    if level is told:
        return status, ()
    better = Kind.EASED if level else Kind.BUDGET_SAFE
    return emit(status, Track.BUDGET, Kind.BUDGET_BURNING if level > told else better, news, now)


def _remember(recent: tuple[Sample, ...], verdict: Verdict, policy: Policy, now: float) -> tuple[Sample, ...]:
    newest, memory = Sample(now, verdict.severity), policy.memory
    if memory == 1:
        return (newest,)
    samples = (*recent, newest)[-memory:]
    if policy.interval is None:
        return samples
    oldest = now - STALE_INTERVALS * memory * policy.interval
    if samples[0].at >= oldest:
        return samples
    return tuple(sample for sample in samples if sample.at >= oldest)


def _latched(is_set: bool, recent: tuple[Sample, ...], level: Severity, latch: Latch, interval: float | None) -> bool:
    newest, span = recent[-1].at, STALE_INTERVALS * latch.memory * (interval or NEVER)
    reached = [sample.severity >= level for sample in recent if sample.at >= newest - span]
    if reached[-1] and sum(reached[-latch.window :]) >= latch.raise_:
        return True
    cleared = len(reached) >= latch.clear and not any(reached[-latch.clear :])
    return is_set and not cleared


def _miss(status: Status, absence: Absence, now: float) -> Step:
    if status.absent:
        return status, ()
    news = News(absence.check, reason=absence.reason, sentence=absence.sentence, since=absence.since)
    status = replace(status, absent_sentence=absence.sentence)
    return emit(status, Track.RUNS, Kind.MISSED, news, now)


def _resume(status: Status, verdict: Verdict, now: float) -> Step:
    if not status.absent:
        return status, ()
    status, events = emit(status, Track.RUNS, Kind.RESUMED, news_of(verdict), now)
    return replace(status, absent_sentence=""), events


def _take(status: Status, taken: Taken) -> Status:
    for track, incident in tuple(incidents(status)):
        status = with_incident(status, track, replace(incident, acknowledged=taken.by))
    return status


def _withdraw(status: Status, removal: Removal, now: float) -> Step:
    """Close what is open: first what is known of the target, then the rest."""
    events: tuple[Event, ...] = ()
    for track, incident in tuple(incidents(status)):
        news = replace(standing(status, track, incident, removal.check), why=removal.why)
        status, more = emit(status, track, Kind.WITHDRAWN, news, now)
        events += more
    return replace(FRESH, events=status.events), events

"""Advancing a status: two latches, the track of broken checks, and the one function that changes them.

Rules that hold here, and that the tests compare with a naive model of the whole history:

1. A latch sets when the newest verdict reaches its level and K of the last N do; it clears when the last M are all
   below it. The severity is the highest latch that is set.
2. Errors, missed runs and distorted verdicts do not enter that list: only a success clears a failure.
3. Errors have a track of their own with the same latch; a run that says anything about the target repairs it.
4. Every change of the severity or of the broken track is exactly one event; events of an incident are numbered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from heartbeat.core.model import Event, Kind, Outcome, Reason, Severity, Verdict, derive_id
from heartbeat.core.policy import Latch, Policy
from heartbeat.core.status import FRESH, Incident, Sample, Status

DISTORTED_IN_A_ROW = 3
"""From this many distorted verdicts in a row on, each counts as an error: our own machine is the problem."""
STALE_INTERVALS = 3
"""Verdicts older than this many times N intervals do not decide any more."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""

    check: str


@dataclass(frozen=True, slots=True)
class Removal:
    """The check was taken out of the configuration."""

    check: str


Change = Verdict | Tick | Removal
Step = tuple[Status, tuple[Event, ...]]


def advance(status: Status, change: Change, policy: Policy, now: float) -> Step:
    """Return the next status and the events worth telling. Pure: the same arguments give the same events and ids."""
    if isinstance(change, Verdict):
        if _is_calm(status) and _is_fine(change):
            return _go_on(status, change, policy, now), ()
        status, events = _take_verdict(status, change, policy, now)
    elif isinstance(change, Tick):
        status, events = _remind(status, change, policy, now)
    else:
        status, events = _withdraw(status, change, now)
    return replace(status, wake_at=_wake_at(status, policy)), events


def needs_recheck(status: Status, verdict: Verdict, policy: Policy) -> bool:
    """Say whether to run again soon: the verdict is worse than the status admits, and the latch still waits."""
    undecided = verdict.outcome in (Outcome.OK, Outcome.FAIL) and verdict.severity > status.severity
    return policy.recheck is not None and undecided and verdict.run.attempt + 1 < policy.latch.window


def is_steady(before: Status, after: Status, verdict: Verdict) -> bool:
    """Say whether nothing happened that a restart would need to know: all was well, and all is well.

    The times of the samples move on, but samples that are all ok decide nothing that fresh ones would not.
    """
    return before.events == after.events and _is_fine(verdict) and _is_calm(before)


def _is_calm(status: Status) -> bool:
    """Say whether all is well and was so for as long as is remembered."""
    return (
        status.up is True
        and not (status.warn or status.fail or status.broken or status.distorted)
        and status.incident is None
        and status.broken_incident is None
        and status.broken_reason is None
        and True not in status.errors
        and all(sample.severity is Severity.OK for sample in status.recent)
    )


def _is_fine(verdict: Verdict) -> bool:
    return verdict.outcome is Outcome.OK and verdict.severity is Severity.OK and not verdict.distorted


def _go_on(status: Status, verdict: Verdict, policy: Policy, now: float) -> Status:
    """Return what a fine verdict makes of a calm status: nearly all runs come this way, so nothing is looked at twice.

    What is not named is what it is by default in every calm status.
    """
    return Status(
        since=status.since,
        recent=_remember(status.recent, verdict, policy, now),
        errors=(*status.errors, False)[-policy.broken.memory :],
        events=status.events,
        up=True,
        last_success=now,
    )


def _take_verdict(status: Status, verdict: Verdict, policy: Policy, now: float) -> Step:
    if verdict.outcome is Outcome.MISSED:
        return status, ()
    if verdict.distorted:
        status = replace(status, distorted=status.distorted + 1)
        if status.distorted < DISTORTED_IN_A_ROW:
            return status, ()
        sentence = f"measurements were distorted by our own lag {status.distorted} times in a row: {verdict.sentence}"
        verdict = replace(verdict, outcome=Outcome.ERROR, reason=Reason.RESOURCE, sentence=sentence)
    else:
        status = replace(status, distorted=0)
    status, events = _advance_broken(status, verdict, policy, now)
    if verdict.outcome is Outcome.ERROR:
        return status, events
    status, more = _advance_severity(status, verdict, policy, now)
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
        return _emit(status, Kind.CHECK_BROKEN, verdict, now)
    if status.broken and len(errors) >= latch.clear and not any(errors[-latch.clear :]):
        step = _emit(status, Kind.CHECK_REPAIRED, verdict, now)
        return replace(step[0], broken=False, broken_incident=None, broken_reason=None, broken_sentence=""), step[1]
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
        warn=_latched(status.warn, recent, Severity.WARN, policy.latch),
        fail=_latched(status.fail, recent, Severity.FAIL, policy.latch),
    )
    if status.severity == was:
        return status, ()
    status = replace(status, since=now, reason=verdict.reason, sentence=verdict.sentence)
    if status.severity > was:
        return _emit(status, Kind.RAISED, verdict, now, was)
    if status.severity > Severity.OK:
        return _emit(status, Kind.EASED, verdict, now, was)
    step = _emit(status, Kind.RESOLVED, verdict, now, was)
    return replace(step[0], incident=None, reason=None, sentence=""), step[1]


def _remember(recent: tuple[Sample, ...], verdict: Verdict, policy: Policy, now: float) -> tuple[Sample, ...]:
    samples = (*recent, Sample(now, verdict.severity))[-policy.latch.memory :]
    if policy.interval is None:
        return samples
    oldest = now - STALE_INTERVALS * policy.latch.memory * policy.interval
    return tuple(sample for sample in samples if sample.at >= oldest)


def _latched(is_set: bool, recent: tuple[Sample, ...], level: Severity, latch: Latch) -> bool:
    reached = [sample.severity >= level for sample in recent]
    if reached[-1] and sum(reached[-latch.window :]) >= latch.raise_:
        return True
    cleared = len(reached) >= latch.clear and not any(reached[-latch.clear :])
    return is_set and not cleared


def _emit(status: Status, kind: Kind, cause: Change, now: float, was: Severity = Severity.OK) -> Step:
    """Make an event of the incident it belongs to, which it opens where there is none."""
    verdict = cause if isinstance(cause, Verdict) else None
    about_check = kind in (Kind.CHECK_BROKEN, Kind.CHECK_REPAIRED) or (verdict is None and status.incident is None)
    check = cause.run.check if isinstance(cause, Verdict) else cause.check
    number = status.events + 1
    open_incident = status.broken_incident if about_check else status.incident
    began = now if about_check else _began(status.recent, now)
    incident = open_incident or Incident(derive_id("inc", check, number, now), began, 0, now)
    incident = replace(incident, sequence=incident.sequence + 1, told_at=now)
    slot, attempt = (verdict.run.slot, verdict.run.attempt) if verdict else (incident.since, incident.sequence)
    reason, sentence = (
        (status.broken_reason, status.broken_sentence) if about_check else (status.reason, status.sentence)
    )
    event = Event(
        id=derive_id("evt", check, slot, attempt, kind, number),
        kind=kind,
        check=check,
        incident=incident.id,
        sequence=incident.sequence,
        at=now,
        was=was,
        severity=Severity.OK if about_check else status.severity,
        since=incident.since,
        reason=verdict.reason if verdict else reason,
        sentence=verdict.sentence if verdict else sentence,
        findings=verdict.findings if verdict else (),
        run=verdict.run if verdict else None,
    )
    opened = replace(status, broken_incident=incident) if about_check else replace(status, incident=incident)
    return replace(opened, events=number), (event,)


def _began(recent: tuple[Sample, ...], now: float) -> float:
    """Return when the target was first seen bad without having been seen well since."""
    began = now
    for sample in reversed(recent):
        if sample.severity is Severity.OK:
            break
        began = sample.at
    return began


def _remind(status: Status, tick: Tick, policy: Policy, now: float) -> Step:
    due = status.incident
    if policy.remind is None or due is None or now < due.told_at + policy.remind:
        return status, ()
    return _emit(status, Kind.REMINDER, tick, now, status.severity)


def _withdraw(status: Status, removal: Removal, now: float) -> Step:
    """Close what is open: first what is known of the target, then what is known of the check."""
    events: tuple[Event, ...] = ()
    while status.incident or status.broken_incident:
        status, withdrawn = _emit(status, Kind.WITHDRAWN, removal, now, status.severity)
        events += withdrawn
        if status.incident:
            status = replace(status, incident=None, warn=False, fail=False, reason=None, sentence="")
        else:
            status = replace(status, broken_incident=None, broken=False, broken_reason=None, broken_sentence="")
    return replace(FRESH, events=status.events), events


def _wake_at(status: Status, policy: Policy) -> float | None:
    if policy.remind is None or status.incident is None:
        return None
    return status.incident.told_at + policy.remind

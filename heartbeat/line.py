"""One run as one function: read ``run_slot`` from top to bottom and you know what the daemon does.

slot due -> run -> Result -> judge -> Verdict -> advance -> (Status, [Event]) -> decide -> [Delivery] -> record -> tell
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from heartbeat.check import Reported
from heartbeat.clock import Clock
from heartbeat.config.model import CheckConfig
from heartbeat.core.advance import Other, Removal, Taken, advance, is_steady, needs_recheck
from heartbeat.core.decide import NONE, Objections, decide, find_released
from heartbeat.core.judge import judge
from heartbeat.core.model import (
    NOTHING,
    OPENING,
    Address,
    Delivery,
    DeliveryState,
    Event,
    Kind,
    Reason,
    Result,
    Run,
    Severity,
    Verdict,
)
from heartbeat.core.passing import Tick, pass_time
from heartbeat.core.status import Status
from heartbeat.core.trace import trace_id
from heartbeat.crash import crash_point
from heartbeat.log import RUN, is_verbose
from heartbeat.outbox import Outbox
from heartbeat.runner import Workshop, new_run_id, run_check
from heartbeat.state import Live
from heartbeat.store import Entry, Store, StoreFailed

log = structlog.get_logger()

HELD_AT_MOST = 20
"""How many checks are named that another one holds back; the others are counted."""
UNRECORDED_AT_MOST = 1000
"""How many entries wait in memory for a store that is back; beyond it the oldest are given up."""
BAD_NEWS = frozenset({*OPENING.values(), Kind.REMINDER, Kind.ESCALATED})


@dataclass(slots=True)
class Line:
    """What the line works with: one of each, put together by the daemon."""

    clock: Clock
    workshop: Workshop
    store: Store
    outbox: Outbox
    ways_out: Callable[[tuple[str, ...]], tuple[Address, ...]]
    """The ways out of receivers, by name."""
    unwell: Callable[[], tuple[str, ...]] = tuple
    """Names of what is not well at the moment, the worst first."""
    against: Callable[[Live, float], Objections] = lambda _live, _now: NONE
    """What stands against telling of a check at a time."""
    look_at_parents: Callable[[Live], None] = lambda _live: None
    """Runs the checks that a check depends on at once, if nobody did so since it went bad."""
    held_back: Callable[[str], tuple[str, ...]] = lambda _name: ()
    """Names of the checks that nobody is told of while a check fails."""
    perform: Callable[[Line, Live, Run], Awaitable[Result]] = lambda line, live, run: perform(line, live, run)  # noqa: PLW0108 - it stands further down
    """Makes a run. A simulation makes up what it found."""
    pause: Callable[[Line, float], Awaitable[None]] = lambda line, seconds: pause(line, seconds)  # noqa: PLW0108 - so does this
    """Waits some seconds before a second look."""
    deployed: Callable[[CheckConfig, float], Mapping[str, Any]] = lambda _check, _since: NOTHING
    """What messages say of the deployment after which the trouble of a check began, if there was one."""
    location: str = ""
    buckets: tuple[float, ...] = ()
    running: set[str] = field(default_factory=set)
    """Names of the checks whose plugin is at work, past its deadline or not; a rename moves them."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the daemon comes to its end: nothing new begins."""
    unrecorded: deque[Entry] = field(default_factory=lambda: deque(maxlen=UNRECORDED_AT_MOST))


async def run_slot(line: Line, live: Live, slot: float, attempt: int = 0) -> Verdict:
    """Run a check for a slot, and again soon where its policy asks for a second look. Returns the last verdict."""
    config = live.config
    run = Run(new_run_id(), config.name, slot, attempt, line.clock.now(), config.timeout)
    RUN.set(run.id)  # for good: each run has a task, and so a context, of its own
    result = await line.perform(line, live, run)
    before, outdated = live.status, live.retired or live.config is not config
    windows = None if outdated else live.windows
    verdict = judge(run, result, config.limits, line.clock.now(), before.held, windows)
    status, events = advance(before, verdict, config.policy, verdict.at)
    if outdated:  # changed while it ran: recorded, but decides nothing any more
        status, events = before, ()
    entry = Entry(run, result, verdict, steady_at=line.clock.steady())
    if events:
        status, entry = address(line, live, status, entry, events)
    live.observe(verdict, result, status, line.buckets)
    if is_verbose():
        log_run(verdict, result)
    if not outdated and not is_steady(before, status, verdict):  # a restart would need to know it
        entry = replace(entry, status=status)
    if verdict.severity is Severity.FAIL or verdict.reason is Reason.NETWORK:
        line.look_at_parents(live)
    await tell(line, entry)
    if not outdated and needs_recheck(status, verdict, config.policy) and not isinstance(config.check, Reported):
        await line.pause(line, config.policy.recheck or 0.0)
        if may_recheck(line, live, config, run):
            return await run_slot(line, live, slot, attempt + 1)
    return verdict


async def perform(line: Line, live: Live, run: Run) -> Result:
    """Let the plugin do its work. Its check is busy until all of it has ended, also what goes on past the deadline."""
    line.running.add(run.check)
    try:
        finished = await run_check(live.config.check, run, line.workshop)
    except Exception:  # a mistake of ours; it must not keep the check busy for ever
        release(line, live, None)
        raise
    release(line, live, finished.leftover)
    return finished.result


async def pause(line: Line, seconds: float) -> None:
    """Wait before a second look, but not past the end of the daemon."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await line.closing.wait()


def may_recheck(line: Line, live: Live, config: CheckConfig, run: Run) -> bool:
    """Say whether a run is still the last word on a check that is as it was."""
    as_it_was = live.config is config and not live.retired
    return as_it_was and live.run is run and config.name not in line.running and not line.closing.is_set()


async def take(line: Line, live: Live, change: Other) -> None:
    """Let something else than a run change a check: the passing of time, an absence, a person, its removal."""
    if live.retired or change.check != live.config.name:  # it was decided on before the check was let go, or renamed
        return
    if isinstance(change, Removal):
        live.retired = True
    status, events = advance(live.status, change, live.config.policy, line.clock.now())
    entry = Entry(check=live.config.name, steady_at=line.clock.steady())
    if events:
        status, entry = address(line, live, status, entry, events)
    is_new, live.status = status != live.status, status
    if events or (is_new and isinstance(change, Taken)):
        await tell(line, replace(entry, status=status))


def tick_of(line: Line, live: Live, now: float) -> Tick | None:
    """Return the passing of time, if it has something to do for a check."""
    status, policy = live.status, live.config.policy
    if status.wake_at is None or status.wake_at > now:
        return None

    def reaches(kind: Kind, severity: Severity) -> bool:
        return bool(line.ways_out(live.config.notify.named(kind, severity)))

    released = find_released(status, line.against(live, now), policy, now, reaches)
    tick = Tick(live.config.name, released)
    return tick if pass_time(status, tick, policy, now)[1] else None


async def tell(line: Line, entry: Entry) -> None:
    """Record what happened together with whom to tell, and tell them once that is safe on disk.

    Where the store fails the messages go out all the same, and say so; they are recorded when it is back.
    """
    committed = line.store.write(entry)
    if committed is None:
        return
    pending = tuple(delivery for delivery in entry.deliveries if delivery.state is DeliveryState.PENDING)
    try:
        await committed
    except StoreFailed as failure:
        log.error("not recorded", check=entry.name, error=str(failure))
        if entry.again:  # a row of history alone is not worth the memory
            line.unrecorded.append(entry)
        line.outbox.accept(pending, volatile=True)
    else:
        if entry.events:
            crash_point("after_commit")
        line.outbox.accept(pending)
    for event in entry.events:  # only now: what the log says was raised survives a crash
        log_event(event)


def address(line: Line, live: Live, status: Status, entry: Entry, events: tuple[Event, ...]) -> tuple[Status, Entry]:
    """Return the entry with what is told, and to whom, or why to nobody; and the status that knows it."""
    config, against = live.config, line.against(live, events[0].at)
    context = describe(config, line.location, line.unwell())
    context |= traced(entry.run, entry.result)
    if status.fail and (held := line.held_back(config.name)):
        context |= {"holds_back": list(held[:HELD_AT_MOST]), "holds_back_more": len(held[HELD_AT_MOST:])}
    told = tuple(
        replace(
            event,
            result=entry.result,
            context={**context, "policy": rule_of(config, event), **line.deployed(config, event.since)},
        )
        for event in events
    )
    deliveries: list[Delivery] = []
    for event in told:
        ways_out = line.ways_out(config.notify.receivers(event))
        status, decided = decide(status, event, against, ways_out, config.policy)
        deliveries += decided
    assigned = line.outbox.assign(deliveries)
    crash_point("after_assign")
    return status, replace(entry, events=told, deliveries=assigned)


async def record_again(line: Line) -> None:
    """Record what the store could not take, oldest first, until it fails again.

    An entry that is refused while the store is well goes to the end: it must not hold up the others.
    """
    for _ in range(len(line.unrecorded)):
        if line.store.failing or not line.unrecorded:  # a slow store may have called for us twice
            return
        entry = line.unrecorded.popleft()
        try:
            if (committed := line.store.write(entry)) is not None:
                await committed
        except StoreFailed:
            line.unrecorded.append(entry)


def release(line: Line, live: Live, leftover: asyncio.Future[Any] | None) -> None:
    """Let the next slot come: now, or when what is left of the plugin has ended; by then it may have a new name."""
    if leftover is None:
        line.running.discard(live.config.name)
    else:
        leftover.add_done_callback(lambda _: line.running.discard(live.config.name))


def describe(config: CheckConfig, location: str, unwell: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what messages say about the check itself, and what else is not well."""
    return {
        "type": config.type,
        "labels": dict(config.labels),
        "runbook": config.runbook,
        "location": location,
        "also_failing": [name for name in unwell if name != config.name],
    }


def traced(run: Run | None, result: Result | None) -> dict[str, str]:
    """Return what messages say so that a run can be found in the traces of its target, if its requests told of it."""
    return {"trace_id": trace_id(run.id)} if run is not None and result is not None and result.marked else {}


def rule_of(config: CheckConfig, event: Event) -> str:
    """Return by which rule the severity of an event was raised, where more than one run was asked for."""
    policy = config.policy
    latch = policy.fail if Severity.FAIL in (event.severity, event.was) else policy.warn
    return f"{latch.raise_} of {latch.window}" if latch.window > 1 else ""


def log_run(verdict: Verdict, result: Result) -> None:
    """Log a run, at debug."""
    log.debug(
        "run",
        check=verdict.run.check,
        outcome=verdict.outcome,
        severity=verdict.severity.word,
        seconds=round(result.duration, 6),
        reason=verdict.reason,
        sentence=verdict.sentence or None,
        distorted=verdict.distorted or None,
    )


def log_event(event: Event) -> None:
    """Log a transition: bad news as a warning, good news as information."""
    write = log.warning if event.kind in BAD_NEWS else log.info
    write(
        event.kind.value,
        check=event.check,
        severity=event.severity.word,
        reason=event.reason,
        sentence=event.sentence or None,
        incident=event.incident,
        event_id=event.id,
    )

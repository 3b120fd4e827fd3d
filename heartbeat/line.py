"""One run as one function: read ``run_slot`` from top to bottom and you know what the daemon does.

slot due -> run -> Result -> judge -> Verdict -> advance -> (Status, [Event]) -> decide -> [Delivery] -> record -> tell
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from os import urandom
from typing import Any

import structlog

from heartbeat.clock import Clock
from heartbeat.config.model import CheckConfig
from heartbeat.core.decide import decide
from heartbeat.core.limits import judge
from heartbeat.core.model import Address, DeliveryState, Event, Kind, Result, Run, Verdict
from heartbeat.core.status import Removal, Status, Tick, advance, is_steady, needs_recheck
from heartbeat.outbox import Outbox
from heartbeat.runner import Workshop, run_check
from heartbeat.state import Live
from heartbeat.store import Entry, Store, StoreFailed

log = structlog.get_logger()

UNRECORDED_AT_MOST = 1000
"""How many entries wait in memory for a store that is back; beyond it the oldest are given up."""
BAD_NEWS = frozenset({Kind.RAISED, Kind.REMINDER, Kind.CHECK_BROKEN})


@dataclass(slots=True)
class Line:
    """What the line works with: one of each, put together by the daemon."""

    clock: Clock
    workshop: Workshop
    store: Store
    outbox: Outbox
    ways_out: Callable[[CheckConfig], tuple[Address, ...]]
    location: str = ""
    buckets: tuple[float, ...] = ()
    running: set[str] = field(default_factory=set)
    """Names of the checks whose plugin is at work, past its deadline or not."""
    unrecorded: deque[Entry] = field(default_factory=lambda: deque(maxlen=UNRECORDED_AT_MOST))


async def run_slot(line: Line, live: Live, slot: float, attempt: int = 0) -> Verdict:
    """Run a check for a slot, and again soon where its policy asks for a second look. Returns the last verdict."""
    config = live.config
    line.running.add(config.name)
    run = Run(f"run_{urandom(8).hex()}", config.name, slot, attempt, line.clock.now(), config.timeout)
    with structlog.contextvars.bound_contextvars(run=run.id):
        finished = await run_check(config.check, run, line.workshop)
        result, before = finished.result, live.status
        verdict = judge(run, result, config.limits, line.clock.now())
        status, events = advance(before, verdict, config.policy, verdict.at)
        if live.retired or live.config is not config:  # changed while it ran: recorded, but decides nothing any more
            status, events = before, ()
        live.observe(verdict, result, status, line.buckets)
        release(line, config.name, finished.leftover)
        log_run(verdict, result)
        await tell(line, live, Entry(run, result, verdict, changed(before, status, verdict)), events)
    if live.config is config and not live.retired and needs_recheck(status, verdict, config.policy):
        await asyncio.sleep(config.policy.recheck or 0.0)
        if config.name not in line.running and not live.retired:
            return await run_slot(line, live, slot, attempt + 1)
    return verdict


async def take_tick(line: Line, live: Live) -> None:
    """Let time pass for a check: reminders that are due go out."""
    await _take(line, live, Tick(live.config.name))


async def take_removal(line: Line, live: Live) -> None:
    """Withdraw what is open of a check that was taken out of the configuration."""
    live.retired = True
    await _take(line, live, Removal(live.config.name))


async def _take(line: Line, live: Live, change: Tick | Removal) -> None:
    live.status, events = advance(live.status, change, live.config.policy, line.clock.now())
    if events:
        live.version += 1
        await tell(line, live, Entry(status=live.status, check=live.config.name), events)


async def tell(line: Line, live: Live, entry: Entry, events: tuple[Event, ...]) -> None:
    """Record what happened together with whom to tell, and tell them once that is safe on disk.

    Where the store fails the messages go out all the same, and say so; they are recorded when it is back.
    """
    context = describe(live.config, line.location)
    told = tuple(replace(event, result=entry.result, context=context) for event in events)
    ways_out = line.ways_out(live.config) if told else ()
    deliveries = tuple(delivery for event in told for delivery in decide(event, ways_out, event.at))
    for event in told:
        log_event(event)
    entry = replace(entry, events=told, deliveries=deliveries)
    pending = tuple(delivery for delivery in deliveries if delivery.state is DeliveryState.PENDING)
    committed = line.store.write(entry)
    try:
        if committed is not None:
            await committed
    except StoreFailed as failure:
        log.error("not recorded", check=entry.name, error=str(failure))
        line.unrecorded.append(entry)
        line.outbox.accept(pending, volatile=True)
    else:
        line.outbox.accept(pending)


async def record_again(line: Line) -> None:
    """Record what the store could not take, oldest first, until it fails again.

    An entry that is refused while the store is well goes to the end: it must not hold up the others.
    """
    for _ in range(len(line.unrecorded)):
        if line.store.failing:
            return
        entry = line.unrecorded.popleft()
        try:
            if (committed := line.store.write(entry)) is not None:
                await committed
        except StoreFailed:
            line.unrecorded.append(entry)


def changed(before: Status, after: Status, verdict: Verdict) -> Status | None:
    """Return the status where a restart would need to know it."""
    return None if is_steady(before, after, verdict) else after


def release(line: Line, name: str, leftover: asyncio.Future[Any] | None) -> None:
    """Let the next slot come: now, or when what is left of the plugin has ended."""
    if leftover is None:
        line.running.discard(name)
    else:
        leftover.add_done_callback(lambda _: line.running.discard(name))


def describe(config: CheckConfig, location: str) -> dict[str, Any]:
    """Return what messages say about the check itself."""
    return {"type": config.type, "labels": dict(config.labels), "runbook": config.runbook, "location": location}


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

"""One run as one function: read ``run_slot`` from top to bottom and you know what the daemon does.

slot due -> run -> Result -> judge -> Verdict -> advance -> (Status, [Event]) -> decide -> [Delivery] -> record -> tell
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from os import urandom
from typing import Any

import structlog

from heartbeat.clock import Clock
from heartbeat.config.model import CheckConfig
from heartbeat.core.advance import Removal, Tick, advance, is_steady, needs_recheck
from heartbeat.core.decide import decide
from heartbeat.core.limits import judge
from heartbeat.core.model import Address, DeliveryState, Event, Kind, Result, Run, Verdict
from heartbeat.core.status import Status
from heartbeat.crash import crash_point
from heartbeat.log import is_verbose
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
    unwell: Callable[[], tuple[str, ...]] = tuple
    """Names of what is not well at the moment, the worst first."""
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
    run = Run(f"run_{urandom(8).hex()}", config.name, slot, attempt, line.clock.now(), config.timeout)
    structlog.contextvars.bind_contextvars(run=run.id)  # for good: each run has a task, and so a context, of its own
    result = await perform(line, live, run)
    before = live.status
    verdict = judge(run, result, config.limits, line.clock.now())
    status, events = advance(before, verdict, config.policy, verdict.at)
    outdated = live.retired or live.config is not config
    if outdated:  # changed while it ran: recorded, but decides nothing any more
        status, events = before, ()
    live.observe(verdict, result, status, line.buckets)
    if is_verbose():
        log_run(verdict, result)
    news = None if outdated else changed(before, status, verdict)
    await tell(line, live, Entry(run, result, verdict, news, steady_at=line.clock.steady()), events)
    if not outdated and needs_recheck(status, verdict, config.policy):
        await pause(line, config.policy.recheck or 0.0)
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
        entry = Entry(status=live.status, check=live.config.name, steady_at=line.clock.steady())
        await tell(line, live, entry, events)


async def tell(line: Line, live: Live, entry: Entry, events: tuple[Event, ...]) -> None:
    """Record what happened together with whom to tell, and tell them once that is safe on disk.

    Where the store fails the messages go out all the same, and say so; they are recorded when it is back.
    """
    if events:
        entry = address(line, live, entry, events)
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
        if events:
            crash_point("after_commit")
        line.outbox.accept(pending)
    for event in entry.events:  # only now: what the log says was raised survives a crash
        log_event(event)


def address(line: Line, live: Live, entry: Entry, events: tuple[Event, ...]) -> Entry:
    """Return the entry with what is told, and to whom; or why to nobody."""
    context = describe(live.config, line.location, line.unwell())
    told = tuple(replace(event, result=entry.result, context=context) for event in events)
    ways_out = line.ways_out(live.config)
    deliveries = line.outbox.assign(delivery for event in told for delivery in decide(event, ways_out, event.at))
    crash_point("after_assign")
    return replace(entry, events=told, deliveries=deliveries)


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


def changed(before: Status, after: Status, verdict: Verdict) -> Status | None:
    """Return the status where a restart would need to know it."""
    return None if is_steady(before, after, verdict) else after


def release(line: Line, live: Live, leftover: asyncio.Future[Any] | None) -> None:
    """Let the next slot come: now, or when what is left of the plugin has ended; by then it may have a new name."""
    if leftover is None:
        line.running.discard(live.config.name)
    else:
        leftover.add_done_callback(lambda _: line.running.discard(live.config.name))


def describe(config: CheckConfig, location: str, unwell: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what messages say about the check itself, and what else is not well."""
    latch = config.policy.latch
    return {
        "type": config.type,
        "labels": dict(config.labels),
        "runbook": config.runbook,
        "location": location,
        "policy": f"{latch.raise_} of {latch.window}" if latch.window > 1 else "",
        "also_failing": [name for name in unwell if name != config.name],
    }


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

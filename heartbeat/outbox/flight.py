"""One attempt: seal the batch, render, send, judge the answer, write it down, pass on what cannot be told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

import structlog

from heartbeat.channels import SLOW_RETRY, Channel
from heartbeat.channels.attempt import Attempt, Transport, attempt
from heartbeat.config.model import FALLBACK
from heartbeat.core.batch import Batch
from heartbeat.core.decide import pass_on
from heartbeat.core.model import Address, Delivery, DeliveryState, Event
from heartbeat.crash import crash_point
from heartbeat.outbox.pace import Pace
from heartbeat.outbox.parcel import Parcel
from heartbeat.outbox.settlement import Settlement
from heartbeat.outbox.way import Way

log = structlog.get_logger()

FIND_SECONDS = 5.0

Find = Callable[[Collection[str]], Awaitable[Sequence[Delivery]]]
Observe = Callable[[Address, str, Sequence[float]], None]


async def find_nothing(_: Collection[str]) -> Sequence[Delivery]:
    """Stand in for a store that is not asked."""
    return ()


@dataclass(slots=True, kw_only=True)
class Desk:
    """What all attempts share: the neighbours of the outbox, and how to put more into it."""

    settlement: Settlement
    clock: Callable[[], float]
    redact: Callable[[str], str]
    observe: Observe
    find: Find
    pace: Pace
    assign: Callable[[Iterable[Delivery]], tuple[Delivery, ...]]
    accept: Callable[..., None]
    is_known: Callable[[str], bool]
    transport: Transport
    fallback: tuple[Address, ...] = ()
    passed_on: set[str] = field(default_factory=set)
    """Deliveries that others are told of although they are tried on."""
    dead: tuple[float, str] | None = None
    """The latest dead letter, and when (wall clock)."""


async def deliver(desk: Desk, way: Way, parcel: Parcel) -> None:
    """Make one attempt with a parcel, and see to what follows from it."""
    channel, counts = way.channel, desk.pace.monotonic() >= parcel.due
    if channel is None:
        gone = Attempt(acknowledged=False, note=f"{way.identity} is no longer configured", permanent=True)
        await conclude(desk, way, parcel, gone, counts=False)
        return
    if not parcel.frozen:
        await seal(desk, way, parcel)
    crash_point("before_render")
    outcome = await hand_over(desk, channel, parcel)
    await conclude(desk, way, parcel, outcome, counts=counts)


async def seal(desk: Desk, way: Way, parcel: Parcel) -> None:
    """Fix what the message tells and as of when, so that a crash can neither regroup nor change it."""
    way.gather(parcel)
    way.charge(parcel, desk.pace.monotonic())
    now = desk.clock()
    parcel.rendered = None
    parcel.deliveries = [replace(one, state=DeliveryState.LEASED, sealed_at=now) for one in parcel.deliveries]
    await desk.settlement.settle(*parcel.deliveries)
    crash_point("after_seal")


async def hand_over(desk: Desk, channel: Channel, parcel: Parcel) -> Attempt:
    """Make the message, unless the receiver may have it already, and send it."""
    batch = shown(desk, parcel)
    try:
        parcel.rendered = parcel.rendered or channel.render(batch, batch.deliveries[0].sealed_at)
    except Exception as error:  # noqa: BLE001 - as in attempt: a fault in a channel is noted, and tried again
        return Attempt(acknowledged=False, note=f"the message cannot be made: {type(error).__name__}")
    crash_point("before_send")
    outcome = await attempt(channel, batch, parcel.rendered, transport=desk.transport)
    crash_point("after_send")
    return outcome


def shown(desk: Desk, parcel: Parcel) -> Batch:
    """Return the batch as it may be seen: without secrets, and saying what is not recorded."""
    batch = parcel.contents()
    deliveries = [replace(one, event=redacted(one.event, desk.redact)) for one in batch.deliveries]
    return replace(batch, deliveries=tuple(_mark(one) if one.id in parcel.volatile else one for one in deliveries))


def _mark(delivery: Delivery) -> Delivery:
    return replace(delivery, event=replace(delivery.event, context={**delivery.event.context, "recorded": False}))


async def conclude(desk: Desk, way: Way, parcel: Parcel, outcome: Attempt, *, counts: bool) -> None:
    """Write down what came of an attempt, in one commit with whom to tell instead."""
    outcome = replace(outcome, note=desk.redact(outcome.note))
    judge(desk, way, parcel, outcome, counts=counts)
    after = tuple(parcel.deliveries)
    heirs = await find_heirs(desk, way, after, outcome)
    if heirs:
        crash_point("during_fallback")
    if outcome.acknowledged:
        crash_point("before_ack")
    merged = parcel if parcel.is_done else way.merge_failed(parcel)
    if await desk.settlement.settle(*merged.deliveries, *heirs):
        merged.volatile.clear()
        safe = True
    else:
        safe = False
    if outcome.acknowledged:
        crash_point("after_ack")
        if way.troubled:
            way.revive(desk.pace.monotonic())
    if way.channel is not None:
        _report(desk, way, after)
    desk.accept(heirs, volatile=not safe)
    way.touch(merged.key)


def judge(desk: Desk, way: Way, parcel: Parcel, outcome: Attempt, *, counts: bool) -> None:
    """Let the parcel, and its channel, be what they are after an attempt."""
    now, wall = desk.pace.monotonic(), desk.clock()
    parcel.tried, parcel.nudged = now, float("inf")
    way.strained = not outcome.acknowledged and outcome.retry_after is not None
    parcel.attempts = attempts = parcel.attempts + counts
    if outcome.acknowledged:
        changes: dict[str, object] = {"state": DeliveryState.ACKNOWLEDGED, "done_at": wall}
    elif outcome.permanent or attempts >= desk.pace.attempts:
        changes = {"state": DeliveryState.DEAD, "done_at": wall}
    else:
        changes = _wait(desk, way, parcel, outcome, attempts if counts else 0)
    parcel.deliveries = [
        replace(one, attempts=one.attempts + counts, note=outcome.note, **changes)  # type: ignore[arg-type]  # fields by name
        for one in parcel.deliveries
    ]


def _wait(desk: Desk, way: Way, parcel: Parcel, outcome: Attempt, attempts: int) -> dict[str, object]:
    """Let a parcel wait for its next attempt: 0 attempts say that this one was ahead of the schedule, which stays."""
    now = desk.pace.monotonic()
    way.troubled = True
    if attempts:
        parcel.due = now + desk.pace.wait_after(attempts, outcome.retry_after)
    if outcome.retry_after is not None:
        way.hold = max(way.hold, now + desk.pace.wait_after(attempts, outcome.retry_after))
    next_at = desk.clock() + parcel.due - now
    if outcome.ambiguous or parcel.frozen:
        parcel.frozen = True
        return {"state": DeliveryState.LEASED, "next_at": next_at}
    way.refund(parcel)
    return {"state": DeliveryState.PENDING, "next_at": next_at, "sealed_at": 0.0}


async def find_heirs(desk: Desk, way: Way, after: Iterable[Delivery], outcome: Attempt) -> tuple[Delivery, ...]:
    """Return the deliveries to the fallback receiver: for what is dead, and for what only a person can mend.

    Who was told already, or is going to be, is not told again.
    """
    slow = not outcome.acknowledged and (outcome.retry_after or 0.0) >= SLOW_RETRY
    lost = [one for one in after if slow or one.state is DeliveryState.DEAD]
    if not lost or not desk.fallback or way.receiver == FALLBACK:
        return ()
    heirs = {
        heir.id: heir
        for one in lost
        if one.id not in desk.passed_on
        for heir in pass_on(one, desk.fallback, desk.clock(), outcome.note)
    }
    recorded = await _recorded(desk, heirs.keys()) if heirs else set()
    desk.passed_on |= {one.id for one in lost if one.state is not DeliveryState.DEAD}
    return desk.assign(heir for heir in heirs.values() if not desk.is_known(heir.id) and heir.id not in recorded)


async def _recorded(desk: Desk, ids: Collection[str]) -> set[str]:
    try:
        async with asyncio.timeout(FIND_SECONDS):
            return {one.id for one in await desk.find(ids)}
    except Exception as error:  # noqa: BLE001 - rather told twice than not at all
        log.warning("the store cannot say who was told", error=type(error).__name__)
        return set()


def _report(desk: Desk, way: Way, after: Sequence[Delivery]) -> None:
    """Count, log and remember the outcome of an attempt."""
    words = {DeliveryState.ACKNOWLEDGED: "acknowledged", DeliveryState.DEAD: "dead"}
    outcome = words.get(after[0].state, "retried")
    now = desk.clock()
    ages = [max(0.0, now - one.event.at) for one in after] if outcome == "acknowledged" else []
    desk.observe(after[0].address, outcome, ages)
    for one in after:
        log_outcome(one, way, outcome)
        if outcome != "retried":
            desk.passed_on.discard(one.id)
    if outcome == "dead":
        first = after[0]
        more = f" (and {len(after) - 1} more)" if len(after) > 1 else ""
        desk.dead = now, f"a message about {first.event.check}{more} was given up by {way.identity}: {first.note}"


def log_outcome(delivery: Delivery, way: Way, outcome: str) -> None:
    """Log what came of an attempt for one delivery."""
    write = {"acknowledged": log.info, "retried": log.warning, "dead": log.error}[outcome]
    write(
        "delivery",
        outcome=outcome,
        channel=way.identity,
        recipient=delivery.address.recipient or None,
        check=delivery.event.check,
        kind=delivery.event.kind.value,
        incident=delivery.event.incident,
        event_id=delivery.event.id,
        delivery=delivery.id,
        batch=delivery.batch or None,
        attempt=delivery.attempts,
        answer=delivery.note,
    )


def redacted(event: Event, redact: Callable[[str], str]) -> Event:
    """Return the event without secrets in any text that came from outside."""
    findings = tuple(replace(found, observed=redact(found.observed)) for found in event.findings)
    result = event.result
    if result is not None:
        result = replace(
            result,
            sentence=redact(result.sentence),
            expected=None if result.expected is None else redact(result.expected),
            observed=None if result.observed is None else redact(result.observed),
            evidence={name: redact(text) for name, text in result.evidence.items()},
        )
    return replace(event, sentence=redact(event.sentence), why=redact(event.why), findings=findings, result=result)

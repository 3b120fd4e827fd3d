"""The outbox: every delivery is tried until its receiver has acknowledged it, or it is dead.

Three rules:

1. Order is kept per incident, channel and recipient: a later event waits until the one before is acknowledged or dead.
2. A channel has a worker of its own: one that hangs delays nobody but itself.
3. Waiting goes by the monotonic clock; wall time is only what is written down, so a step of it strands nothing.

At least once: a message is sent twice only if we die between the receiver's answer and our commit, with the same id.
No leases are taken yet: the store's lock lets in one daemon, whose memory knows what is under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import structlog

from heartbeat.channels import Channel
from heartbeat.channels.attempt import Attempt, attempt
from heartbeat.core.batch import single
from heartbeat.core.model import Address, Delivery, DeliveryState, Event
from heartbeat.metrics.instruments import Backlog
from heartbeat.outbox.pace import Pace
from heartbeat.outbox.settlement import Settlement
from heartbeat.outbox.way import DONE, Lane, Letter, Way

log = structlog.get_logger()

VOLATILE_AT_MOST = 1000
"""How many deliveries are taken that the store does not have."""
DEAD_IS_NEWS = 3600.0
"""Seconds for which a dead letter is reported as a trouble of the daemon."""


class Outbox:
    """Delivers what it accepts. All of it runs on one loop.

    Args:
        settle: writes a delivery's state, attempts, next_at and note durably (``store.settle``).
        channels: the ways out, by identity.
        clock: wall time in seconds, for what is written down.
        redact: takes the secrets out of a text.
        observe: told of each outcome of an attempt: ``acknowledged``, ``retried``, ``dead``.
        pace: the schedule of attempts.
    """

    def __init__(  # noqa: PLR0913 - each is one neighbour, named at the call
        self,
        *,
        settle: Callable[[Delivery], Awaitable[None]],
        channels: Mapping[str, Channel],
        clock: Callable[[], float],
        redact: Callable[[str], str],
        observe: Callable[[Address, str], None],
        pace: Pace | None = None,
    ) -> None:
        self._settlement = Settlement(settle)
        self._channels = dict(channels)
        self._clock, self._redact, self._observe = clock, redact, observe
        self._pace = pace or Pace()
        self._ways: dict[str, Way] = {}
        self._running = False
        self._dead: tuple[float, str] | None = None

    async def start(self, pending: Iterable[Delivery] = ()) -> None:
        """Begin to deliver, first of all what an earlier life left behind."""
        self.accept(pending)
        self._running = True
        self._settlement.start()
        for way in self._ways.values():
            self._employ(way)
        self._report_gone()

    def accept(self, deliveries: Iterable[Delivery], *, volatile: bool = False) -> None:
        """Take deliveries over, after their commit; or before it, when the store fails (``volatile``).

        What is already under way is left alone, and so is what nobody gets (suppressed) or has got.
        """
        known = {letter.delivery.id for letter in self._letters()} | self._settlement.waiting.keys()
        room = VOLATILE_AT_MOST - sum(letter.volatile for letter in self._letters())
        for delivery in deliveries:
            if delivery.id in known or delivery.state not in (DeliveryState.PENDING, DeliveryState.LEASED):
                continue
            if volatile and room <= 0:
                self._refuse(delivery)
                continue
            room -= volatile
            known.add(delivery.id)
            due = self._pace.due(delivery.next_at, self._clock())
            self._way(delivery.address).add(Letter(delivery, due, volatile))

    def reload(self, channels: Mapping[str, Channel]) -> None:
        """Take over changed channels. A changed one is tried at once; what waits for one that is gone waits on."""
        self._channels = dict(channels)
        for way in list(self._ways.values()):
            channel = channels.get(way.identity)
            if channel != way.channel:
                way.adopt(channel, self._pace.monotonic())
            if channel is None and not way.lanes:
                self._dismiss(way)
        self._report_gone()

    def look_again(self) -> None:
        """Let every worker see what is due, as after a sleep of the machine."""
        for way in self._ways.values():
            way.wake.set()

    async def drain(self, grace: float) -> None:
        """Begin nothing new and give what flies ``grace`` seconds; the rest goes out at the next start."""
        self._running = False
        workers = [way.worker for way in self._ways.values() if way.worker is not None]
        flying = [task for way in self._ways.values() for task in way.flying.values()]
        for worker in workers:
            worker.cancel()
        if flying:
            await asyncio.wait(flying, timeout=grace)
        for task in flying:
            task.cancel()
        await asyncio.gather(*workers, *flying, return_exceptions=True)
        await self._settlement.stop()

    def pending(self, channel: str = "") -> int:
        """Return how many deliveries wait or fly, of one channel or of all."""
        return sum(1 for way in self._ways.values() if channel in ("", way.identity) for _ in way.letters())

    def oldest(self, now: float) -> float:
        """Return the age of the oldest pending delivery in seconds, 0 where there is none."""
        return max((backlog.oldest_seconds for backlog in self.backlogs(now)), default=0.0)

    def backlogs(self, now: float) -> list[Backlog]:
        """Return what waits, per channel that has had anything to deliver."""
        return [way.backlog(now) for way in self._ways.values()]

    def dead_lately(self, now: float) -> str:
        """Say which delivery was given up within the last hour, or nothing."""
        return self._dead[1] if self._dead is not None and now - self._dead[0] < DEAD_IS_NEWS else ""

    # --- one channel's worker ------------------------------------------------------------------------------------

    def _way(self, address: Address) -> Way:
        way = self._ways.get(address.channel)
        if way is None:
            way = Way(address.channel, self._channels.get(address.channel), address.receiver)
            self._ways[address.channel] = way
            if self._running:
                self._employ(way)
        return way

    def _employ(self, way: Way) -> None:
        way.worker = asyncio.create_task(self._work(way), name=f"outbox {way.identity}")

    def _dismiss(self, way: Way) -> None:
        del self._ways[way.identity]
        if way.worker is not None:
            way.worker.cancel()

    async def _work(self, way: Way) -> None:
        loop = asyncio.get_running_loop()
        while True:
            way.wake.clear()
            ready, wait = way.next_up(self._pace.monotonic())
            for lane in ready:
                way.flying[lane] = asyncio.create_task(self._fly(way, lane), name=f"delivery to {way.identity}")
            timer = loop.call_later(max(wait, 0.001), way.wake.set)
            try:
                await way.wake.wait()
            finally:
                timer.cancel()

    async def _fly(self, way: Way, lane: Lane) -> None:
        """Make one attempt with the first letter of a lane."""
        letter = way.lanes[lane][0]
        try:
            if way.channel is not None:
                await self._deliver(way, way.channel, letter)
        except Exception:  # a fault of ours must cost one attempt, not the worker
            log.exception("delivery broke", delivery=letter.delivery.id, channel=way.identity)
            letter.due = self._pace.monotonic() + self._pace.wait_after(letter.delivery.attempts + 1)
        finally:
            del way.flying[lane]
            if letter.delivery.state in DONE:
                way.remove(lane, letter)
            way.wake.set()

    async def _deliver(self, way: Way, channel: Channel, letter: Letter) -> None:
        """Render, send, judge the answer, write it down."""
        try:
            letter.rendered = letter.rendered or channel.render(single(self._shown(letter)), self._clock())
        except Exception as error:  # noqa: BLE001 - as in attempt: a fault in a channel is noted, and tried again
            outcome = Attempt(acknowledged=False, note=f"the message cannot be made: {type(error).__name__}")
        else:
            outcome = await attempt(channel, single(letter.delivery), letter.rendered)
        letter.delivery = self._judge(way, letter, outcome)
        if await self._settlement.settle(letter.delivery):
            letter.volatile = False
        self._tell(way, letter.delivery)

    def _judge(self, way: Way, letter: Letter, outcome: Attempt) -> Delivery:
        """Return the delivery as it stands after an attempt, and let the channel wait where it must."""
        attempts = letter.delivery.attempts + 1
        after = replace(letter.delivery, attempts=attempts, note=self._redact(outcome.note))
        way.strained = not outcome.acknowledged and outcome.retry_after is not None
        if outcome.acknowledged:
            return replace(after, state=DeliveryState.ACKNOWLEDGED)
        if outcome.permanent or attempts >= self._pace.attempts:
            return replace(after, state=DeliveryState.DEAD)
        wait = self._pace.wait_after(attempts, outcome.retry_after)
        letter.due = self._pace.monotonic() + wait
        if outcome.retry_after is not None:
            way.hold = max(way.hold, letter.due)
        return replace(after, state=DeliveryState.PENDING, next_at=self._clock() + wait)

    # --- what is said --------------------------------------------------------------------------------------------

    def _tell(self, way: Way, after: Delivery) -> None:
        """Count, log and remember the outcome of an attempt."""
        words = {DeliveryState.ACKNOWLEDGED: "acknowledged", DeliveryState.DEAD: "dead"}
        outcome = words.get(after.state, "retried")
        self._observe(after.address, outcome)
        write = {"acknowledged": log.info, "retried": log.warning, "dead": log.error}[outcome]
        write(
            "delivery",
            outcome=outcome,
            channel=way.identity,
            recipient=after.address.recipient or None,
            check=after.event.check,
            kind=after.event.kind.value,
            incident=after.event.incident,
            event_id=after.event.id,
            delivery=after.id,
            attempt=after.attempts,
            answer=after.note,
        )
        if outcome == "dead":
            sentence = f"a message about {after.event.check} was given up by {way.identity}: {after.note}"
            self._dead = (self._clock(), sentence)

    def _shown(self, letter: Letter) -> Delivery:
        event = redacted(letter.delivery.event, self._redact)
        if letter.volatile:
            event = replace(event, context={**event.context, "recorded": False})
        return replace(letter.delivery, event=event)

    def _refuse(self, delivery: Delivery) -> None:
        self._observe(delivery.address, "dead")
        log.error("not delivered: too much waits in memory while the store fails", delivery=delivery.id)

    def _report_gone(self) -> None:
        for way in self._ways.values():
            if way.channel is None and way.lanes:
                waiting = self.pending(way.identity)
                log.warning("messages wait for a channel that is not configured", channel=way.identity, waiting=waiting)

    def _letters(self) -> Iterator[Letter]:
        for way in self._ways.values():
            yield from way.letters()


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
    return replace(event, sentence=redact(event.sentence), findings=findings, result=result)

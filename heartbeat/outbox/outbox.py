"""The outbox: every delivery is tried until its receiver has acknowledged it, or it is dead and others are told.

Four rules:

1. Order is kept per incident, channel and recipient: a later event waits until the one before is acknowledged or dead.
2. A channel has a worker of its own: one that hangs delays nobody but itself.
3. Waiting goes by the monotonic clock; wall time is only what is written down, so a step of it strands nothing.
4. What a message tells is fixed in the store before its first attempt. Where the receiver may have it, the same bytes
   are sent again, after a crash too; where it surely has not, the next message tells what has happened since.

At least once: a message is sent twice only where its acknowledgement, or our record of it, was lost: with the same id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from contextvars import Context
from dataclasses import replace

import structlog

from heartbeat.channels import Channel
from heartbeat.channels.attempt import Transport, send
from heartbeat.config.model import FALLBACK
from heartbeat.core.model import Address, Delivery, DeliveryState
from heartbeat.metrics.instruments import Backlog
from heartbeat.outbox.flight import Desk, Find, Observe, deliver, find_nothing
from heartbeat.outbox.pace import Pace
from heartbeat.outbox.parcel import DONE, Parcel
from heartbeat.outbox.settlement import Settle, Settlement
from heartbeat.outbox.way import Way

log = structlog.get_logger()

VOLATILE_AT_MOST = 1000
"""How many deliveries are taken that the store does not have."""
DEAD_IS_NEWS = 3600.0
"""Seconds for which a dead letter is reported as a trouble of the daemon."""
FAREWELL = 2.0
"""Seconds in which a channel closes what it keeps open."""
ON_THEIR_WAY = (DeliveryState.PENDING, DeliveryState.LEASED)


class Outbox:
    """Delivers what it accepts. All of it runs on one loop.

    Args:
        settle: writes the states of any number of deliveries in one durable commit (``store.settle``).
        channels: the ways out, by identity.
        fallback: who is told what others could not be told.
        clock: wall time in seconds, for what is written down.
        redact: takes the secrets out of a text.
        observe: told of each attempt: to whom, its outcome (``acknowledged``, ``retried``, ``dead``), and for each
            event that was acknowledged how many seconds ago it was decided.
        find: returns those of some deliveries, by id, that the store has (``store.find``).
        pace: the schedule of attempts.
        transport: the last hop.
    """

    def __init__(  # noqa: PLR0913 - each is one neighbour, named at the call
        self,
        *,
        settle: Settle,
        channels: Mapping[str, Channel],
        clock: Callable[[], float],
        redact: Callable[[str], str],
        observe: Observe,
        fallback: tuple[Address, ...] = (),
        find: Find = find_nothing,
        pace: Pace | None = None,
        transport: Transport = send,
    ) -> None:
        self._settlement = Settlement(settle)
        self._channels = dict(channels)
        self._clock, self._pace = clock, pace or Pace()
        self._ways: dict[str, Way] = {}
        self._known: set[str] = set()
        self._running = False
        self._farewells: set[asyncio.Future[None]] = set()
        self._desk = Desk(
            settlement=self._settlement, clock=clock, redact=redact, observe=observe, find=find, pace=self._pace,
            assign=self.assign, accept=self._take, is_known=self._is_known, fallback=fallback, transport=transport,
        )  # fmt: skip

    async def start(self, pending: Iterable[Delivery] = ()) -> None:
        """Begin to deliver, first of all what an earlier life left behind."""
        left: dict[str, list[Delivery]] = {}
        for delivery in pending:
            if delivery.state in ON_THEIR_WAY and not self._is_known(delivery.id):
                left.setdefault(delivery.address.channel, []).append(delivery)
                self._known.add(delivery.id)
        for deliveries in left.values():
            way = self._way(deliveries[0].address)
            way.restore(deliveries, {one.id: self._due(one) for one in deliveries})
        self._running = True
        self._settlement.start()
        for way in self._ways.values():
            self._employ(way)
        self._look_after_gone()

    def assign(self, deliveries: Iterable[Delivery]) -> tuple[Delivery, ...]:
        """Return the deliveries with the batch that each travels in: to be called before their commit.

        News for people joins the batch that is open for them, or opens one.
        """
        wall, now = self._clock(), self._pace.monotonic()
        return tuple(
            self._way(one.address).assign(one, wall, now) if one.state is DeliveryState.PENDING else one
            for one in deliveries
        )

    def accept(self, deliveries: Iterable[Delivery], *, volatile: bool = False) -> None:
        """Take deliveries over, after their commit; or after it failed (``volatile``).

        What is already under way is left alone, and so is what nobody gets (suppressed) or has got.
        """
        new = [one for one in deliveries if one.id not in self._settlement.waiting]
        self._settlement.failing |= volatile and bool(new)
        self._take(new, volatile=volatile)

    async def replay(self, identity: str) -> Delivery:
        """Send a delivery that is dead or acknowledged once more, under the same id. Raises ``LookupError``."""
        if self._is_known(identity):
            raise LookupError(f"the delivery {identity} is on its way")
        found = next(iter(await self._desk.find([identity])), None)
        if found is None or not found.address.channel:
            raise LookupError(f"there is no delivery {identity} that anybody was to get")
        if found.address.channel not in self._channels:
            raise LookupError(f"its channel {found.address.channel} is not configured any more")
        now = self._clock()
        again = replace(
            found, state=DeliveryState.PENDING, attempts=0, next_at=now, note="", batch="",
            closes_at=0.0, sealed_at=0.0, done_at=0.0,
        )  # fmt: skip
        log.info("replay", delivery=identity, channel=found.address.channel, before=found.state.value)
        self._take([again], volatile=not await self._settlement.settle(again))
        return again

    def reload(self, channels: Mapping[str, Channel], fallback: tuple[Address, ...] = ()) -> None:
        """Take over changed channels. A changed one is tried at once; what waits for one that is gone is passed on."""
        self._channels, self._desk.fallback = dict(channels), fallback
        for way in list(self._ways.values()):
            channel = channels.get(way.identity)
            if channel != way.channel:
                self._let_go(way.channel)
                way.adopt(channel, self._pace.monotonic())
            if channel is None and not way.lanes:
                self._dismiss(way)
        self._look_after_gone()

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
        for way in self._ways.values():
            self._let_go(way.channel)
        await asyncio.gather(*self._farewells, return_exceptions=True)

    def pending(self, channel: str = "") -> int:
        """Return how many deliveries wait or fly, of one channel or of all."""
        return sum(1 for way in self._ways.values() if channel in ("", way.identity) for _ in way.deliveries())

    def oldest(self, now: float) -> float:
        """Return the age of the oldest pending delivery in seconds, 0 where there is none."""
        return max((backlog.oldest_seconds for backlog in self.backlogs(now)), default=0.0)

    def backlogs(self, now: float) -> list[Backlog]:
        """Return what waits, per channel that has had anything to deliver."""
        return [way.backlog(now, self._desk.pace.monotonic()) for way in self._ways.values()]

    def dead_lately(self, now: float) -> str:
        """Say which delivery was given up within the last hour, or nothing."""
        dead = self._desk.dead
        return dead[1] if dead is not None and now - dead[0] < DEAD_IS_NEWS else ""

    # --- what comes in -------------------------------------------------------------------------------------------

    def _take(self, deliveries: Iterable[Delivery], *, volatile: bool = False) -> None:
        room = VOLATILE_AT_MOST - self._volatile() if volatile else 0
        for delivery in deliveries:
            if delivery.id in self._known or delivery.state not in ON_THEIR_WAY:
                continue
            if volatile and room <= 0:
                self._refuse(delivery)
                continue
            room -= volatile
            self._known.add(delivery.id)
            self._way(delivery.address).add(delivery, self._due(delivery), volatile=volatile)

    def _due(self, delivery: Delivery) -> float:
        return self._pace.due(max(delivery.next_at, delivery.closes_at), self._clock())

    def _is_known(self, identity: str) -> bool:
        return identity in self._known or identity in self._settlement.waiting

    def _volatile(self) -> int:
        return sum(len(parcel.volatile) for way in self._ways.values() for parcel in way.parcels())

    def _refuse(self, delivery: Delivery) -> None:
        self._way(delivery.address).forget(delivery)
        self._desk.observe(delivery.address, "dead", ())
        log.error("not delivered: too much waits in memory while the store fails", delivery=delivery.id)

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
        # A context of its own: what this worker logs later belongs to no run, and least of all to the one that woke it.
        way.worker = asyncio.create_task(self._work(way), name=f"outbox {way.identity}", context=Context())

    def _dismiss(self, way: Way) -> None:
        del self._ways[way.identity]
        if way.worker is not None:
            way.worker.cancel()

    def _let_go(self, channel: Channel | None) -> None:
        """Let a channel close what it keeps open, beside everything else."""
        if channel is not None:
            farewell = asyncio.ensure_future(_part(channel))
            self._farewells.add(farewell)
            farewell.add_done_callback(self._farewells.discard)

    async def _work(self, way: Way) -> None:
        loop = asyncio.get_running_loop()
        while True:
            way.wake.clear()
            ready, wait = way.next_up(self._pace.monotonic())
            for parcel in ready:
                way.flying[parcel] = asyncio.create_task(self._fly(way, parcel), name=f"delivery to {way.identity}")
            timer = loop.call_later(max(wait, 0.001), way.wake.set)
            try:
                await way.wake.wait()
            finally:
                timer.cancel()

    async def _fly(self, way: Way, parcel: Parcel) -> None:
        """Make one attempt with a parcel, and let go of what is done with."""
        try:
            await deliver(self._desk, way, parcel)
        except Exception:  # a fault of ours must cost one attempt, not the worker
            log.exception("delivery broke", batch=parcel.batch or None, channel=way.identity)
            parcel.frozen = parcel.frozen or parcel.rendered is not None  # the receiver may have it
            parcel.due = self._pace.monotonic() + self._pace.wait_after(parcel.attempts + 1)
        finally:
            del way.flying[parcel]
            parcel.flying = False
            self._known -= {one.id for one in parcel.deliveries if one.state in DONE}
            if parcel.deliveries and parcel.is_done:
                way.remove(parcel)
            way.touch(parcel.key)
            way.wake.set()
            if way.channel is None and not way.lanes and self._ways.get(way.identity) is way:
                self._dismiss(way)

    def _look_after_gone(self) -> None:
        """Let those who can be told instead be told of what waits for a channel that is not configured."""
        for way in self._ways.values():
            way.may_pass_on = bool(self._desk.fallback) and way.receiver != FALLBACK
            if way.channel is None and way.may_pass_on:
                way.hurry(self._pace.monotonic())
            if way.channel is None and way.lanes:
                waiting = self.pending(way.identity)
                log.warning(
                    "messages wait for a channel that is not configured",
                    channel=way.identity,
                    waiting=waiting,
                    passed_on=way.may_pass_on,
                )
            way.wake.set()


async def _part(channel: Channel) -> None:
    """Close what a channel keeps open; how we part changes nothing."""
    with suppress(Exception):
        async with asyncio.timeout(FAREWELL):
            await channel.aclose()

"""One channel as the outbox sees it: its parcels in order, what may fly now, and when to look again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from math import inf

from heartbeat.channels import Channel, ForPeople
from heartbeat.core.batch import batch_id
from heartbeat.core.model import Delivery
from heartbeat.metrics.instruments import Backlog
from heartbeat.outbox.allowance import UNLIMITED, Allowance
from heartbeat.outbox.parcel import MOST, SOON, Key, Parcel, is_sealed, late_id, sort_out

AT_ONCE = 4
"""Attempts of one channel at the same time."""
LOOK_AGAIN = 60.0
AWAIT = 15.0
"""Seconds that a closed batch waits for deliveries whose commit has not ended; a commit is given up after ten."""
REMEMBERED = 1000


@dataclass(slots=True, eq=False)
class Lane:
    """The parcels of one key, in order. ``alarm`` is when the agenda looks at it next."""

    parcels: list[Parcel] = field(default_factory=list)
    alarm: float = inf

    def free(self) -> Iterator[Parcel]:
        """Yield what no earlier parcel of the same incident holds up, and does not fly."""
        taken: set[str] = set()
        for parcel in self.parcels:
            incidents = parcel.incidents
            if not parcel.flying and taken.isdisjoint(incidents):
                yield parcel
            taken |= incidents
            if parcel.key[0]:  # all in this lane are of one incident
                return

    def held_up_by(self, parcel: Parcel) -> Iterator[Parcel]:
        """Yield the younger ones of the same incidents that may be absorbed: nothing older or between holds them up."""
        place, wanted = self.parcels.index(parcel), parcel.incidents
        barred = {incident for older in self.parcels[:place] for incident in older.incidents}
        for other in self.parcels[place + 1 :]:
            incidents = other.incidents
            may_go = parcel.has_room_for(other) and not other.awaited and barred.isdisjoint(incidents)
            if may_go and not wanted.isdisjoint(incidents):
                yield other
            else:
                barred |= incidents


@dataclass(slots=True, eq=False)
class Way:
    """One channel: its parcels in order, and what its worker knows. Times are on the monotonic clock."""

    identity: str
    channel: Channel | None
    receiver: str
    may_pass_on: bool = False
    """Where the channel is gone, the fallback is told what waits for it."""
    lanes: dict[Key, Lane] = field(default_factory=dict)
    agenda: list[tuple[float, Key]] = field(default_factory=list)
    """When to look at which lane; an entry counts only while it is the lane's alarm."""
    flying: dict[Parcel, asyncio.Task[None]] = field(default_factory=dict)
    allowances: dict[str, Allowance] = field(default_factory=dict)
    departed: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    """Batches whose message was made: nobody joins them any more."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    hold: float = 0.0
    """Until then nothing is sent: the receiver asked for it, or a person has to mend something."""
    strained: bool = False
    """The latest answer asked us to wait: the next attempt goes alone."""
    troubled: bool = False
    """An attempt has failed since the last one that did not."""
    worker: asyncio.Task[None] | None = None

    @property
    def groups(self) -> bool:
        """Say whether what is told here is put together; while the channel is gone, what was together stays so."""
        return self.channel is None or isinstance(self.channel, ForPeople)

    def parcels(self) -> Iterator[Parcel]:
        """Yield all that wait or fly."""
        for lane in self.lanes.values():
            yield from lane.parcels

    def deliveries(self) -> Iterator[Delivery]:
        """Yield all that wait or fly, one by one."""
        for parcel in self.parcels():
            yield from parcel.deliveries

    # --- in and out ----------------------------------------------------------------------------------------------

    def assign(self, delivery: Delivery, wall: float, now: float) -> Delivery:
        """Return the delivery with the batch that it joins or opens; it is put in after its commit."""
        if not isinstance(self.channel, ForPeople):
            return delivery
        lane = self.lanes.get(("", delivery.address.recipient)) or Lane()
        for empty in [one for one in lane.parcels if not one.deliveries and now > one.due + AWAIT]:
            self.remove(empty)
        parcel = next((one for one in lane.parcels if one.is_fresh and now < self._closes(one)), None)
        if parcel is None:
            wait = self.channel.group_wait
            parcel = Parcel(now + wait, batch_id(delivery), wall + wait)
            self._place(parcel, ("", delivery.address.recipient))
        parcel.awaited.add(delivery.id)
        return replace(delivery, batch=parcel.batch, closes_at=parcel.closes_at)

    def add(self, delivery: Delivery, due: float, *, volatile: bool = False) -> None:
        """Take a delivery in: into the batch it was assigned to, if that has not left."""
        if not self.groups:
            delivery = replace(delivery, batch="")
        elif delivery.batch:
            lane = self.lanes.get(("", delivery.address.recipient)) or Lane()
            parcel = next((one for one in lane.parcels if one.batch == delivery.batch and one.is_fresh), None)
            if parcel is not None:
                parcel.add(delivery, volatile=volatile)
                self.touch(parcel.key)
                return
            if delivery.batch in self.departed:
                delivery = replace(delivery, batch=late_id(delivery))
        self._put([delivery], due, volatile=volatile)

    def forget(self, delivery: Delivery) -> None:
        """Wait no longer for a delivery that was assigned to a batch and will not come."""
        for parcel in self.parcels():
            parcel.awaited.discard(delivery.id)

    def restore(self, deliveries: Iterable[Delivery], due: dict[str, float]) -> None:
        """Take in what an earlier life left behind, or another kind of channel, put together as it was."""
        for together in sort_out(deliveries, together=self.groups):
            self._put(together, max(due[one.id] for one in together))

    def _put(self, deliveries: list[Delivery], due: float, *, volatile: bool = False) -> None:
        first = deliveries[0]
        parcel = Parcel(due, first.batch, first.closes_at, deliveries, frozen=is_sealed(first))
        parcel.volatile = {one.id for one in deliveries} if volatile else set()
        to = first.address.recipient
        self._place(parcel, ("", to) if self.groups else (first.event.incident, to))

    def _place(self, parcel: Parcel, key: Key) -> None:
        """Put a parcel last; in a lane of one incident at its place, as an earlier life's may come after news."""
        parcel.key = key
        lane = self.lanes.setdefault(key, Lane())
        lane.parcels.append(parcel)
        if key[0]:
            lane.parcels.sort(key=lambda one: one.deliveries[0].event.sequence)
        self.touch(key)

    def remove(self, parcel: Parcel) -> None:
        """Let go of a parcel that is done with, or that another one has absorbed."""
        if parcel.batch:
            self.departed.append(parcel.batch)
        lane = self.lanes[parcel.key]
        lane.parcels.remove(parcel)
        if not lane.parcels:
            del self.lanes[parcel.key]

    def adopt(self, channel: Channel | None, now: float) -> None:
        """Take over a changed channel: what went wrong with the old one says nothing about it."""
        grouped, self.channel, self.hold, self.strained = self.groups, channel, 0.0, False
        self.allowances.clear()
        for parcel in self.parcels():
            parcel.rendered = None
        if channel is not None and grouped is not self.groups:
            idle = [parcel for parcel in self.parcels() if not parcel.flying]
            for parcel in idle:
                self.remove(parcel)
            self.departed.clear()
            left = [one for parcel in idle for one in parcel.deliveries]
            self.restore(left, {one.id: now for one in left})
        self.hurry(now)

    def hurry(self, now: float) -> None:
        """Let everything leave now but what others may still join."""
        for key, lane in self.lanes.items():
            for parcel in lane.parcels:
                parcel.due = parcel.due if parcel.is_fresh and self.channel is not None else now
            self.touch(key)

    # --- what may fly --------------------------------------------------------------------------------------------

    def next_up(self, now: float) -> tuple[list[Parcel], float]:
        """Return the parcels to send from now, the longest due first, and how many seconds to wait after that."""
        room = (1 if self.strained else AT_ONCE) - len(self.flying)
        if room <= 0 or (self.channel is None and not self.may_pass_on):
            return [], LOOK_AGAIN
        if self.hold > now:
            return [], min(self.hold - now, LOOK_AGAIN)
        ready: list[Parcel] = []
        while self.agenda and self.agenda[0][0] <= now and len(ready) < room:
            alarm, key = heappop(self.agenda)
            lane = self.lanes.get(key)
            if lane is None or lane.alarm != alarm:
                continue
            due = sorted((at, n, one) for n, one in enumerate(lane.free()) if (at := self._leaves_at(lane, one)) <= now)
            for _, _, parcel in due[: room - len(ready)]:
                parcel.flying = True
                ready.append(parcel)
            lane.alarm = inf
            self.touch(key)
        full = len(ready) == room
        return ready, LOOK_AGAIN if full or not self.agenda else min(self.agenda[0][0] - now, LOOK_AGAIN)

    def touch(self, key: Key) -> None:
        """Note when the lane is to be looked at next: something in it has changed."""
        lane = self.lanes.get(key)
        if lane is None:
            return
        alarm = min((self._leaves_at(lane, parcel) for parcel in lane.free()), default=inf)
        if alarm != lane.alarm:
            lane.alarm = alarm
            if alarm < inf:
                heappush(self.agenda, (alarm, key))
        self.wake.set()

    def _leaves_at(self, lane: Lane, parcel: Parcel) -> float:
        """Return when a parcel may fly, as far as its lane is concerned."""
        if not parcel.deliveries:
            return inf
        if parcel.frozen:
            return min(parcel.due, max(parcel.tried + SOON, parcel.nudged))
        at = parcel.due + (AWAIT if parcel.awaited else 0.0)
        if parcel.is_waiting:
            younger = lane.held_up_by(parcel) if self.groups else ()
            news = min((one.due for one in younger), default=inf)
            at = min(at, max(parcel.tried + SOON, min(news, parcel.nudged)))
        return max(at, self._allowance(parcel).free_at())

    def _closes(self, parcel: Parcel) -> float:
        """Return until when others may join: a batch that may not leave yet stays open."""
        return max(self._leaves(parcel), self.hold)

    def _leaves(self, parcel: Parcel) -> float:
        """Return when a batch is complete, or may leave where its recipient has had enough for a while."""
        return max(parcel.due, self._allowance(parcel).free_at())

    def _allowance(self, parcel: Parcel) -> Allowance:
        recipient = parcel.key[1]
        if not isinstance(self.channel, ForPeople):
            return UNLIMITED
        return self.allowances.setdefault(recipient, Allowance(self.channel.max_per_hour))

    # --- what happens to a parcel --------------------------------------------------------------------------------

    def gather(self, parcel: Parcel) -> None:
        """Let a parcel whose message is about to be made absorb what has happened since to the same incidents."""
        lane = self.lanes[parcel.key]
        while self.groups and (other := next(lane.held_up_by(parcel), None)):
            parcel.absorb(other)
            self.remove(other)

    def merge_failed(self, parcel: Parcel) -> Parcel:
        """Let an older parcel that waits already absorb one that failed too: they leave together. Return what holds it.

        During an outage one message grows; what is new is tried once by itself first.
        """
        lane = self.lanes[parcel.key].parcels
        older = next(
            (one for one in lane if one.is_waiting and len(one.deliveries) + len(parcel.deliveries) <= MOST), None
        )
        if not self.groups or parcel.frozen or older is None:
            return parcel
        older.absorb(parcel)
        older.nudged = older.tried + SOON
        self.remove(parcel)
        return older

    def charge(self, parcel: Parcel, now: float) -> None:
        """Count a message that is about to leave."""
        if self.groups:
            self._allowance(parcel).take(now)

    def refund(self, parcel: Parcel) -> None:
        """Count a message no longer that its receiver does not have."""
        if self.groups:
            self._allowance(parcel).give_back()

    def revive(self, now: float) -> None:
        """Try soon what waits: the channel works again."""
        self.troubled = False
        for key, lane in self.lanes.items():
            for parcel in lane.parcels:
                parcel.nudged = now
            self.touch(key)

    def backlog(self, wall: float, now: float) -> Backlog:
        """Return how much waits, and for how long. What is still being collected waits for nobody yet."""
        ages = [
            max(0.0, min(wall - one.event.at, now - self._leaves(parcel) if parcel.is_fresh else inf))
            for parcel in self.parcels()
            for one in parcel.deliveries
        ]
        return Backlog(self.receiver, self.identity, len(ages), max(ages, default=0.0))

"""What travels together to people, what is fixed by then, and what a crash leaves of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from heartbeat.channels import DeliveryFailed, Rendered
from heartbeat.core.batch import Batch
from heartbeat.core.model import Delivery, DeliveryState

Letter = Callable[..., Delivery]
Running = Callable[..., Any]
LOST = DeliveryFailed("the answer was lost", ambiguous=True)
DOWN = DeliveryFailed("connection refused")


class Hop:
    """A last hop that fails with these errors first; keeps the messages, and what each of them told."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.down = False
        self.messages: list[str] = []
        self.gate: asyncio.Event | None = None

    async def __call__(self, _batch: Batch, message: Rendered) -> str:
        self.messages.append(message.body.decode())
        if self.gate is not None:
            await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        if self.down:
            raise DOWN
        return "taken"

    @property
    def told(self) -> list[str]:
        """What each message told: incident/sequence."""
        return [message.partition(": ")[2] for message in self.messages]

    @property
    def ids(self) -> list[str]:
        return [message.partition(" ")[0] for message in self.messages]


async def test_what_comes_up_within_the_wait_travels_in_one_message(
    running: Running, letter: Letter, chat: Any
) -> None:
    hop = Hop()
    async with running({"a": chat(hop)}) as post:
        post.tell(letter("inc_1"))
        post.move(4)
        post.tell(letter("inc_2"), letter("inc_3"))
        post.move(5.9)
        await post.until_idle()
        assert hop.messages == []
        post.move(0.2)
        await post.until_settled(3)
        await post.until_idle()
        assert hop.told == ["inc_1/1 inc_2/1 inc_3/1"]
        assert len(post.done()) == 3
        assert post.observed == [("a", "acknowledged")]
        assert post.ages == pytest.approx([10.1] * 3)
        assert post.outbox.pending() == 0


async def test_what_comes_up_after_the_message_was_made_travels_in_the_next(
    running: Running, letter: Letter, chat: Any
) -> None:
    hop = Hop()
    async with running({"a": chat(hop)}) as post:
        post.tell(letter("inc_1"))
        post.move(10.1)
        await post.until_settled(1)
        post.tell(letter("inc_2"))
        post.move(10.1)
        await post.until_settled(2)
        assert hop.told == ["inc_1/1", "inc_2/1"]
        assert len(set(hop.ids)) == 2


async def test_each_recipient_has_messages_of_its_own(running: Running, letter: Letter, chat: Any) -> None:
    hop = Hop()
    async with running({"a": chat(hop)}) as post:
        post.tell(*(letter(incident, recipient=to) for incident in ("inc_1", "inc_2") for to in ("x", "y")))
        post.move(10.1)
        await post.until_settled(4)
        assert hop.told == ["inc_1/1 inc_2/1"] * 2
        assert len(set(hop.ids)) == 2


async def test_without_a_wait_a_message_leaves_at_once(running: Running, letter: Letter, chat: Any) -> None:
    hop = Hop()
    async with running({"a": chat(hop, group_wait="0s")}) as post:
        post.tell(letter("inc_1"))
        await post.until_settled(1)
        assert hop.told == ["inc_1/1"]


async def test_machines_get_every_event_by_itself_and_at_once(running: Running, letter: Letter) -> None:
    async def take(_delivery: Delivery, _message: Rendered) -> str:
        return "taken"

    async with running({"a": take}) as post:
        post.tell(letter("inc_1"), letter("inc_2"))
        await post.until_settled(2)
        assert post.observed == [("a", "acknowledged")] * 2
        assert {one.batch for one in post.settled} == {""}


async def test_the_batch_is_recorded_before_the_commit_and_sealed_before_the_attempt(
    running: Running, letter: Letter, chat: Any
) -> None:
    hop = Hop()
    hop.gate = asyncio.Event()
    async with running({"a": chat(hop)}) as post:
        post.tell(letter("inc_1"), letter("inc_2"))
        recorded = list(post.store.values())
        assert len({one.batch for one in recorded}) == 1
        assert [(one.closes_at, one.sealed_at) for one in recorded] == [(post.wall + 10, 0.0)] * 2
        post.move(10.1)
        await post.until_idle()
        assert hop.told == ["inc_1/1 inc_2/1"]
        assert [(one.state, one.sealed_at) for one in post.store.values()] == [(DeliveryState.LEASED, post.wall)] * 2
        assert len(post.commits) == 1, "all of it in one commit"
        hop.gate.set()
        await post.until_settled(2)
        assert len(post.commits) == 2


async def test_a_batch_waits_for_those_whose_commit_has_not_ended(running: Running, letter: Letter, chat: Any) -> None:
    hop = Hop()
    async with running({"a": chat(hop)}) as post:
        (slow,) = post.outbox.assign([letter("inc_slow")])
        post.tell(letter("inc_1"))
        post.move(10.1)
        await post.until_idle()
        assert hop.messages == []
        post.outbox.accept([slow])
        await post.until_settled(2)
        assert hop.told == ["inc_1/1 inc_slow/1"]


async def test_it_does_not_wait_for_ever_and_who_is_late_gets_a_message_of_another_id(
    running: Running, letter: Letter, chat: Any
) -> None:
    hop = Hop()
    async with running({"a": chat(hop)}) as post:
        (slow,) = post.outbox.assign([letter("inc_slow")])
        post.tell(letter("inc_1"))
        post.move(25.2)
        await post.until_settled(1)
        await post.until_idle()
        post.outbox.accept([slow])
        await post.until_settled(2)
        assert hop.told == ["inc_1/1", "inc_slow/1"]
        assert len(set(hop.ids)) == 2


async def test_what_happened_while_a_message_could_not_be_delivered_is_told_in_it(
    running: Running, letter: Letter, chat: Any
) -> None:
    hop = Hop(DOWN)
    async with running({"a": chat(hop)}) as post:
        post.tell(letter("inc_1", 1))
        post.move(10.1)
        await post.until_settled(1)
        post.tell(letter("inc_1", 2))
        post.move(2.1)  # the second attempt comes before the wait of the news is over: it takes it along
        await post.until_settled(3)
        await post.until_idle()
        assert hop.told == ["inc_1/1", "inc_1/1 inc_1/2"]
        assert len(set(hop.ids)) == 1
        assert hop.messages[1].startswith(f"{hop.ids[0]} at 12.2")
        assert post.outbox.pending() == 0


async def test_where_the_receiver_may_have_it_the_same_bytes_are_sent_again_and_the_news_afterwards(
    running: Running, letter: Letter, chat: Any
) -> None:
    hop = Hop(LOST, DOWN)
    async with running({"a": chat(hop)}) as post:
        post.tell(letter("inc_1", 1))
        post.move(10.1)
        (failed,) = list(await post.until_settled(1))
        assert failed.state is DeliveryState.LEASED
        post.tell(letter("inc_1", 2))
        post.move(2.1)
        await post.until_settled(2)
        post.move(5.1)
        await post.until_settled(3)
        post.move(10.1)
        await post.until_settled(4)
        assert hop.messages[0] == hop.messages[1] == hop.messages[2]
        assert hop.told[2:] == ["inc_1/1", "inc_1/2"]


async def test_news_of_another_incident_does_not_wait_for_a_message_that_fails(
    running: Running, letter: Letter, chat: Any
) -> None:
    hop = Hop(LOST, LOST, LOST, LOST)
    async with running({"a": chat(hop)}) as post:
        post.tell(letter("inc_1"))
        for count, seconds in enumerate((10.1, 2.1, 5.1, 15.1), 1):
            post.move(seconds)
            await post.until_settled(count)
        post.tell(letter("inc_2"))
        post.move(10.1)  # the fifth attempt is 20 s away
        await post.until_settled(5)
        assert hop.told == ["inc_1/1"] * 4 + ["inc_2/1"]


async def test_during_an_outage_one_message_grows_and_nothing_is_lost(
    running: Running, letter: Letter, chat: Any
) -> None:
    hop = Hop()
    hop.down = True
    async with running({"a": chat(hop)}) as post:
        for number in range(20):
            post.tell(letter(f"inc_{number}", 1, at=post.wall))
            post.move(60)
            await post.until_idle()
            post.tell(letter(f"inc_{number}", 2, at=post.wall))
            post.move(120)
            await post.until_idle()
        assert post.outbox.pending() == 40
        assert len({one.batch for one in post.store.values()}) == 1
        hop.down = False
        before = len(hop.messages)
        post.move(601 * 1.2)
        await post.until(lambda: len(post.done()) == 40)
        assert len(hop.messages) == before + 1
        assert [told.partition("/")[0] for told in hop.told[-1].split()[::2]] == [f"inc_{n}" for n in range(20)]


async def test_the_first_success_after_an_outage_brings_the_rest_along(running: Running, letter: Letter) -> None:
    down = [True]
    seen: list[str] = []

    async def hop(delivery: Delivery, _message: Rendered) -> str:
        if down[0]:
            raise DOWN
        seen.append(delivery.event.incident)
        return "taken"

    async with running({"a": hop}) as post:
        for number in range(3):
            post.tell(letter(f"inc_{number}"))
        for seconds in (2.1, 5.1, 15.1, 30.1, 60.1, 120.1, 300.1):
            await post.until_idle()
            post.move(seconds)
        await post.until_idle()
        down[0] = False
        post.move(60)
        await post.until_idle()
        assert seen == []
        post.tell(letter("inc_new"))
        await post.until(lambda: len(post.done()) == 4)
        assert seen[0] == "inc_new"


async def test_attempts_ahead_of_the_schedule_do_not_use_it_up(running: Running, letter: Letter, chat: Any) -> None:
    hop = Hop()
    hop.down = True
    async with running({"a": chat(hop, group_wait="0s")}, attempts=12) as post:
        post.tell(letter("inc_1", 1))
        for number in range(2, 40):
            await post.until_idle()
            post.tell(letter("inc_1", number))
            post.move(31)
        await post.until_idle()
        assert len(hop.messages) > 30
        assert post.outbox.pending() == 39


async def test_beyond_the_cap_the_batch_stays_open_and_becomes_a_digest(
    running: Running, letter: Letter, chat: Any
) -> None:
    hop = Hop()
    async with running({"a": chat(hop, max_per_hour=4)}) as post:
        for number in range(60):
            post.tell(letter(f"inc_{number:02}"))
            post.move(60)
            await post.until_idle()
        assert len(hop.messages) == 3, "two at once, one after half an hour"
        assert post.outbox.pending() == 29
        assert post.outbox.oldest(post.wall) == 0, "a digest that is being collected is no trouble"
        post.move(1800)
        await post.until(lambda: len(post.done()) == 60)
        assert " ".join(hop.told).split() == [f"inc_{n:02}/1" for n in range(60)]


async def test_a_retry_of_what_may_have_arrived_does_not_wait_for_the_cap(
    running: Running, letter: Letter, chat: Any
) -> None:
    hop = Hop(LOST)
    async with running({"a": chat(hop, max_per_hour=1)}) as post:
        post.tell(letter("inc_1"))
        post.move(10.1)
        await post.until_settled(1)
        post.move(2.1)
        await post.until_settled(2)
        assert len(post.done()) == 1


# A restart


async def restarted(running: Running, post: Any, channel: Any) -> Any:
    return running({"a": channel}, tuple(post.store.values()))


async def test_a_batch_that_was_open_goes_on_to_be_open_and_keeps_its_id(
    running: Running, letter: Letter, chat: Any
) -> None:
    hop = Hop()
    async with running({"a": chat(Hop())}) as before:
        before.tell(letter("inc_1"), letter("inc_2"))
        left = tuple(before.store.values())
    async with running({"a": chat(hop)}, left) as post:
        await post.until_idle()
        assert hop.messages == []
        post.tell(letter("inc_3"))
        post.move(10.1)
        await post.until_settled(3)
        assert hop.told == ["inc_1/1 inc_2/1 inc_3/1"]
        assert hop.ids == [left[0].batch]


async def test_a_sealed_batch_is_sent_again_as_the_same_bytes_and_nobody_joins_it(
    running: Running, letter: Letter, chat: Any
) -> None:
    first, second = Hop(), Hop()
    first.gate = asyncio.Event()
    async with running({"a": chat(first)}) as before:
        before.tell(letter("inc_1"), letter("inc_2"))
        before.move(10.1)
        await before.until_idle()
        assert len(first.messages) == 1
        left = tuple(before.store.values())
    late = replace(left[0], id="dlv_late", state=DeliveryState.PENDING, sealed_at=0.0)
    late = replace(late, event=replace(late.event, id="evt_late", incident="inc_late"))
    async with running({"a": chat(second)}, (*left, late)) as post:
        post.move(500)
        post.tell(letter("inc_3"))
        await post.until_settled(3)
        assert second.messages[0] == first.messages[0]
        assert second.told[1] == "inc_late/1"
        assert second.ids[1] != second.ids[0]


async def test_what_was_absorbed_stays_so(running: Running, letter: Letter, chat: Any) -> None:
    first, second = Hop(DOWN), Hop()
    async with running({"a": chat(first)}) as before:
        before.tell(letter("inc_1", 1))
        before.move(10.1)
        await before.until_settled(1)
        before.tell(letter("inc_1", 2))
        before.move(2.1)
        first.gate = asyncio.Event()
        await before.until_idle()
        left = tuple(before.store.values())
        assert first.told[-1] == "inc_1/1 inc_1/2"
    async with running({"a": chat(second)}, left) as post:
        post.move(20)
        await post.until_settled(2)
        assert second.messages == first.messages[-1:]


async def test_a_channel_that_turns_from_people_to_machines_gets_every_event_by_itself(
    running: Running, letter: Letter, chat: Any
) -> None:
    seen: list[str] = []

    async def take(delivery: Delivery, _message: Rendered) -> str:
        seen.append(delivery.id)
        return "taken"

    async with running({"a": chat(Hop())}) as post:
        post.tell(letter("inc_1", 1), letter("inc_2", 1), letter("inc_1", 2))
        post.outbox.reload({"a": post.channel(take)})
        await post.until_settled(3)
        assert sorted(seen) == ["dlv_inc_1_1_a_", "dlv_inc_1_2_a_", "dlv_inc_2_1_a_"]


async def test_while_the_store_fails_messages_are_grouped_in_memory_and_settled_later(
    running: Running, letter: Letter, chat: Any
) -> None:
    hop = Hop()
    async with running({"a": chat(hop)}) as post:
        post.store_works = False
        post.tell(letter("inc_1"), letter("inc_2"), volatile=True)
        post.move(10.1)
        await post.until_idle()
        assert hop.told == ["inc_1/1 inc_2/1"]
        assert post.store == {}
        post.store_works = True
        await post.outbox._settlement._settle_all()
        assert {one.state for one in post.store.values()} == {DeliveryState.ACKNOWLEDGED}
        assert len({one.batch for one in post.store.values()}) == 1

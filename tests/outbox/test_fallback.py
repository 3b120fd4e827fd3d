"""What cannot be told is passed on to the fallback receiver, in the commit that says so; and what is told once more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from heartbeat.channels import SLOW_RETRY, DeliveryFailed, Rendered
from heartbeat.core.batch import Batch
from heartbeat.core.model import Address, Delivery, DeliveryState

Letter = Callable[..., Delivery]
Running = Callable[..., Any]
FALLBACK = (Address("fallback", "b", "ops@x"),)
REFUSED = DeliveryFailed("550 no such user", permanent=True)


class Hop:
    """Fails with these errors, then takes everything; keeps what it is handed."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.seen: list[Delivery] = []

    async def __call__(self, delivery: Delivery, _message: Rendered) -> str:
        self.seen.append(delivery)
        if self.errors:
            raise self.errors.pop(0)
        return "taken"


class People:
    """The same for batches."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.batches: list[Batch] = []

    async def __call__(self, batch: Batch, _message: Rendered) -> str:
        self.batches.append(batch)
        if self.errors:
            raise self.errors.pop(0)
        return "taken"


async def test_what_is_refused_for_good_is_told_to_the_fallback_with_the_reason(
    running: Running, letter: Letter
) -> None:
    other = Hop()
    async with running({"a": Hop(REFUSED), "b": other}, fallback=FALLBACK) as post:
        post.tell(letter(recipient="a@x"))
        dead, told = await post.until_settled(2)
        assert (dead.state, dead.done_at) == (DeliveryState.DEAD, post.wall)
        assert (told.state, told.address, told.event) == (DeliveryState.ACKNOWLEDGED, FALLBACK[0], dead.event)
        assert other.seen[0].why == "a could not tell a@x: 550 no such user"
        states = [[one.state for one in commit] for commit in post.commits]
        assert [DeliveryState.DEAD, DeliveryState.PENDING] in states, "in one commit"


async def test_what_failed_for_too_long_is_told_to_the_fallback(running: Running, letter: Letter) -> None:
    hop, other = Hop(*[DeliveryFailed("busy")] * 3), Hop()
    async with running({"a": hop, "b": other}, fallback=FALLBACK, delays=(0.0,), attempts=3) as post:
        post.tell(letter())
        await post.until(lambda: len(post.done()) == 1)
        assert other.seen[0].why == "a could not be told: busy"


async def test_what_only_a_person_can_mend_is_told_to_the_fallback_at_once_and_tried_on(
    running: Running, letter: Letter
) -> None:
    hop, other = Hop(*[DeliveryFailed("535 wrong password", retry_after=SLOW_RETRY)] * 3), Hop()
    async with running({"a": hop, "b": other}, fallback=FALLBACK) as post:
        post.tell(letter())
        await post.until(lambda: len(post.done()) == 1)
        assert post.done() == [other.seen[0].id]
        for _ in range(3):
            post.move(800)
            await post.until_idle()
        assert len(post.done()) == 2
        assert len(other.seen) == 1


async def test_a_message_to_people_that_is_refused_is_grouped_for_the_fallback_too(
    running: Running, letter: Letter, chat: Any
) -> None:
    hop, other = People(REFUSED), People()
    async with running({"a": chat(hop), "b": chat(other)}, fallback=FALLBACK) as post:
        post.tell(letter("inc_1"), letter("inc_2"))
        post.move(10.1)
        await post.until_settled(2)
        await post.until_idle()
        heirs = [one for one in post.store.values() if one.why]
        assert len({one.batch for one in heirs}) == 1
        assert heirs[0].batch
        post.move(10.1)
        await post.until(lambda: len(post.done()) == 2)
        assert [event.incident for event in other.batches[0].events] == ["inc_1", "inc_2"]


async def test_who_was_told_anyhow_is_not_told_again(running: Running, letter: Letter) -> None:
    other = Hop()
    async with running({"a": Hop(REFUSED, REFUSED), "b": other}, fallback=FALLBACK) as post:
        post.tell(letter("inc_1", recipient="a@x"), letter("inc_1", recipient="b@x"))
        await post.until(lambda: len(post.done()) == 1)
        await post.until_idle()
        assert len(post.done(DeliveryState.DEAD)) == 2
        assert len(other.seen) == 1


async def test_who_was_told_before_a_restart_is_not_told_again(running: Running, letter: Letter) -> None:
    async with running({"a": Hop(REFUSED), "b": Hop()}, fallback=FALLBACK) as before:
        before.tell(letter(recipient="a@x"))
        await before.until_settled(2)
        left = dict(before.store)
    other = Hop()
    async with running({"a": Hop(REFUSED), "b": other}, fallback=FALLBACK) as post:
        post.store.update(left)
        post.tell(letter(recipient="b@x"))
        await post.until_settled(1)
        await post.until_idle()
        assert other.seen == []


async def test_nothing_is_passed_from_fallback_to_fallback(running: Running, letter: Letter) -> None:
    other = Hop(REFUSED, REFUSED)
    async with running({"a": Hop(REFUSED), "b": other}, fallback=FALLBACK) as post:
        post.tell(letter(recipient="a@x"))
        await post.until_settled(2)
        await post.until_idle()
        assert len(other.seen) == 1
        assert [one.state for one in post.store.values()] == [DeliveryState.DEAD] * 2
        assert "given up by b" in post.outbox.dead_lately(post.wall)


async def test_what_waits_for_a_channel_that_vanished_is_passed_on(running: Running, letter: Letter, chat: Any) -> None:
    busy = DeliveryFailed("busy")
    other = Hop()
    channels = {"a": chat(People(*[busy] * 9)), "b": Hop(), "c": Hop(*[busy] * 9)}
    async with running(channels, fallback=FALLBACK) as post:
        post.tell(letter("inc_1"), letter("inc_2"), letter("inc_3", channel="c"))
        await post.until_settled(1)
        post.outbox.reload({"b": post.channel(other)}, FALLBACK)
        post.move(10.1)
        await post.until(lambda: len(post.done()) == 3)
        await post.until_idle()
        assert sorted(one.why for one in other.seen) == ["a could not be told: a is no longer configured"] * 2 + [
            "c could not be told: c is no longer configured"
        ]
        assert [backlog.channel for backlog in post.outbox.backlogs(post.wall)] == ["b"]
        assert {channel for channel, _ in post.observed} == {"b", "c"}
        assert not post.outbox.dead_lately(post.wall)


async def test_what_was_left_for_a_channel_that_vanished_while_we_were_down_is_passed_on(
    running: Running, letter: Letter
) -> None:
    other = Hop()
    waiting = letter(attempts=7, next_at=1_795_269_731.0 + 600)
    async with running({"b": other}, (waiting,), fallback=FALLBACK) as post:
        await post.until(lambda: len(post.done()) == 1)
        assert other.seen[0].event == waiting.event


async def test_without_a_fallback_it_waits_until_there_is_one(running: Running, letter: Letter) -> None:
    other = Hop()
    async with running({"b": other}, (letter(),)) as post:
        await post.until_idle()
        assert other.seen == []
        post.outbox.reload({"b": post.channel(other)}, FALLBACK)
        await post.until(lambda: len(post.done()) == 1)


async def test_what_is_in_flight_when_its_channel_vanishes_is_passed_on_if_it_fails(
    running: Running, letter: Letter
) -> None:
    other = Hop()

    async with running({"b": Hop()}, fallback=FALLBACK) as post:

        async def vanish(_delivery: Delivery, _message: Rendered) -> str:
            post.outbox.reload({"b": post.channel(other)}, FALLBACK)
            raise DeliveryFailed("busy")

        post.outbox.reload({"a": post.channel(vanish), "b": post.channel(other)}, FALLBACK)
        post.tell(letter())
        await post.until_settled(1)
        post.move(3)
        await post.until(lambda: len(post.done()) == 1)
        assert other.seen[0].why == "a could not be told: a is no longer configured"


async def test_while_the_store_fails_the_fallback_is_told_from_memory(running: Running, letter: Letter) -> None:
    other = Hop()
    async with running({"a": Hop(REFUSED), "b": other}, fallback=FALLBACK) as post:
        post.store_works = False
        post.tell(letter(), volatile=True)
        await post.until_idle()
        assert len(other.seen) == 1
        assert other.seen[0].event.context["recorded"] is False
        post.store_works = True
        await post.outbox._settlement._settle_all()
        assert sorted(one.state for one in post.store.values()) == [DeliveryState.ACKNOWLEDGED, DeliveryState.DEAD]


async def test_no_secret_is_in_the_reason(running: Running, letter: Letter) -> None:
    other = Hop()
    refused = DeliveryFailed("no such user CANARY-1", permanent=True)
    async with running({"a": Hop(refused), "b": other}, fallback=FALLBACK) as post:
        post.secrets["CANARY-1"] = "TOKEN"
        post.tell(letter())
        await post.until(lambda: len(post.done()) == 1)
        assert other.seen[0].why == "a could not be told: no such user <redacted:TOKEN>"


# Once more


@pytest.mark.parametrize("state", [DeliveryState.DEAD, DeliveryState.ACKNOWLEDGED])
async def test_what_is_dead_or_acknowledged_is_sent_once_more_under_its_id(
    running: Running, letter: Letter, state: DeliveryState
) -> None:
    hop = Hop(DeliveryFailed("busy"))
    async with running({"a": hop}) as post:
        done = letter(state=state, attempts=9, note="no", done_at=5.0, batch="bat_1", sealed_at=4.0)
        post.store[done.id] = done
        again = await post.outbox.replay(done.id)
        assert (again.id, again.state, again.attempts, again.batch) == (done.id, DeliveryState.PENDING, 0, "")
        await post.until(lambda: post.store[done.id].attempts == 1)
        post.move(3)
        await post.until(lambda: post.store[done.id].state is DeliveryState.ACKNOWLEDGED)
        assert [one.id for one in hop.seen] == [done.id] * 2
        assert post.store[done.id].attempts == 2


async def test_what_cannot_be_sent_once_more_is_refused_with_the_reason(running: Running, letter: Letter) -> None:
    async with running({"a": Hop(*[DeliveryFailed("busy")] * 9)}) as post:
        post.tell(letter())
        await post.until_settled(1)
        suppressed = replace(letter("inc_2", state=DeliveryState.SUPPRESSED), address=Address("", ""))
        gone = letter("inc_3", channel="gone", state=DeliveryState.DEAD)
        post.store |= {one.id: one for one in (suppressed, gone)}
        for identity, why in (
            (letter().id, "is on its way"),
            ("dlv_unheard_of", "no delivery"),
            (suppressed.id, "no delivery"),
            (gone.id, "channel gone is not configured"),
        ):
            with pytest.raises(LookupError, match=why):
                await post.outbox.replay(identity)

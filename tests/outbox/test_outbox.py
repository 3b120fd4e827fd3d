from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import structlog

from heartbeat.channels import DeliveryFailed, Rendered
from heartbeat.core.batch import Batch
from heartbeat.core.model import Delivery, DeliveryState, Finding, Outcome, Result, Severity
from heartbeat.outbox.flight import redacted

Letter = Callable[..., Delivery]
Running = Callable[..., Any]


async def take(_delivery: Delivery, _message: Rendered) -> str:
    return "taken"


async def hang(_delivery: Delivery, _message: Rendered) -> str:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


class Failing:
    """Fails with these errors, one after the other, then takes everything; keeps what it was given."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.seen: list[tuple[str, bytes]] = []

    async def __call__(self, delivery: Delivery, message: Rendered) -> str:
        self.seen.append((delivery.id, message.body))
        if self.errors:
            raise self.errors.pop(0)
        return "taken"


async def test_what_is_acknowledged_is_settled_counted_and_gone(running: Running, letter: Letter) -> None:
    async with running({"a": take}) as post:
        post.outbox.accept([letter()])
        (settled,) = await post.until_settled(1)
        await post.until_idle()
        assert (settled.state, settled.attempts, settled.note) == (DeliveryState.ACKNOWLEDGED, 1, "taken")
        assert post.outbox.pending() == 0
        assert post.observed == [("a", "acknowledged")]


async def test_a_failed_attempt_is_settled_and_made_again_when_its_time_has_come(
    running: Running, letter: Letter
) -> None:
    hop = Failing(DeliveryFailed("busy"), DeliveryFailed("busy"))
    async with running({"a": hop}) as post:
        post.outbox.accept([letter()])
        (failed,) = list(await post.until_settled(1))
        assert (failed.state, failed.attempts, failed.note) == (DeliveryState.PENDING, 1, "busy")
        assert failed.next_at == pytest.approx(post.wall + 2)
        post.move(1.9)
        await post.until_idle()
        assert len(hop.seen) == 1
        post.move(0.2)
        await post.until_settled(2)
        post.move(5.1)
        assert (await post.until_settled(3))[-1].state is DeliveryState.ACKNOWLEDGED
        assert len(set(hop.seen)) == 1
        await post.until_idle()
        assert [outcome for _, outcome in post.observed] == ["retried", "retried", "acknowledged"]


async def test_a_permanent_failure_is_dead_and_lets_the_next_event_pass(running: Running, letter: Letter) -> None:
    hop = Failing(DeliveryFailed("no such user", permanent=True))
    async with running({"a": hop}) as post:
        post.outbox.accept([letter(sequence=1), letter(sequence=2)])
        first, second = await post.until_settled(2)
        assert (first.state, second.state) == (DeliveryState.DEAD, DeliveryState.ACKNOWLEDGED)
        await post.until_idle()
        assert "given up by a: no such user" in post.outbox.dead_lately(post.wall)
        assert not post.outbox.dead_lately(post.wall + 3601)


async def test_what_fails_for_too_long_is_dead(running: Running, letter: Letter) -> None:
    hop = Failing(*[DeliveryFailed("busy")] * 9)
    async with running({"a": hop}, delays=(0.0,), attempts=3) as post:
        post.outbox.accept([letter()])
        assert (await post.until_settled(3))[-1].state is DeliveryState.DEAD
        assert post.outbox.pending() == 0 or len(hop.seen) == 3


async def test_the_wait_a_receiver_asks_for_holds_for_its_other_incidents_too(running: Running, letter: Letter) -> None:
    hop = Failing(DeliveryFailed("429", retry_after=120.0))
    async with running({"a": hop}) as post:
        post.outbox.accept([letter("inc_1")])
        await post.until_settled(1)
        post.outbox.accept([letter("inc_2")])
        post.move(119)
        await post.until_idle()
        assert len(hop.seen) == 1
        post.move(1.1)
        await post.until_settled(3)
        assert len(post.done()) == 2


async def test_after_such_an_answer_the_next_attempt_goes_alone(running: Running, letter: Letter) -> None:
    refusals = Failing(*[DeliveryFailed("535", retry_after=600.0)] * 50)
    async with running({"a": refusals}) as post:
        post.outbox.accept([letter(f"inc_{number}") for number in range(10)])
        await post.until_settled(1)
        await post.until_idle()
        at_first = len(refusals.seen)
        assert at_first <= 4
        for _ in range(6):
            post.move(601)
            await post.until_idle()
        assert len(refusals.seen) == at_first + 6


async def test_a_hanging_channel_delays_no_other_and_no_sibling(running: Running, letter: Letter) -> None:
    async def refuse(_delivery: Delivery, _message: Rendered) -> str:
        raise DeliveryFailed("no")

    async with running({"a": hang, "b": take, "c": refuse}) as post:
        for number in range(20):
            post.outbox.accept([letter(f"inc_{number}", channel=channel) for channel in "abc"])
        await post.until(lambda: len(post.done()) == 20, within=2)
        assert post.outbox.pending("a") == 20
        assert post.outbox.pending("c") == 20


async def test_a_stuck_incident_delays_no_other_incident(running: Running, letter: Letter) -> None:
    async def hop(delivery: Delivery, _message: Rendered) -> str:
        if delivery.event.incident == "inc_stuck":
            raise DeliveryFailed("no")
        return "taken"

    async with running({"a": hop}) as post:
        post.outbox.accept([letter("inc_stuck", 1), letter("inc_stuck", 2), letter("inc_fine", 1)])
        await post.until_settled(2)
        await post.until_idle()
        assert post.done() == ["dlv_inc_fine_1_a_"]
        assert post.outbox.pending("a") == 2


async def test_recipients_are_independent(running: Running, letter: Letter) -> None:
    async def hop(delivery: Delivery, _message: Rendered) -> str:
        if delivery.address.recipient == "gone@x":
            raise DeliveryFailed("550", permanent=True)
        return "taken"

    async with running({"a": hop}) as post:
        post.outbox.accept([letter(recipient="gone@x"), letter(recipient="here@x")])
        await post.until_settled(2)
        assert post.done() == ["dlv_inc_1_1_a_here@x"]
        assert post.done(DeliveryState.DEAD) == ["dlv_inc_1_1_a_gone@x"]


async def test_a_restart_goes_on_with_the_back_off(running: Running, letter: Letter) -> None:
    hop = Failing(DeliveryFailed("still down"))
    left = letter(attempts=3, next_at=1_795_269_731.0 + 15)
    async with running({"a": hop}, (left,)) as post:
        post.move(14)
        await post.until_idle()
        assert not hop.seen
        post.move(1.1)
        (failed,) = await post.until_settled(1)
        assert failed.attempts == 4
        assert failed.next_at == pytest.approx(post.wall + 30)


async def test_a_step_of_the_wall_clock_strands_nothing(running: Running, letter: Letter) -> None:
    ten_years_ahead = letter(attempts=1, next_at=1_795_269_731.0 + 315_360_000)
    async with running({"a": take}, (ten_years_ahead,)) as post:
        post.wall -= 7200
        post.move(3601)
        await post.until_settled(1)


async def test_what_was_left_behind_goes_out_before_the_news(running: Running, letter: Letter) -> None:
    hop = Failing()
    async with running({"a": hop}) as post:
        post.outbox.accept([letter(sequence=2), letter(sequence=1)])
        await post.until_settled(2)
        assert post.done() == ["dlv_inc_1_1_a_", "dlv_inc_1_2_a_"]


async def test_where_the_store_fails_an_acknowledged_message_is_not_sent_again_and_is_settled_later(
    running: Running, letter: Letter
) -> None:
    hop = Failing()
    async with running({"a": hop}) as post:
        post.store_works = False
        post.outbox._settlement._again = 0.01
        post.outbox.accept([letter()])
        await post.until_idle()
        post.outbox.accept([letter()])  # as the line does when it hands over again
        await post.until_idle()
        assert not post.settled
        assert post.outbox.pending() == 0
        post.store_works = True
        await post.outbox._settlement._settle_all()
        assert post.done() == ["dlv_inc_1_1_a_"]
        assert len(hop.seen) == 1


async def test_a_message_that_the_store_does_not_have_says_so(running: Running, letter: Letter) -> None:
    hop = Failing()
    async with running({"a": hop}) as post:
        post.store_works = False
        post.outbox.accept([letter()], volatile=True)
        await post.until_idle()
        assert hop.seen == [("dlv_inc_1_1_a_", b"it broke not recorded")]
        post.store_works = True
        await post.outbox._settlement._settle_all()
        (settled,) = post.settled
        assert "recorded" not in settled.event.context


async def test_only_so_many_messages_wait_in_memory(running: Running, letter: Letter) -> None:
    async with running({"a": hang}) as post:
        post.outbox.accept([letter(f"inc_{number}") for number in range(1005)], volatile=True)
        assert post.outbox.pending() == 1000
        assert post.observed == [("a", "dead")] * 5
        post.outbox.accept([letter("inc_durable")])
        assert post.outbox.pending() == 1001


async def test_a_receiver_that_is_down_for_an_hour_gets_every_incident_afterwards_in_order(
    running: Running, letter: Letter
) -> None:
    down = [True]
    seen: list[str] = []

    async def hop(delivery: Delivery, _message: Rendered) -> str:
        if down[0]:
            raise DeliveryFailed("connection refused")
        seen.append(delivery.id)
        return "taken"

    async with running({"a": hop}) as post:
        for minute in range(60):
            post.tell(letter(f"inc_{minute:02}", 1), *([letter(f"inc_{minute - 3:02}", 2)] if minute > 2 else []))
            post.move(60)
            await post.until_idle()
        assert post.outbox.pending() == 117
        down[0] = False
        post.move(721)
        await post.until(lambda: len(post.done()) == 117)
        assert len(seen) == len(set(seen)) == 117
        order = [identity.split("_")[2:4] for identity in seen]
        for minute in range(57):
            assert order.index([f"{minute:02}", "1"]) < order.index([f"{minute:02}", "2"])


async def test_what_is_known_or_suppressed_is_not_taken_twice(running: Running, letter: Letter) -> None:
    async with running({"a": hang}) as post:
        post.outbox.accept([letter(), letter()])
        post.outbox.accept([letter(), letter("inc_2", state=DeliveryState.SUPPRESSED)])
        assert post.outbox.pending() == 1


async def test_a_channel_that_breaks_is_tried_again_and_only_its_error_is_named(
    running: Running, letter: Letter
) -> None:
    hop = Failing(KeyError("CANARY"))
    async with running({"a": hop}) as post:
        post.outbox.accept([letter()])
        (failed,) = await post.until_settled(1)
        assert failed.state is DeliveryState.LEASED, "its receiver may have it"
        assert failed.note == "the channel failed: KeyError"


async def test_a_message_that_cannot_be_made_is_tried_again(
    running: Running, letter: Letter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running({"a": take}) as post:

        def broken(_self: object, _batch: Batch, _at: float) -> Rendered:
            raise ValueError("CANARY")

        monkeypatch.setattr(type(post.outbox._channels["a"]), "render", broken)
        post.outbox.accept([letter()])
        (failed,) = list(await post.until_settled(1))
        assert failed.note == "the message cannot be made: ValueError"
        monkeypatch.undo()
        post.move(3)
        await post.until_settled(2)


async def test_an_attempt_ends_although_its_channel_ignores_that(
    running: Running, letter: Letter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heartbeat.channels.attempt.FAREWELL", 0.01)
    release = asyncio.Event()

    async def stubborn(_delivery: Delivery, _message: Rendered) -> str:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return "too late"

    async with running({"a": stubborn}) as post:
        channel = post.outbox._channels["a"]
        impatient = channel.model_copy(update={"timeout": -4.99})
        post.outbox.reload({"a": impatient})
        post.outbox.accept([letter()])
        (failed,) = await post.until_settled(1)
        assert "did not end" in failed.note
        assert failed.state is DeliveryState.LEASED, "its receiver may have it"
        release.set()


async def test_what_waits_for_a_channel_that_is_gone_goes_out_when_it_is_back(running: Running, letter: Letter) -> None:
    async with running({}, (letter(channel="a"),)) as post:
        await post.until_idle()
        assert post.outbox.pending("a") == 1
        post.outbox.reload({"b": post.channel(take)})
        await post.until_idle()
        assert post.outbox.pending("a") == 1
        post.outbox.reload({"a": post.channel(take)})
        await post.until_settled(1)
        assert post.done() == ["dlv_inc_1_1_a_"]


async def test_a_changed_channel_is_tried_at_once(running: Running, letter: Letter) -> None:
    hop = Failing(DeliveryFailed("535 wrong password", retry_after=600.0))
    async with running({"a": hop}) as post:
        post.outbox.accept([letter()])
        await post.until_settled(1)
        channel = post.outbox._channels["a"]
        post.outbox.reload({"a": channel.model_copy(update={"name": "other"})})
        await post.until_settled(2)
        assert post.done() == ["dlv_inc_1_1_a_"]


async def test_an_unchanged_channel_keeps_its_wait_over_a_reload(running: Running, letter: Letter) -> None:
    hop = Failing(DeliveryFailed("429", retry_after=600.0))
    async with running({"a": hop}) as post:
        post.outbox.accept([letter()])
        await post.until_settled(1)
        post.outbox.reload({"a": post.outbox._channels["a"].model_copy()})
        await post.until_idle()
        assert len(hop.seen) == 1


async def test_a_drain_lets_what_flies_end_and_begins_nothing(letter: Letter, running: Running) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_delivery: Delivery, _message: Rendered) -> str:
        began.set()
        await go_on.wait()
        return "taken"

    async with running({"a": slow}) as post:
        post.outbox.accept([letter(sequence=1), letter(sequence=2)])
        await began.wait()
        asyncio.get_running_loop().call_later(0.01, go_on.set)
        await post.outbox.drain(5)
        assert post.done() == ["dlv_inc_1_1_a_"]
        assert post.outbox.pending() == 1


async def test_a_drain_ends_in_time_and_what_hangs_stays_pending(letter: Letter, running: Running) -> None:
    async with running({"a": hang}) as post:
        post.outbox.accept([letter()])
        await post.until_idle()
        async with asyncio.timeout(3):
            await post.outbox.drain(0.01)
        assert post.outbox.pending() == 1
        assert not post.settled


async def test_no_secret_is_in_a_note_a_message_or_the_log(running: Running, letter: Letter) -> None:
    hop = Failing(DeliveryFailed("the server says CANARY-1"))
    result = Result(Outcome.FAIL, 1.0, evidence={"body": "CANARY-1"}, observed="CANARY-1")
    with structlog.testing.capture_logs() as logs:
        async with running({"a": hop}) as post:
            post.secrets["CANARY-1"] = "TOKEN"
            post.outbox.accept([letter(sentence="it said CANARY-1", result=result)])
            (failed,) = await post.until_settled(1)
            await post.until_idle()
            assert failed.note == "the server says <redacted:TOKEN>"
            assert hop.seen[0][1] == b"it said <redacted:TOKEN>"
    assert len([entry for entry in logs if entry["event"] == "delivery"]) == 1
    assert "CANARY" not in str(logs)


def test_no_secret_is_in_any_text_of_an_event_that_came_from_outside(letter: Letter) -> None:
    found = (Finding("body", Severity.FAIL, "no CANARY", "CANARY"),)
    result = Result(Outcome.FAIL, 1.0, evidence={"body": "CANARY"}, observed="CANARY", expected="CANARY")
    event = letter(sentence="it said CANARY", result=result).event
    said = redacted(
        replace(event, why="silenced by CANARY", findings=found), lambda text: text.replace("CANARY", "***")
    )
    assert (said.sentence, said.why, said.findings[0].observed) == ("it said ***", "silenced by ***", "***")
    assert said.result is not None
    assert (said.result.observed, said.result.expected, said.result.evidence) == ("***", "***", {"body": "***"})


async def test_backlogs_tell_what_waits_and_for_how_long(running: Running, letter: Letter) -> None:
    async with running({"a": hang, "b": take}) as post:
        post.outbox.accept([letter(at=post.wall - 60), letter("inc_2"), letter(channel="b")])
        await post.until_settled(1)
        await post.until_idle()
        found = {backlog.channel: backlog for backlog in post.outbox.backlogs(post.wall)}
        assert (found["a"].receiver, found["a"].pending, found["a"].oldest_seconds) == ("team", 2, 60.0)
        assert (found["b"].pending, found["b"].oldest_seconds) == (0, 0.0)
        assert post.outbox.oldest(post.wall) == 60.0

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from heartbeat.channels import Channel, DeliveryFailed, Rendered
from heartbeat.config.model import Config, Receiver
from heartbeat.core.batch import Batch, single
from heartbeat.core.message import compose
from heartbeat.core.model import Address, DeliveryState, Event, Kind
from heartbeat.core.payload import payload
from heartbeat.core.policy import Routes
from heartbeat.redaction import Redactor
from heartbeat.testing.bench import ONCALL, Bench, Kept, a_check, bench
from heartbeat.tryout import Answers, data_of, try_out

GONE = Address("gone", "gone/kept")


class Refusing(Kept):
    """A last hop that refuses for good."""

    async def send(self, batch: Batch, message: Rendered) -> str:
        raise DeliveryFailed("no such user", permanent=True)


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as on:
        ways = {"oncall": (ONCALL,), "gone": (GONE,)}
        on.line.ways_out = lambda names: tuple(way for name in names for way in ways.get(name, ()))
        yield on


def config_of(on: Bench) -> Config:
    channels: dict[str, Channel] = {ONCALL.channel: Kept(inbox=on.inbox)}
    checks = {
        "shop": a_check(labels={"team": "shop"}, runbook="https://wiki.example.com/shop"),
        "depot": a_check("depot", notify=Routes(("lead",))),
    }
    receivers = {"oncall": Receiver("oncall", channels), "gone": Receiver("gone", {GONE.channel: Refusing(inbox=None)})}
    return Config((), Path("x.db"), Path("x.sock"), checks, receivers, Redactor())


def event_of(answers: Answers) -> Event:
    return answers.deliveries[0].event


async def test_a_test_alert_goes_through_the_outbox_and_its_acknowledgement_is_awaited(on: Bench) -> None:
    answers = await try_out(on.line, config_of(on), "oncall", "", 10.0)
    assert answers.acknowledged
    assert on.inbox.kinds == [Kind.DRILL]
    (delivery,) = answers.deliveries
    assert (delivery.state, delivery.note, delivery.address) == (DeliveryState.ACKNOWLEDGED, "kept", ONCALL)
    assert [one.id for one in await on.store.deliveries(answers.event.incident)] == [delivery.id]
    assert answers.remark == ""
    json.dumps(data_of(answers))


async def test_people_and_machines_see_that_it_is_a_test(on: Bench) -> None:
    event = event_of(await try_out(on.line, config_of(on), "oncall", "", 10.0))
    (delivery,) = on.inbox.deliveries
    message = compose(single(delivery), event.at)
    assert message.subject.startswith("heartbeat: TEST heartbeat.test.oncall (incident ")
    assert message.headline == (
        "TEST: heartbeat.test.oncall: this is a TEST of the way to oncall; nothing is wrong, and there is nothing to do"
    )
    assert message.state == "TEST"
    assert not message.urgent
    assert "somebody asked for a TEST" in message.why
    data = payload(delivery.event)["data"]
    assert (data["test"], data["kind"], data["severity"]) == (True, "drill", "ok")
    assert "TEST" in data["sentence"]


async def test_a_drill_and_an_alert_are_not_marked_as_tests(on: Bench) -> None:
    event = event_of(await try_out(on.line, config_of(on), "oncall", "", 10.0))
    drill = replace(event, context={})
    assert "test" not in payload(drill)["data"]
    raised = replace(event, kind=Kind.RAISED)
    (delivery,) = on.inbox.deliveries
    assert "test" not in payload(raised)["data"]
    assert "TEST" not in compose(single(replace(delivery, event=raised)), event.at).subject


async def test_it_can_look_like_an_alert_of_a_check_and_opens_nothing_there(on: Bench) -> None:
    live = on.enlist(config_of(on).checks["shop"])
    answers = await try_out(on.line, config_of(on), "oncall", "shop", 10.0)
    event = event_of(answers)
    assert event.check == "shop"
    assert event.context["labels"] == {"team": "shop"}
    assert event.context["runbook"] == "https://wiki.example.com/shop"
    assert live.status.incident is None
    assert (await on.store.load()).statuses == {}
    assert answers.remark == ""


async def test_that_a_check_does_not_tell_this_receiver_is_remarked(on: Bench) -> None:
    answers = await try_out(on.line, config_of(on), "oncall", "depot", 10.0)
    assert answers.acknowledged
    assert answers.remark == "alerts of depot do not go to oncall: they go to lead"


async def test_what_is_refused_is_told_and_is_no_acknowledgement(on: Bench) -> None:
    on.outbox.reload({ONCALL.channel: Kept(inbox=on.inbox), GONE.channel: Refusing(inbox=on.inbox)}, (ONCALL,))
    answers = await try_out(on.line, config_of(on), "gone", "", 10.0)
    assert not answers.acknowledged
    (own,) = answers.own
    assert (own.state, own.note) == (DeliveryState.DEAD, "no such user")
    assert len(answers.deliveries) == 2, "the fallback is told, and that does not count"


async def test_who_does_not_answer_in_time_has_not_acknowledged(on: Bench) -> None:
    class Hanging(Kept):
        async def send(self, batch: Batch, message: Rendered) -> str:
            await asyncio.Event().wait()
            return ""

    on.outbox.reload({ONCALL.channel: Hanging(inbox=on.inbox)})
    answers = await try_out(on.line, config_of(on), "oncall", "", 0.5)
    assert not answers.acknowledged
    assert answers.deliveries[0].state is DeliveryState.LEASED


async def test_a_daemon_that_stops_keeps_nobody_waiting(on: Bench) -> None:
    on.line.closing.set()
    answers = await asyncio.wait_for(try_out(on.line, config_of(on), "oncall", "", 100.0), 5)
    assert answers.deliveries


@pytest.mark.parametrize(("receiver", "check", "what"), [("oncal", "", "oncall"), ("oncall", "shpo", "shop")])
async def test_names_that_are_not_there_are_refused_with_the_nearest(
    on: Bench, receiver: str, check: str, what: str
) -> None:
    with pytest.raises(LookupError, match=f'did you mean "{what}"'):
        await try_out(on.line, config_of(on), receiver, check, 1.0)
    assert on.inbox.texts == []


async def test_two_tests_are_two_incidents(on: Bench) -> None:
    first = await try_out(on.line, config_of(on), "oncall", "", 10.0)
    on.time.pass_by(1)
    second = await try_out(on.line, config_of(on), "oncall", "", 10.0)
    assert first.event.incident != second.event.incident


async def test_while_the_store_fails_the_message_goes_out_all_the_same(on: Bench) -> None:
    with on.locked_store():
        answers = await try_out(on.line, config_of(on), "oncall", "", 1.0)
        assert on.inbox.texts == ["drill heartbeat.test.oncall not recorded"]
    assert not answers.acknowledged, "nothing is known of it"

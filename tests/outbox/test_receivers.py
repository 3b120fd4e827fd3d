"""The outbox with real receivers on loopback: what the wire sees."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook as Verifier

from heartbeat.channels.email import Email
from heartbeat.channels.webhook import Webhook
from heartbeat.core.model import Address, Delivery, DeliveryState
from heartbeat.http import engine
from heartbeat.outbox import Outbox, Pace
from heartbeat.testing.smtp import DROP, mail_server
from heartbeat.testing.webhook import Answer, Misbehaviour, webhook_receiver

Letter = Callable[..., Delivery]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(autouse=True)
async def _closed_engine() -> AsyncIterator[None]:
    yield
    engine().close()


def impatient(channels: dict[str, Any], settled: list[Delivery]) -> Outbox:
    attempts: dict[str, int] = {}

    async def settle(*deliveries: Delivery) -> None:
        for delivery in deliveries:
            if delivery.attempts > attempts.get(delivery.id, 0):  # and no seal
                attempts[delivery.id] = delivery.attempts
                settled.append(delivery)

    return Outbox(
        settle=settle,
        channels=channels,
        clock=lambda: 1_795_269_731.0,
        redact=lambda text: text,
        observe=lambda *_: None,
        pace=Pace(delays=(0.0,)),
    )


def email_to(port: int, *recipients: str) -> Email:
    options = {"to": recipients, "from": "hb@x.test", "server": f"smtp://127.0.0.1:{port}", "tls": "none"}
    return Email.model_validate(options)


async def test_a_mail_gets_through_greylisting_and_lost_answers_with_one_id(letter: Letter) -> None:
    settled: list[Delivery] = []
    async with mail_server() as inbox:
        inbox.script("CONNECT", "421 4.3.2 closing")
        inbox.script("RCPT", "450 4.2.0 greylisted")
        inbox.script("DATA", DROP)
        outbox = impatient({"a": email_to(inbox.port, "oncall@x.test")}, settled)
        await outbox.start([letter(recipient="oncall@x.test")])
        first, second = await inbox.wait(2)
        await outbox.drain(5)
    assert first.content == second.content
    pending, leased = DeliveryState.PENDING, DeliveryState.LEASED
    assert [delivery.state for delivery in settled[:3]] == [pending, pending, leased]
    assert settled[-1].state is DeliveryState.ACKNOWLEDGED


async def test_one_refused_recipient_of_three_is_dead_and_the_others_get_one_mail(letter: Letter) -> None:
    settled: list[Delivery] = []
    names = ("a@x.test", "b@x.test", "c@x.test")
    async with mail_server() as inbox:
        inbox.script("RCPT", "550 5.1.1 no such user")
        outbox = impatient({"a": email_to(inbox.port, *names)}, settled)
        await outbox.start([letter(recipient=name) for name in names])
        await inbox.wait(2)
        await outbox.drain(5)
    states = sorted(delivery.state for delivery in settled)
    assert states == [DeliveryState.ACKNOWLEDGED, DeliveryState.ACKNOWLEDGED, DeliveryState.DEAD]
    assert len({mail.recipient for mail in inbox.mails}) == 2


async def test_a_webhook_gets_through_trouble_with_one_id_and_a_valid_signature_each_time(letter: Letter) -> None:
    settled: list[Delivery] = []
    async with webhook_receiver() as receiver:
        receiver.script(Answer(500), Misbehaviour.RESET, Answer(503), Answer(429), Answer(500))
        outbox = impatient({"a": Webhook.model_validate({"url": receiver.url, "secret": SECRET})}, settled)
        await outbox.start([letter()])
        requests = await receiver.wait(6)
        await outbox.drain(5)
    assert len({request.headers["webhook-id"] for request in requests}) == 1
    for request in requests:
        Verifier(SECRET).verify(request.body, request.headers)
    assert settled[-1].state is DeliveryState.ACKNOWLEDGED
    assert all("CANARY" not in delivery.note for delivery in settled)


async def test_a_hanging_webhook_delays_no_mail(letter: Letter) -> None:
    settled: list[Delivery] = []
    async with mail_server() as inbox, webhook_receiver() as receiver:
        receiver.script(*[Misbehaviour.HANG] * 9)
        hook = Webhook.model_validate({"url": receiver.url})
        outbox = impatient({"hook": hook, "mail": email_to(inbox.port, "a@x.test")}, settled)
        await outbox.start()
        for number in range(5):
            one = letter(f"inc_{number}")
            outbox.accept([replace(one, id=f"{one.id}h", address=Address("t", "hook"))])
            outbox.accept([replace(one, address=Address("t", "mail", "a@x.test"))])
        await inbox.wait(5, within=2)
        await outbox.drain(0.05)
    assert outbox.pending("hook") == 5

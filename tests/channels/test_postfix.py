"""The mails of the channel ``email``, as a real mail server takes, refuses and puts them off."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import trustme

from heartbeat.channels import DeliveryFailed
from heartbeat.channels.email import Email
from heartbeat.core.batch import single
from heartbeat.core.model import Delivery, Kind, Severity
from heartbeat.testing.postfix import Postfix, postfix

pytestmark = [
    pytest.mark.system("postfix"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start Postfix"),
]
Deliver = Callable[..., Delivery]


@pytest.fixture(scope="module")
def running(authority: trustme.CA) -> Iterator[Postfix]:
    with postfix(authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.bytes()) as server:
        yield server


@pytest.fixture
def server(running: Postfix) -> Postfix:
    running.empty()
    return running


@pytest.fixture
def mailer(server: Postfix, ca_file: Path) -> Email:
    options: dict[str, Any] = {
        "to": ["oncall@example.com"],
        "from": "heartbeat@example.org",
        "server": f"smtp://{server.host}:{server.port}",
        "tls": "starttls",
        "ca_file": str(ca_file),
    }
    return Email.model_validate(options)


async def send(mailer: Email, *deliveries: Delivery) -> list[str | DeliveryFailed]:
    """Send one after the other over one connection; return the answers."""
    answers: list[str | DeliveryFailed] = []
    try:
        for delivery in deliveries:
            batch = single(delivery)
            try:
                answers.append(await mailer.send(batch, mailer.render(batch, delivery.event.at)))
            except DeliveryFailed as failed:
                answers.append(failed)
    finally:
        await mailer.aclose()
    return answers


def body_of(message: Message, subtype: str) -> str:
    part = next(part for part in message.walk() if part.get_content_subtype() == subtype)
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode()


async def test_a_mail_arrives_as_it_was_written(mailer: Email, server: Postfix, deliver: Deliver) -> None:
    (answer,) = await send(mailer, deliver())
    assert "queued as" in str(answer)
    (mail,) = server.mails(1)
    assert mail["Subject"] == "heartbeat: shop-login (incident fedcba98)"
    assert mail["Message-ID"].startswith("<evt_0123456789abcdef0123456789abcd.")
    assert mail["References"] == "<incident-inc_fedcba9876543210fedcba98765432@example.org>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Delivered-To"] == "oncall@example.com"
    assert body_of(mail, "plain").startswith("FAILING: shop-login: the answer was 500\n")
    assert "&lt;b&gt;oops&lt;/b&gt;" in body_of(mail, "html")
    assert "with ESMTPS" in mail["Received"]


async def test_the_mails_of_an_incident_go_over_one_connection_into_one_thread(
    mailer: Email, server: Postfix, deliver: Deliver
) -> None:
    over = {"kind": Kind.RESOLVED, "was": Severity.FAIL, "severity": Severity.OK}
    told = [deliver(), deliver(id="evt_2", sequence=2, kind=Kind.REMINDER), deliver(id="evt_3", sequence=3, **over)]
    connections = server.log().count(": connect from")
    await send(mailer, *told)
    mails = server.mails(3)
    assert server.log().count(": connect from") == connections + 1
    assert len({mail["Message-ID"] for mail in mails}) == 3
    assert len({(mail["Subject"], mail["References"], mail["Thread-Index"]) for mail in mails}) == 1


async def test_a_mail_that_is_greylisted_gets_through_later_as_it_was(
    mailer: Email, server: Postfix, deliver: Deliver
) -> None:
    server.answer("oncall@example.com", "450 4.2.0 greylisted")
    (refusal,) = await send(mailer, deliver())
    assert isinstance(refusal, DeliveryFailed)
    assert "greylisted" in refusal.sentence
    assert not refusal.permanent
    assert not refusal.ambiguous
    server.answer("oncall@example.com", None)
    (answer,) = await send(mailer, deliver())
    assert "queued as" in str(answer)
    assert len(server.mails(1)) == 1


async def test_one_refused_recipient_costs_the_other_nothing(mailer: Email, server: Postfix, deliver: Deliver) -> None:
    server.answer("gone@example.com", "550 5.1.1 no such user")
    connections = server.log().count(": connect from")
    refusal, answer = await send(mailer, deliver("gone@example.com"), deliver("there@example.com"))
    assert isinstance(refusal, DeliveryFailed)
    assert "no such user" in refusal.sentence
    assert refusal.permanent
    assert "queued as" in str(answer)
    (mail,) = server.mails(1)
    assert mail["Delivered-To"] == "there@example.com"
    assert server.log().count(": connect from") == connections + 1


async def test_a_mail_that_is_too_large_arrives_in_short(mailer: Email, server: Postfix, deliver: Deliver) -> None:
    delivery = deliver()
    assert delivery.event.result is not None
    long = replace(delivery.event.result, evidence={"body": "x" * 3000})
    server.configure("message_size_limit=3000")
    try:
        (answer,) = await send(mailer, deliver(result=long))
    finally:
        server.configure("message_size_limit=1000000")
    assert "queued as" in str(answer)
    (mail,) = server.mails(1)
    assert mail["Message-ID"].startswith("<evt_0123456789abcdef0123456789abcd.")
    assert body_of(mail, "plain").startswith("raised: shop-login: the answer was 500\n")


async def test_a_server_whose_certificate_is_not_trusted_gets_nothing(
    mailer: Email, server: Postfix, deliver: Deliver
) -> None:
    (refusal,) = await send(mailer.model_copy(update={"ca_file": ""}), deliver())
    assert isinstance(refusal, DeliveryFailed)
    assert "not trusted" in refusal.sentence
    assert server.mails(0) == []

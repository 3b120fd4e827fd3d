from __future__ import annotations

import email
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from pydantic import ValidationError

from heartbeat.channels import DeliveryFailed
from heartbeat.channels.email import Email
from heartbeat.core.batch import single
from heartbeat.core.model import Delivery
from heartbeat.testing.smtp import DROP, HANG, Inbox, mail_server

Deliver = Callable[..., Delivery]
PASSWORD = "CANARY-correct-horse"


def channel(inbox: Inbox, **options: Any) -> Email:
    host = "localhost" if options.get("tls", "none") != "none" else "127.0.0.1"
    defaults = {
        "to": ["oncall@example.com"],
        "from": "heartbeat@example.com",
        "server": f"smtp://{host}:{inbox.port}",
        "tls": "none",
        "timeout": "5s",
    }
    return Email.model_validate(defaults | options)


async def send(mailer: Email, delivery: Delivery) -> str:
    try:
        return await mailer.send(single(delivery), mailer.render(single(delivery), 0.0))
    finally:
        await mailer.aclose()


async def failing(mailer: Email, delivery: Delivery) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        await send(mailer, delivery)
    return caught.value


def body_of(message: email.message.Message, subtype: str) -> str:
    part = next(part for part in message.walk() if part.get_content_subtype() == subtype)
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode()


async def test_a_mail_arrives_and_the_answer_of_the_server_is_returned(deliver: Deliver) -> None:
    async with mail_server() as inbox:
        answer = await send(channel(inbox), deliver())
    assert "queued as 1" in answer
    assert [mail.recipient for mail in inbox.mails] == ["oncall@example.com"]
    text = body_of(inbox.mails[0].parsed, "plain")
    assert text.startswith("FAILING: shop-login: the answer was 500")


async def test_starttls_is_verified_and_the_password_travels_inside(
    deliver: Deliver, server_tls: ssl.SSLContext, ca_file: Path
) -> None:
    async with mail_server(tls=server_tls, user=("hb", PASSWORD)) as inbox:
        mailer = channel(inbox, tls="starttls", ca_file=str(ca_file), username="hb", password=PASSWORD)
        await send(mailer, deliver())
    assert len(inbox.mails) == 1
    assert inbox.logins == ["hb"]
    assert inbox.wire.index(b"STARTTLS") < inbox.wire.index(b"AUTH")


async def test_implicit_tls_is_verified(deliver: Deliver, server_tls: ssl.SSLContext, ca_file: Path) -> None:
    async with mail_server(tls=server_tls, implicit=True) as inbox:
        await send(channel(inbox, tls="implicit", ca_file=str(ca_file)), deliver())
    assert len(inbox.mails) == 1


@pytest.mark.parametrize(("tls", "implicit"), [("starttls", False), ("implicit", True)])
async def test_a_certificate_that_is_not_trusted_is_refused(
    deliver: Deliver, server_tls: ssl.SSLContext, tls: str, implicit: bool
) -> None:
    async with mail_server(tls=server_tls, implicit=implicit) as inbox:
        error = await failing(channel(inbox, tls=tls), deliver())
    assert "not trusted" in error.sentence
    assert not error.permanent
    assert not inbox.mails


async def test_where_starttls_was_stripped_nothing_leaves_in_plain_text(deliver: Deliver) -> None:
    async with mail_server(user=("hb", PASSWORD), auth_in_plain=True) as inbox:
        error = await failing(channel(inbox, tls="starttls", username="hb", password=PASSWORD), deliver())
    assert "does not offer STARTTLS" in error.sentence
    assert not error.permanent
    assert b"AUTH" not in inbox.wire
    assert b"MAIL" not in inbox.wire


@pytest.mark.parametrize(
    ("command", "reply", "permanent", "slow"),
    [
        ("CONNECT", "421 4.3.2 shutting down", False, False),
        ("CONNECT", "554 5.3.2 no service for you", False, True),
        ("MAIL", "451 4.3.0 later", False, False),
        ("MAIL", "550 5.7.1 you must not send", False, True),
        ("RCPT", "450 4.2.0 greylisted", False, False),
        ("RCPT", "452 4.2.2 mailbox full", False, False),
        ("RCPT", "550 5.1.1 no such user", True, False),
        ("RCPT", "553 5.1.3 bad mailbox", True, False),
        ("DATA", "452 4.3.1 disk full", False, False),
    ],
)
async def test_each_reply_means_what_the_table_says(
    deliver: Deliver, command: str, reply: str, permanent: bool, slow: bool
) -> None:
    async with mail_server() as inbox:
        inbox.script(command, reply)
        error = await failing(channel(inbox), deliver())
    assert reply[:3] in error.sentence
    assert error.permanent is permanent
    assert (error.retry_after is not None) is slow
    assert not error.ambiguous
    assert not inbox.mails


async def test_a_wrong_password_is_tried_again_slowly_and_is_not_repeated(
    deliver: Deliver, server_tls: ssl.SSLContext, ca_file: Path
) -> None:
    async with mail_server(tls=server_tls, user=("hb", "right")) as inbox:
        mailer = channel(inbox, tls="starttls", ca_file=str(ca_file), username="hb", password=PASSWORD)
        error = await failing(mailer, deliver())
    assert "535" in error.sentence
    assert not error.permanent
    assert error.retry_after is not None
    assert error.retry_after >= 600
    assert PASSWORD not in error.sentence


@pytest.mark.parametrize("command", ["MAIL", "DATA"])
async def test_an_overlong_mail_is_sent_again_in_short_with_the_same_id(deliver: Deliver, command: str) -> None:
    delivery = deliver()
    async with mail_server() as inbox:
        inbox.script(command, "552 5.3.4 too large")
        mailer = channel(inbox)
        await send(mailer, delivery)
    (mail,) = inbox.mails
    full = email.message_from_bytes(mailer.render(single(delivery), 0.0).body)
    assert mail.parsed["Message-ID"] == full["Message-ID"]
    for header in ("Subject", "References", "Thread-Index"):
        assert mail.parsed[header] == full[header]
    assert "raised: shop-login: the answer was 500" in body_of(mail.parsed, "plain")


async def test_a_mail_refused_in_full_and_in_short_is_dead(deliver: Deliver) -> None:
    async with mail_server() as inbox:
        inbox.script("DATA", "554 5.6.0 no", "554 5.6.0 no")
        assert (await failing(channel(inbox), deliver())).permanent


async def test_a_connection_lost_after_the_final_dot_is_tried_again_with_identical_bytes(deliver: Deliver) -> None:
    delivery = deliver()
    async with mail_server() as inbox:
        inbox.script("DATA", DROP)
        error = await failing(channel(inbox), delivery)
        await send(channel(inbox), delivery)
    assert error.ambiguous
    assert not error.permanent
    first, second = inbox.mails
    assert first.content == second.content


@pytest.mark.parametrize("command", ["CONNECT", "MAIL", "DATA"])
async def test_a_silent_server_is_left_when_the_time_is_up(deliver: Deliver, command: str) -> None:
    async with mail_server() as inbox:
        inbox.script(command, HANG)
        error = await failing(channel(inbox, timeout="200ms"), deliver())
    assert "in time" in error.sentence
    assert error.ambiguous is (command == "DATA")
    assert not error.permanent


async def test_a_server_that_is_not_there_is_tried_again(deliver: Deliver) -> None:
    async with mail_server() as inbox:
        pass
    error = await failing(channel(inbox), deliver())
    assert not error.permanent
    assert error.retry_after is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"to": []}, "at least 1"),
        ({"to": ["Jane <jane@example.com>"]}, "plain mail address"),
        ({"to": ["a@b.test\nBcc: c@d.test"]}, "plain mail address"),
        ({"to": ["a@b.test", "a@b.test"]}, "twice"),
        ({"from": "nobody"}, "plain mail address"),
        ({"server": "mail.example.com"}, "smtp://host"),
        ({"server": "smtp://user:pw@mail.example.com"}, "nothing more"),
        ({"server": "smtp://mail.example.com:mail"}, "smtp://host"),
        ({"server": "smtps://mail.example.com"}, "tls: implicit"),
        ({"username": "hb"}, "belong together"),
        ({"username": "hb", "password": PASSWORD, "tls": "none"}, "plain text"),
        ({"tls": "maybe"}, "starttls"),
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file /nowhere/ca.pem"),
        ({"group_wait": "2h"}, "3600"),
        ({"max_per_hour": 0}, "greater than or equal to 1"),
    ],
)
def test_a_wrong_option_is_refused_and_says_what_to_change(change: dict[str, Any], problem: str) -> None:
    options = {"to": ["a@b.test"], "from": "hb@b.test", "server": "smtp://b.test"}
    with pytest.raises(ValidationError) as caught:
        Email.model_validate(options | change)
    assert problem in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_the_port_follows_from_the_tls_mode() -> None:
    options = {"to": ["a@b.test"], "server": "smtp://b.test"}
    ports = {tls: Email.model_validate(options | {"tls": tls}).port for tls in ("starttls", "implicit", "none")}
    assert ports == {"starttls": 587, "implicit": 465, "none": 25}
    assert Email.model_validate(options).sender == f"heartbeat@{socket.gethostname()}"


def test_the_password_is_not_in_the_text_of_the_channel() -> None:
    options = {"to": ["a@b.test"], "server": "smtp://b.test", "username": "hb", "password": PASSWORD}
    assert PASSWORD not in repr(Email.model_validate(options))


@pytest.mark.parametrize(("tls", "implicit"), [("starttls", False), ("implicit", True)])
def test_it_works_on_uvloop(
    deliver: Deliver, server_tls: ssl.SSLContext, ca_file: Path, tls: str, implicit: bool
) -> None:
    async def story() -> int:
        async with mail_server(tls=server_tls, implicit=implicit, user=("hb", PASSWORD)) as inbox:
            mailer = channel(inbox, tls=tls, ca_file=str(ca_file), username="hb", password=PASSWORD)
            inbox.script("DATA", "450 4.3.0 later")
            await failing(mailer, deliver())
            await send(mailer, deliver())
        return len(inbox.mails)

    assert uvloop.run(story()) == 1

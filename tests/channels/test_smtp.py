"""Conversations with mail servers: what is kept for the next mail, and what an interrupted one means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from heartbeat.channels import DeliveryFailed, smtp
from heartbeat.channels.email import Email
from heartbeat.core.batch import single
from heartbeat.core.model import Delivery
from heartbeat.testing.smtp import DROP, HANG, Inbox, mail_server

Deliver = Callable[..., Delivery]
PASSWORD = "CANARY-correct-horse"


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    async with mail_server() as inbox:
        yield inbox


@pytest.fixture
async def mailer(inbox: Inbox) -> AsyncIterator[Email]:
    mailer = channel(inbox)
    yield mailer
    await mailer.aclose()


def channel(inbox: Inbox, **options: Any) -> Email:
    server = {"server": f"smtp://127.0.0.1:{inbox.port}", "tls": "none"}
    return Email.model_validate({"to": ["a@x.test"], "from": "hb@x.test", "timeout": "5s", **server, **options})


async def send(mailer: Email, delivery: Delivery) -> str:
    batch = single(delivery)
    return await mailer.send(batch, mailer.render(batch, delivery.event.at))


async def test_a_burst_goes_over_one_connection(mailer: Email, inbox: Inbox, deliver: Deliver) -> None:
    await asyncio.gather(*(send(mailer, deliver(f"{name}@x.test")) for name in "abcd"))
    assert len(inbox.mails) == 4
    assert inbox.connections == 1
    await mailer.aclose()
    assert inbox.wire.count(b"QUIT\r\n") == 1


async def test_channels_with_one_login_share_a_connection_and_others_do_not(
    mailer: Email, inbox: Inbox, deliver: Deliver
) -> None:
    other = channel(inbox, local_hostname="elsewhere.test")
    for one in (mailer, channel(inbox, to=["b@x.test"]), other):
        await send(one, deliver())
    await other.aclose()
    assert inbox.connections == 2


async def test_nobody_is_needed_to_close_a_connection_that_is_idle(
    mailer: Email, inbox: Inbox, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "IDLE_SECONDS", 0.05)
    await send(mailer, deliver())
    await inbox.hear(b"QUIT\r\n")
    await send(mailer, deliver())
    assert inbox.connections == 2


async def test_a_connection_is_not_kept_for_ever(
    mailer: Email, inbox: Inbox, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "MAILS_AT_MOST", 2)
    for _ in range(3):
        await send(mailer, deliver())
    assert inbox.connections == 2


@pytest.mark.parametrize("reply", ["421 4.4.2 idle for too long", DROP])
async def test_a_server_that_left_between_two_mails_is_called_again(
    mailer: Email, inbox: Inbox, deliver: Deliver, reply: str
) -> None:
    await send(mailer, deliver())
    inbox.script("MAIL", reply)
    await send(mailer, deliver())
    assert len(inbox.mails) == 2
    assert inbox.connections == 2


async def test_a_server_that_went_away_and_is_back_is_called_again(deliver: Deliver) -> None:
    async with mail_server() as first:
        mailer = channel(first)
        await send(mailer, deliver())
    async with mail_server(port=first.port) as second:
        await send(mailer, deliver())
        await mailer.aclose()
    assert len(second.mails) == 1


async def test_a_server_that_turns_the_first_mail_away_is_not_called_twice(
    mailer: Email, inbox: Inbox, deliver: Deliver
) -> None:
    inbox.script("MAIL", "421 4.3.2 closing")
    with pytest.raises(DeliveryFailed):
        await send(mailer, deliver())
    assert inbox.connections == 1


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
async def test_a_refusal_leaves_the_connection_to_the_next_mail(
    mailer: Email, inbox: Inbox, deliver: Deliver, command: str
) -> None:
    inbox.script(command, "450 4.2.0 later")
    with pytest.raises(DeliveryFailed):
        await send(mailer, deliver())
    await send(mailer, deliver("b@x.test"))
    assert [mail.recipient for mail in inbox.mails] == ["b@x.test"]
    assert inbox.connections == 1


@pytest.mark.parametrize(
    ("command", "reply", "ambiguous"),
    [
        ("MAIL", DROP, False),
        ("RCPT", DROP, False),
        ("RCPT", HANG, False),
        ("DATA", DROP, True),
        ("DATA", HANG, True),
        ("DATA", "999 what", True),
        ("DATA", "what", True),
        ("DATA", "421 4.3.2 closing", False),
        ("DATA", "451 4.3.0 later", False),
    ],
)
async def test_only_a_mail_that_was_handed_over_without_an_answer_is_in_doubt(
    inbox: Inbox, deliver: Deliver, command: str, reply: str, ambiguous: bool
) -> None:
    inbox.script(command, reply)
    mailer = channel(inbox, timeout="300ms")
    with pytest.raises(DeliveryFailed) as caught:
        await send(mailer, deliver())
    await mailer.aclose()
    assert caught.value.ambiguous is ambiguous
    assert not caught.value.permanent


async def test_a_mail_in_doubt_is_never_sent_a_second_time_in_one_attempt(
    mailer: Email, inbox: Inbox, deliver: Deliver
) -> None:
    await send(mailer, deliver())
    inbox.script("DATA", DROP)
    with pytest.raises(DeliveryFailed):
        await send(mailer, deliver("b@x.test"))
    assert [mail.recipient for mail in inbox.mails] == ["oncall@example.com", "b@x.test"]


async def test_a_mail_that_hangs_does_not_hold_up_the_next(
    mailer: Email, inbox: Inbox, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "PATIENCE", 0.05)
    inbox.script("RCPT", HANG)
    hanging = asyncio.create_task(send(mailer, deliver()))
    await inbox.hear(b"RCPT")
    await send(mailer, deliver("b@x.test"))
    assert [mail.recipient for mail in inbox.mails] == ["b@x.test"]
    await inbox.hear(b"QUIT\r\n")
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)


async def test_an_attempt_that_is_cancelled_leaves_nothing_behind(
    mailer: Email, inbox: Inbox, deliver: Deliver
) -> None:
    inbox.script("DATA", HANG)
    sending = asyncio.create_task(send(mailer, deliver()))
    await inbox.hear(b"\r\n.\r\n")
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await send(mailer, deliver("b@x.test"))
    assert inbox.connections == 2


async def test_an_option_that_is_changed_gets_a_connection_of_its_own(inbox: Inbox) -> None:
    login = {"username": "hb", "password": PASSWORD, "server": f"smtp://localhost:{inbox.port}"}
    servers = {channel(inbox, **login)._server(), channel(inbox, **{**login, "password": "other"})._server()}
    assert len(servers) == 2
    assert PASSWORD not in repr(servers)

"""How near each kind of receiver can be come without telling anybody."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from heartbeat.channels import NOT_TRIED, Channel, DeliveryFailed, Departure, Rendered
from heartbeat.channels.alertmanager import Alertmanager
from heartbeat.channels.apprise import Apprise
from heartbeat.channels.command import Command
from heartbeat.channels.email import Email
from heartbeat.channels.registry import KINDS, load_kind
from heartbeat.channels.webhook import Webhook
from heartbeat.core.batch import Batch
from heartbeat.http import engine
from heartbeat.testing.http import refusing_port, serve, silent
from heartbeat.testing.smtp import HANG, Inbox, mail_server
from heartbeat.testing.webhook import Answer, Receiver, webhook_receiver

PASSWORD = "CANARY-correct-horse"


@pytest.fixture(autouse=True)
async def _closed_engine() -> AsyncIterator[None]:
    yield
    engine().close()


def mailer(inbox: Inbox, **options: Any) -> Email:
    host = "localhost" if options.get("tls", "none") != "none" else "127.0.0.1"
    defaults = {
        "to": ["a@example.com", "b@example.com"],
        "from": "hb@example.com",
        "server": f"smtp://{host}:{inbox.port}",
        "tls": "none",
        "timeout": "5s",
    }
    return Email.model_validate(defaults | options)


async def failure_of(channel: Channel) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        await channel.reach()
    assert "CANARY" not in caught.value.sentence
    return caught.value


# Mail


async def test_a_mail_server_is_reached_up_to_its_recipients_and_gets_no_mail(
    server_tls: ssl.SSLContext, ca_file: Path
) -> None:
    async with mail_server(tls=server_tls, user=("hb", PASSWORD)) as inbox:
        steps = await mailer(inbox, tls="starttls", username="hb", password=PASSWORD, ca_file=str(ca_file)).reach()
        await inbox.hear(b"QUIT")
    assert steps == (
        f"connected to localhost port {inbox.port}",
        "TLS (starttls), its certificate is trusted",
        "logged in as hb",
        "the sender hb@example.com is accepted",
        "the recipient a@example.com is accepted",
        "the recipient b@example.com is accepted",
    )
    assert inbox.mails == []
    assert inbox.logins == ["hb"]
    assert b"DATA" not in inbox.wire
    assert inbox.wire.count(b"RSET") == 2


async def test_that_there_is_no_tls_is_said() -> None:
    async with mail_server() as inbox:
        steps = await mailer(inbox).reach()
    assert steps[1] == "no TLS: it is switched off (tls: none)"


async def test_refused_recipients_are_named_and_the_others_are_tried_all_the_same() -> None:
    async with mail_server() as inbox:
        inbox.script("RCPT", "550 no such user")
        failed = await failure_of(mailer(inbox))
    assert failed.sentence == "127.0.0.1 refuses the recipient a@example.com: 550 no such user"
    assert inbox.wire.count(b"RCPT TO") == 2
    assert inbox.wire.count(b"RSET") == 2


async def test_a_refused_sender_a_wrong_password_and_an_untrusted_certificate_are_told_apart(
    server_tls: ssl.SSLContext, ca_file: Path
) -> None:
    async with mail_server(tls=server_tls, user=("hb", PASSWORD)) as inbox:
        wrong = mailer(inbox, tls="starttls", username="hb", password="CANARY-wrong", ca_file=str(ca_file))
        assert (await failure_of(wrong)).sentence.startswith("localhost refuses the user name or password: 535")
        untrusted = mailer(inbox, tls="starttls")
        assert (await failure_of(untrusted)).sentence.startswith("the certificate of localhost is not trusted")
    async with mail_server() as inbox:
        inbox.script("MAIL", "550 not from you")
        assert (await failure_of(mailer(inbox))).sentence == ("127.0.0.1 refuses the sender address: 550 not from you")
        plain = mailer(inbox, tls="starttls", server=f"smtp://127.0.0.1:{inbox.port}")
        assert "does not offer STARTTLS" in (await failure_of(plain)).sentence


async def test_a_mail_server_that_hangs_or_refuses_is_a_failure_in_time() -> None:
    async with mail_server() as inbox:
        inbox.script("MAIL", HANG)
        assert (await failure_of(mailer(inbox, timeout="300ms"))).sentence == "127.0.0.1 did not answer in time"
    with refusing_port() as port:
        inbox.port = port
        assert "Connect call failed" in (await failure_of(mailer(inbox))).sentence


# Over HTTP


def hook(receiver: Receiver, **options: Any) -> Webhook:
    return Webhook.model_validate({"url": receiver.url, "secret": PASSWORD + "-and-more-bytes", **options})


async def test_a_webhook_is_connected_to_with_tls_and_gets_no_request(
    server_tls: ssl.SSLContext, ca_file: Path
) -> None:
    async with webhook_receiver(tls=server_tls) as receiver:
        steps = await hook(receiver, ca_file=str(ca_file)).reach()
        await asyncio.sleep(0.05)  # what came later would be a request
    assert receiver.requests == []
    assert steps[0].startswith("localhost resolves to 127.0.0.1")
    assert steps[1].startswith(f"connected to 127.0.0.1 port {receiver.port} in ")
    assert steps[2].startswith("TLS in ")
    assert steps[2].endswith(", its certificate is trusted")


async def test_no_tls_and_no_verification_are_said(server_tls: ssl.SSLContext) -> None:
    async with webhook_receiver() as receiver:
        assert (await hook(receiver).reach())[-1] == "no TLS: the URL is http"
        await asyncio.sleep(0.05)
    async with webhook_receiver(tls=server_tls) as receiver:
        assert "(verify: false)" in (await hook(receiver, verify=False).reach())[-1]
        await asyncio.sleep(0.05)


async def test_what_fails_on_the_way_to_a_webhook_is_told(server_tls: ssl.SSLContext) -> None:
    async with webhook_receiver(tls=server_tls) as receiver:
        assert "does not verify" in (await failure_of(hook(receiver))).sentence
    with refusing_port() as port:
        refused = Webhook.model_validate({"url": f"http://127.0.0.1:{port}/CANARY"})
        assert (await failure_of(refused)).sentence == f"connection refused by 127.0.0.1:{port}"
    unknown = Webhook.model_validate({"url": "http://nowhere.invalid/CANARY", "timeout": "5s"})
    assert "nowhere.invalid" in (await failure_of(unknown)).sentence
    metadata = Webhook.model_validate({"url": "http://169.254.169.254/CANARY"})
    assert "169.254.169.254" in (await failure_of(metadata)).sentence
    async with serve(silent) as server:
        hanging = Webhook.model_validate({"url": f"https://127.0.0.1:{server.port}/CANARY", "timeout": "200ms"})
        assert "TLS handshake" in (await failure_of(hanging)).sentence


@pytest.mark.parametrize("kind", ["slack", "teams", "discord", "telegram", "ntfy", "pagerduty", "opsgenie"])
async def test_every_service_over_http_is_reached_at_its_own_server(kind: str) -> None:
    options: dict[str, dict[str, Any]] = {
        "slack": {"url": "/services/T0/B0/CANARY7890"},
        "teams": {"url": "/workflows/x?sig=CANARY7890"},
        "discord": {"url": "/api/webhooks/1/CANARY7890"},
        "telegram": {"token": "12345:CANARY7890", "chat_id": 1, "base_url": ""},
        "ntfy": {"url": "/CANARY7890"},
        "pagerduty": {"routing_key": "CANARY7890abcdef0123456789abcdef", "url": "/v2/enqueue"},
        "opsgenie": {"api_key": "CANARY7890", "base_url": ""},
    }
    async with webhook_receiver() as receiver:
        base = f"http://127.0.0.1:{receiver.port}"
        given = {key: f"{base}{value}" if "url" in key else value for key, value in options[kind].items()}
        steps = await load_kind(kind).model_validate(given).reach()
        await asyncio.sleep(0.05)
    assert steps[0].startswith(f"connected to 127.0.0.1 port {receiver.port}")
    assert receiver.requests == []
    assert "CANARY" not in "".join(steps)


# Alertmanager


def alertmanager(*receivers: Receiver) -> Alertmanager:
    urls = [f"http://127.0.0.1:{receiver.port}/am" for receiver in receivers]
    return Alertmanager.model_validate({"urls": urls, "headers": {"Authorization": f"Bearer {PASSWORD}"}})


async def test_an_alertmanager_is_asked_whether_it_is_healthy() -> None:
    async with webhook_receiver() as one, webhook_receiver() as other:
        steps = await alertmanager(one, other).reach()
    assert [step for step in steps if "healthy" in step] == [
        f"127.0.0.1:{receiver.port}/am answers 200 at /-/healthy" for receiver in (one, other)
    ]
    asked: list[tuple[str, str]] = [(request.method, request.path) for request in one.requests if request.path]
    assert asked == [("GET", "/am/-/healthy")]
    assert one.requests[-1].headers["authorization"] == f"Bearer {PASSWORD}"


async def test_each_instance_of_an_alertmanager_that_is_not_reached_is_named() -> None:
    async with webhook_receiver() as refusing, webhook_receiver() as ill, webhook_receiver() as well:
        refusing.script(Answer(403))
        ill.script(Answer(503))
        failed = await failure_of(alertmanager(refusing, ill, well))
    assert failed.sentence == (
        f"127.0.0.1:{refusing.port}/am answers 403 at /-/healthy: check headers; "
        f"127.0.0.1:{ill.port}/am answers 503 at /-/healthy"
    )


async def test_what_has_no_such_page_is_at_least_connected_to() -> None:
    async with webhook_receiver() as receiver:
        receiver.script(Answer(404))
        assert (await alertmanager(receiver).reach())[-1].endswith("answers 404 at /-/healthy")


# The others


async def test_a_program_is_looked_for_and_not_run(tmp_path: Path) -> None:
    program = tmp_path / "tell"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    channel = Command.model_validate({"command": [str(program)]})
    assert await channel.reach() == (f"{program} is there and can be run; it was not",)
    assert not (tmp_path / "ran").exists()
    program.chmod(0o644)
    assert "can be run" in (await failure_of(channel)).sentence


async def test_of_what_apprise_tells_only_the_url_is_looked_at() -> None:
    steps = await Apprise.model_validate({"url": "json://127.0.0.1:9/CANARY"}).reach()
    assert steps == ("apprise understands the url, as that of JSON", NOT_TRIED)


class Bare(Channel):
    """A kind that says nothing of how it can be reached."""

    kind = "bare"

    def render(self, batch: Batch, at: float) -> Rendered:
        return Rendered(b"news")

    async def send(self, batch: Batch, message: Rendered) -> str:
        return "sent"


async def test_a_kind_that_cannot_be_tried_says_so() -> None:
    assert await Bare().reach() == (NOT_TRIED,)


def test_every_kind_says_how_it_is_reached_and_what_would_leave() -> None:
    for kind in KINDS:
        assert load_kind(kind).reach is not Channel.reach, kind
        assert load_kind(kind).departure is not Channel.departure, kind


def test_what_would_leave_does_not_show_itself_in_a_traceback() -> None:
    leaves = Departure("POST https://CANARY", b"CANARY", (("A", "CANARY"),), ("CANARY",))
    assert repr(leaves) == "Departure()"

"""A man in the middle speaks before TLS begins: nothing that he said counts afterwards (CVE-2011-0411 and its kin)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from heartbeat.channels import DeliveryFailed
from heartbeat.channels.email import Email
from heartbeat.core.batch import single
from heartbeat.core.model import Delivery
from heartbeat.testing.http import Server, serve

INJECTED = b"250-mail.test\r\n250 AUTH PLAIN LOGIN\r\n"


async def test_what_was_said_in_plain_text_is_not_believed_after_tls(
    deliver: Callable[..., Delivery], server_tls: ssl.SSLContext, ca_file: Path
) -> None:
    heard: list[bytes] = []

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _server: Server) -> None:
        writer.write(b"220 mail.test ESMTP\r\n")
        assert (await reader.readline()).startswith(b"EHLO")
        writer.write(b"250-mail.test\r\n250 STARTTLS\r\n")
        heard.append(await reader.readline())
        writer.write(b"220 go ahead\r\n" + INJECTED)
        await writer.drain()
        await writer.start_tls(server_tls)
        while line := await reader.readline():
            heard.append(line)
            writer.write(b"250-mail.test\r\n250 HELP\r\n" if line.startswith(b"EHLO") else b"250 fine\r\n")

    async with serve(behave) as server:
        options = {
            "to": ["oncall@example.com"], "from": "hb@example.com", "server": f"smtp://localhost:{server.port}",
            "ca_file": str(ca_file), "username": "hb", "password": "CANARY-correct-horse", "timeout": "5s",
        }  # fmt: skip
        mailer, batch = Email.model_validate(options), single(deliver())
        with pytest.raises(DeliveryFailed) as caught:
            await mailer.send(batch, mailer.render(batch, 0.0))
        await mailer.aclose()
    assert heard[0] == b"STARTTLS\r\n"
    assert not any(line.startswith((b"AUTH", b"MAIL", b"DATA")) for line in heard), heard
    assert not caught.value.permanent

from __future__ import annotations

import aiosmtplib

from heartbeat.demo.arrivals import Arrivals
from heartbeat.demo.mail import Mail, mail_server
from heartbeat.demo.serving import listen, port_of

SOURCE = (
    b'Subject: heartbeat\r\nX-Heartbeat-Kind: raised\r\nX-Heartbeat-Check: shop\r\nMIME-Version: 1.0\r\n'
    b'Content-Type: multipart/alternative; boundary="b"\r\n\r\n'
    b'--b\r\nContent-Type: text/plain\r\n\r\nFAILING: shop =E2=80=94\r\n'
    b'--b\r\nContent-Type: text/html\r\n\r\n<p>a page</p>\r\n--b--\r\n'
)  # fmt: skip


async def test_a_mail_is_kept_as_it_arrived() -> None:
    mails = Arrivals[Mail]()
    sock = listen(0)
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port_of(sock), start_tls=False)
    async with mail_server(mails, sock), client:
        await client.sendmail("heartbeat@example.com", ["oncall@example.com"], SOURCE)
    (mail,) = mails.all
    assert (mail.sender, mail.recipients) == ("heartbeat@example.com", ("oncall@example.com",))
    assert mail.content == SOURCE


def test_it_is_shown_headers_first_in_its_own_words_and_without_its_page() -> None:
    shown = str(Mail("a@example.com", ("b@example.com",), SOURCE))
    assert shown.startswith("Subject: heartbeat\r\n")
    assert "FAILING: shop =E2=80=94" in shown
    assert "<p>" not in shown
    assert "13 characters, not shown" in shown


def test_it_tells_an_event_of_a_check() -> None:
    mail = Mail("a@example.com", ("b@example.com",), SOURCE)
    assert mail.tells("raised", "shop")
    assert not mail.tells("resolved", "shop")
    assert not mail.tells("raised", "other")

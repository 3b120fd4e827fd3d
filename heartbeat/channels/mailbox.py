"""How near a mailbox can be come without telling anybody: a mail to it is begun, and taken back."""

from __future__ import annotations

from aiosmtplib import SMTP, SMTPRecipientRefused

from heartbeat.channels import DeliveryFailed
from heartbeat.channels.reaching import Steps
from heartbeat.channels.smtp import Server, connect, greet, part
from heartbeat.core.text import plain


async def reach_mailbox(server: Server, sender: str, recipients: tuple[str, ...]) -> Steps:
    """Begin a mail to each recipient, and take it back before there is any text.

    Raises ``SMTPException`` and ``OSError``, and ``DeliveryFailed`` for recipients that were refused.
    """
    client = await connect(server)
    try:
        steps = [f"connected to {server.host} port {server.port}", _security(server)]
        if server.username:
            steps.append(f"logged in as {server.username}")
        await greet(client)
        refused = [problem for to in recipients if (problem := await _begin(client, sender, to))]
    except BaseException:
        client.close()
        raise
    await part(client)
    if refused:
        raise DeliveryFailed(f"{server.host} refuses {'; '.join(refused)}", permanent=True)
    return (*steps, f"the sender {sender} is accepted", *(f"the recipient {to} is accepted" for to in recipients))


def _security(server: Server) -> str:
    if server.tls == "none":
        return "no TLS: it is switched off (tls: none)"
    return f"TLS ({server.tls}), its certificate is trusted"


async def _begin(client: SMTP, sender: str, recipient: str) -> str:
    """Name sender and recipient, and take that back; return what was wrong with the recipient, or nothing."""
    await client.mail(sender)
    problem = ""
    try:
        await client.rcpt(recipient)
    except SMTPRecipientRefused as error:
        problem = f"the recipient {recipient}: {plain(f'{error.code} {error.message}', 200)}"
    await client.rset()
    return problem

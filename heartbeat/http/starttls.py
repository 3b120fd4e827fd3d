"""Asking for TLS inside another protocol, before the handshake: SMTP, IMAP, POP3, FTP and PostgreSQL."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Mapping

from heartbeat.check import CheckFailed
from heartbeat.http.text import clean

LINE_BYTES = 8192
LINES = 100
POSTGRES_SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # PostgreSQL 17, 53.7 Message Formats
THREE_DIGITS = rb"\d{3}( |\r?\n)"  # the last line of an answer, RFC 5321 section 4.2.1 and RFC 959 section 4.2

# Per protocol: what to send, what the last line of the answer looks like, and how it begins when all is well.
DIALOGUES: Mapping[str, tuple[tuple[bytes, bytes, bytes], ...]] = {
    "smtp": (  # RFC 3207
        (b"", THREE_DIGITS, b"220"),
        (b"EHLO heartbeat.invalid\r\n", THREE_DIGITS, b"250"),
        (b"STARTTLS\r\n", THREE_DIGITS, b"220"),
    ),
    "imap": ((b"", rb"\* ", b"* OK"), (b"a STARTTLS\r\n", rb"a ", b"a OK")),  # RFC 9051 section 6.2.1
    "pop3": ((b"", rb"[+-]", b"+OK"), (b"STLS\r\n", rb"[+-]", b"+OK")),  # RFC 2595
    "ftp": ((b"", THREE_DIGITS, b"220"), (b"AUTH TLS\r\n", THREE_DIGITS, b"234")),  # RFC 4217
}


async def ask_for_tls(sock: socket.socket, protocol: str, name: str) -> None:
    """Speak a protocol up to the point where the TLS handshake begins.

    Args:
        sock: connected, not blocking.
        protocol: a key of ``DIALOGUES``, or ``postgres``.
        name: what the target is called in sentences.

    Raises:
        CheckFailed: ``tls`` where TLS is refused, ``protocol`` where something else is spoken, or where bytes came
            after the last answer (they would be taken for a part of the secured conversation), ``reset``.
    """
    loop = asyncio.get_running_loop()
    if protocol == "postgres":
        await loop.sock_sendall(sock, POSTGRES_SSL_REQUEST)
        answer = await loop.sock_recv(sock, 1)
        if answer != b"S":
            raise CheckFailed(f"{name} does not offer TLS", reason="tls", expected="S", observed=clean(answer))
        return
    heard = bytearray()
    for words, last, well in DIALOGUES[protocol]:
        await loop.sock_sendall(sock, words)
        line = await _read_answer(sock, heard, last, name)
        if not line.startswith(well):
            asked = f"refuses {clean(words.decode())}" if words else "greets wrongly"
            observed = clean(line.decode("utf-8", "replace"))
            reason = "tls" if words else "protocol"
            raise CheckFailed(f"{name} {asked}: {observed}", reason=reason, expected=well.decode(), observed=observed)
    if heard:
        raise CheckFailed(f"{name} sent more than its answer before TLS began", reason="protocol")


async def _read_answer(sock: socket.socket, heard: bytearray, last: bytes, name: str) -> bytes:
    """Read lines until the last of an answer, and return that one."""
    for _ in range(LINES):
        while (end := heard.find(b"\n")) < 0:
            chunk = await asyncio.get_running_loop().sock_recv(sock, 1024)
            if not chunk:
                raise CheckFailed(f"{name} closed the connection before TLS began", reason="reset")
            heard += chunk
            if len(heard) > LINE_BYTES:
                raise CheckFailed(f"{name} does not speak in lines", reason="protocol")
        line = bytes(heard[: end + 1])
        del heard[: end + 1]
        if re.match(last, line):
            return line
    raise CheckFailed(f"{name} does not come to an end", reason="protocol")

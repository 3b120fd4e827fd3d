"""A real name server on loopback (UDP, TCP and, given a certificate, TLS) for tests; needs dnslib."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

from dnslib import QTYPE, RCODE, RR, DNSRecord


@dataclass(slots=True)
class NameServer:
    """What the server knows, how it misbehaves, and what it was asked.

    Attributes:
        zone: records in master-file form, one a line, with absolute names.
        silent: names whose questions get no answer.
        rcodes: names that get this response code (``SERVFAIL``) and nothing else.
        truncated: names whose answers over UDP are cut off, so that a client has to come back over TCP.
        malformed: names whose answers are noise.
        authoritative: whether answers say so.
        questions: ``(transport, name, type)`` of every question, in order of arrival.
        address: ``127.0.0.1:port`` for UDP and TCP alike.
        tls_address: the same for TLS, empty where it was started without a certificate.
    """

    zone: str = ""
    silent: frozenset[str] = frozenset()
    rcodes: Mapping[str, str] = field(default_factory=dict)
    truncated: frozenset[str] = frozenset()
    malformed: frozenset[str] = frozenset()
    authoritative: bool = True
    questions: list[tuple[str, str, str]] = field(default_factory=list)
    address: str = ""
    tls_address: str = ""
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait_for_questions(self, count: int) -> None:
        """Return once that many questions have arrived since the start."""
        while len(self.questions) < count:
            self._arrived.clear()
            await self._arrived.wait()

    def answer(self, packet: bytes, transport: str) -> bytes | None:
        """Return the answer to one question, or None to stay silent."""
        question = DNSRecord.parse(packet)
        name, kind = str(question.q.qname).rstrip(".").lower(), QTYPE[question.q.qtype]
        self.questions.append((transport, name, kind))
        self._arrived.set()
        if name in self.silent:
            return None
        if name in self.malformed:
            return packet[:2] + b"\xff" * 7
        reply = question.reply(aa=int(self.authoritative))
        if name in self.rcodes:
            reply.header.rcode = getattr(RCODE, self.rcodes[name])
        elif transport == "udp" and name in self.truncated:
            reply.header.tc = 1
        else:
            self._fill(reply, name, kind)
        return bytes(reply.pack())

    def _fill(self, reply: DNSRecord, name: str, kind: str) -> None:
        records = RR.fromZone(self.zone)
        ours = [record for record in records if str(record.rname).rstrip(".").lower() == name]
        if not ours and not reply.rr:
            reply.header.rcode = RCODE.NXDOMAIN
        for record in ours:
            if QTYPE[record.rtype] in {kind, "CNAME"}:
                reply.add_answer(record)
            if QTYPE[record.rtype] == "CNAME" != kind:
                self._fill(reply, str(record.rdata.label).rstrip(".").lower(), kind)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # asyncio's own is no instance of it (3.11)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if (reply := self._server.answer(data, "udp")) is not None:
            self._transport.sendto(reply, addr)


@asynccontextmanager
async def serve_names(server: NameServer, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[NameServer]:
    """Serve until the block ends; ``server.address`` (and ``tls_address``) are filled in."""
    streams = await asyncio.start_server(_stream(server, "tcp"), "127.0.0.1", 0)
    port = streams.sockets[0].getsockname()[1]
    datagrams, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Datagrams(server), local_addr=("127.0.0.1", port)
    )
    secured = await asyncio.start_server(_stream(server, "tls"), "127.0.0.1", 0, ssl=tls) if tls else None
    server.address = f"127.0.0.1:{port}"
    server.tls_address = f"127.0.0.1:{secured.sockets[0].getsockname()[1]}" if secured else ""
    try:
        yield server
    finally:
        datagrams.close()
        streams.close()
        if secured:
            secured.close()
        await asyncio.sleep(0)  # the datagram transport closes its socket in the next turn of the loop


def _stream(
    server: NameServer, transport: str
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(2))
                reply = server.answer(await reader.readexactly(length), transport)
                if reply is not None:
                    writer.write(len(reply).to_bytes(2) + reply)
        except (asyncio.IncompleteReadError, OSError):
            writer.transport.abort()

    return converse

"""A name server to which every name is this machine: ``python -m`` with a port."""

from __future__ import annotations

import asyncio
import sys

import uvloop

_A, _IN = 1, 1


class Names(asyncio.DatagramProtocol):
    """Answers at once: 127.0.0.1 for A, nothing for anything else (RFC 1035, section 4.1)."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self._transport: asyncio.DatagramTransport = transport  # type: ignore[assignment]  # asyncio types it too wide

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one question."""
        self._transport.sendto(answer(data), addr)


def answer(packet: bytes) -> bytes:
    """Return the answer to a packet with one question."""
    end = packet.index(b"\0", 12) + 5
    question = packet[12:end]
    found = int.from_bytes(question[-4:-2]) == _A
    head = packet[:2] + b"\x85\x80" + b"\0\1" + int(found).to_bytes(2) + b"\0\0\0\0"
    record = b"\xc0\x0c" + _A.to_bytes(2) + _IN.to_bytes(2) + (60).to_bytes(4) + b"\0\4\x7f\0\0\1"
    return head + question + (record if found else b"")


async def serve(port: int) -> None:
    """Serve until the process ends."""
    await asyncio.get_running_loop().create_datagram_endpoint(Names, ("127.0.0.1", port))
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))

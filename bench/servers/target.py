"""A target that knows how long each request took, flips on demand, and takes webhooks: ``python -m`` with a port.

``GET /delay/MS/NAME``  answers after so many milliseconds
``GET /flip/NAME``      answers 200 and 500 in turn
``POST /hook``          answers 200
``GET /records``        returns what happened as JSON: the delayed requests, and the webhooks
"""

from __future__ import annotations

import asyncio
import json
import sys
from time import perf_counter, time

import uvloop

BODY = b"x" * 512


class Records:
    """What happened; times are seconds since the epoch, durations seconds."""

    def __init__(self) -> None:
        self.delayed: list[tuple[str, float, float]] = []
        """Name, when the connection was accepted, and how long it took until the last byte was written."""
        self.hooks: list[tuple[float, str]] = []
        """When a webhook had arrived as a whole, and when its event was decided, as it says."""
        self.flipped: dict[str, bool] = {}


class Connection(asyncio.Protocol):
    """One request on a connection of its own."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the watch."""
        self._accepted, self._at = perf_counter(), time()
        self._transport: asyncio.WriteTransport = transport  # type: ignore[assignment]  # asyncio types it too wide

    def data_received(self, data: bytes) -> None:
        """Take the request when it is there as a whole."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if end and len(body) >= _length(head):
            self._take(head.split(b" ", 2)[1].decode("latin-1"), body)

    def _take(self, path: str, body: bytes) -> None:
        kind, _, rest = path[1:].partition("/")
        if kind == "delay":
            delay, _, name = rest.partition("/")
            asyncio.get_running_loop().call_later(float(delay) / 1000, self._answer_late, name)
        elif kind == "flip":
            bad = self._records.flipped[rest] = not self._records.flipped.get(rest, True)
            self._answer(BODY, "500 Bad" if bad else "200 OK")
        elif kind == "hook":
            self._records.hooks.append((time(), json.loads(body)["data"]["at"]))
            self._answer(b"")
        elif kind == "records":
            self._answer(json.dumps({"delayed": self._records.delayed, "hooks": self._records.hooks}).encode())
        else:
            self._answer(BODY)

    def _answer_late(self, name: str) -> None:
        self._answer(BODY)
        self._records.delayed.append((name, self._at, perf_counter() - self._accepted))

    def _answer(self, body: bytes, status: str = "200 OK") -> None:
        self._transport.write(
            f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
        )
        self._transport.close()


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def serve(port: int) -> None:
    """Serve until the process ends."""
    records = Records()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(records), "127.0.0.1", port, backlog=8192
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))

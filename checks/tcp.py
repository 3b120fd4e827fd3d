"""The check type `tcp`: a connection, and if wanted a few words over it."""

from __future__ import annotations

import asyncio
import socket
from typing import Literal

from pydantic import Field, field_validator, model_validator

from heartbeat import Check, CheckFailed, Probe
from heartbeat.http import Expectation, resolve
from heartbeat.http.expectation import Text, require
from heartbeat.http.stream import blame, connect, limit, patience, place

READ_LIMIT = 16 * 1024


class Tcp(Check):
    """Connect to a port; send something and hold what comes back against an expectation, if they are given.

    The connection is made to the first address of the host, in the resolver's order (RFC 6724), and to no other: a
    service that is half up must not look up. ``addresses: all`` tries each and wants all of them to work. Reading
    stops as soon as the expectation holds, at ``read_limit``, or when the target hangs up.
    """

    host: str = Field(description="name or address to connect to", min_length=1, max_length=255)
    port: int = Field(description="port to connect to", ge=1, le=65535)
    family: Literal["any", "ip4", "ip6"] = Field("any", description="which addresses of the host to connect to")
    addresses: Literal["first", "all"] = Field(
        "first", description="first: connect to the first address only; all: to each in turn, and all must work"
    )
    send: str = Field("", description="text to send once connected, as UTF-8", repr=False)
    send_hex: str = Field("", description="bytes to send once connected, as hexadecimal digits", repr=False)
    expect: Expectation | None = Field(
        None, description="what the target should say, before or after what is sent (a bare value: exactly that)"
    )
    read_limit: int = Field(READ_LIMIT, description="bytes of the answer to read at most", ge=1, le=2**18)

    @field_validator("send_hex")
    @classmethod
    def _is_hex(cls, value: str) -> str:
        try:
            bytes.fromhex(value)
        except ValueError:
            raise ValueError("send_hex holds pairs of hexadecimal digits, like 0d0a") from None
        return value

    @model_validator(mode="after")
    def _sends_one(self) -> Tcp:
        if self.send and self.send_hex:
            raise ValueError("only one of send and send_hex can be sent")
        return self

    async def run(self, probe: Probe) -> None:
        """Connect, speak, listen."""
        with probe.phase("resolve"):
            found = await resolve(self.host, family=self.family, timeout=patience(probe.remaining))
        probe.record("addresses", len(found))
        for address in found if self.addresses == "all" else found[:1]:
            await self._visit(probe, address)

    async def _visit(self, probe: Probe, address: str) -> None:
        name = place(self.host, self.port, address)
        probe.note("target", name)
        with probe.phase("connect"):
            sock = await connect(address, self.port, remaining=probe.remaining, name=name)
        with sock:
            await self._converse(probe, sock, name)

    async def _converse(self, probe: Probe, sock: socket.socket, name: str) -> None:
        words = bytes.fromhex(self.send_hex) if self.send_hex else self.send.encode()
        if not words and self.expect is None:
            return
        heard = bytearray()
        probe.note("answer", lambda: repr(bytes(heard[:1000])))
        with probe.phase("answer"), blame(f"{name} broke the connection off"):
            async with limit(probe.remaining, f"{name} did not take what was sent"):
                await asyncio.get_running_loop().sock_sendall(sock, words)
            if self.expect is not None:
                await self._listen(probe, sock, name, heard)
        if self.expect is not None:
            probe.record("answer_bytes", len(heard))
            require(self.expect, _text(heard), f"what {name} said")

    async def _listen(self, probe: Probe, sock: socket.socket, name: str, heard: bytearray) -> None:
        """Read until the expectation holds, the limit is reached, the target hangs up, or time is up."""
        try:
            async with limit(probe.remaining, f"{name} said nothing"):
                while len(heard) < self.read_limit and not self._holds(heard):
                    chunk = await asyncio.get_running_loop().sock_recv(sock, self.read_limit - len(heard))
                    if not chunk:
                        break
                    heard += chunk
        except CheckFailed:
            if not heard:
                raise
        if not heard:
            raise CheckFailed(f"{name} closed the connection without a word", reason="reset")

    def _holds(self, heard: bytearray) -> bool:
        return bool(heard) and self.expect is not None and self.expect.problem(_text(heard)) is None


def _text(heard: bytearray) -> Text:
    """Return what was said as text, without the line end, which nobody writes into an expectation."""
    return Text(heard.decode("utf-8", "replace").rstrip("\r\n"))

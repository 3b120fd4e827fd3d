"""Receivers that misbehave in all the ways that leave a sender in doubt, until they are told to be well."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from heartbeat.testing.soak.journal import Journal, Message, read_mail, read_post

HANGS = 2.5
"""Seconds of silence: more than the senders' timeouts."""
SLOW = 0.3
# How often each happens, out of all of them.
POSTS = {"200": 50, "500": 8, "503": 5, "429": 3, "404": 1, "reset": 8, "hang": 6, "slow": 12, "cut": 7}
MAILS = {"250": 60, "451": 8, "550": 1, "450 recipient": 6, "421": 3, "drop before": 5, "drop after": 8, "hang": 4,
         "slow": 5}  # fmt: skip


@dataclass(slots=True)
class Mood:
    """Decides how to behave next; ``healthy`` ends all misbehaviour."""

    random: Random
    weights: dict[str, int]
    healthy: bool = False

    def next(self) -> str:
        """Return the next behaviour; the first of the list is the good one."""
        if self.healthy:
            return next(iter(self.weights))
        return self.random.choices(list(self.weights), list(self.weights.values()))[0]


@asynccontextmanager
async def web_server(journal: Journal, moods: dict[str, Mood], target: Target) -> AsyncIterator[int]:
    """Serve the webhooks as ``/hook/WAY`` and the targets as ``/target/NUMBER``; yield the port."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            path, headers, body = await _read(reader)
            kind, _, name = path.strip("/").partition("/")
            if kind == "target":
                await _say(writer, "200 OK" if target.is_well(name) else "500 Broken")
            else:
                message = journal.arrive(name, *read_post(headers, body))
                await _answer(journal, message, moods[name].next(), writer)
        writer.transport.abort() if writer.is_closing() else writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Target:
    """What the checks look at: each is well for a while, then broken for a while, as the seed has it."""

    def __init__(self, random: Random, shortest: float = 0.5, longest: float = 4.0) -> None:
        self.healthy = False
        self._random, self._shortest, self._longest = random, shortest, longest
        self._turns: dict[str, tuple[float, bool]] = {}

    def is_well(self, name: str) -> bool:
        """Say whether a target is well now."""
        if self.healthy:
            return True
        now = asyncio.get_running_loop().time()
        ends, well = self._turns.get(name, (0.0, True))
        if now >= ends:
            well = not well
            self._turns[name] = (now + self._random.uniform(self._shortest, self._longest), well)
        return well


async def _read(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    return lines[0].split(" ")[1], headers, await reader.readexactly(int(headers.get("content-length", "0")))


async def _say(writer: asyncio.StreamWriter, status: str, more: str = "", *, whole: bool = True) -> None:
    said = f"HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n{more}\r\nok".encode()
    writer.write(said if whole else said[:20])
    await writer.drain()


async def _answer(journal: Journal, message: Message, behaviour: str, writer: asyncio.StreamWriter) -> None:
    if behaviour in ("hang", "slow"):
        await asyncio.sleep(HANGS if behaviour == "hang" else SLOW)
    if behaviour == "reset":
        # SO_LINGER with zero seconds makes the close a reset.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif behaviour == "cut":
        await _say(writer, "200 OK", whole=False)
    elif behaviour != "hang":
        status = "200" if behaviour == "slow" else behaviour
        await _say(writer, f"{status} Said", "retry-after: 1\r\n" if status in ("503", "429") else "")
        journal.answer(message, acknowledged=status == "200")


@asynccontextmanager
async def mail_server(journal: Journal, mood: Mood, way: str) -> AsyncIterator[int]:
    """Take mail on a free port, which is yielded. Needs aiosmtpd (extra ``demo``)."""
    from aiosmtpd.smtp import SMTP  # noqa: PLC0415 - an extra: only those who serve mail need it

    sessions: set[Any] = set()

    class Session(SMTP):
        def connection_made(self, transport: Any) -> None:
            sessions.add(self)
            super().connection_made(transport)

        def connection_lost(self, error: Exception | None) -> None:
            sessions.discard(self)
            super().connection_lost(error)

    loop = asyncio.get_running_loop()
    handler = _Handler(journal, mood, way)
    server = await loop.create_server(lambda: Session(handler, hostname="soak.test", loop=loop), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for session in sessions:
            session.transport.abort()
        await asyncio.sleep(HANGS)  # a handler that is silent cannot be ended otherwise


class _Handler:
    """The hooks of aiosmtpd, which finds them by name."""

    def __init__(self, journal: Journal, mood: Mood, way: str) -> None:
        self._journal, self._mood, self._way = journal, mood, way

    async def handle_RCPT(self, _server: Any, session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802 - aiosmtpd's name
        session.behaviour = self._mood.next()
        if session.behaviour == "450 recipient":
            return "450 come back later"
        if session.behaviour in ("550", "421"):
            return f"{session.behaviour} not now"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if session.behaviour == "drop before":
            server.transport.abort()
            return "250 never heard"
        message = self._keep(envelope)
        if session.behaviour in ("hang", "slow"):
            await asyncio.sleep(HANGS if session.behaviour == "hang" else SLOW)
        if session.behaviour in ("hang", "drop after"):
            server.transport.abort()
            return "250 never heard"
        refused = session.behaviour == "451"
        self._journal.answer(message, acknowledged=not refused)
        return "451 local error" if refused else "250 OK, it is here"

    def _keep(self, envelope: Any) -> Message:
        return self._journal.arrive(f"{self._way} {envelope.rcpt_tos[0]}", *read_mail(envelope.content))

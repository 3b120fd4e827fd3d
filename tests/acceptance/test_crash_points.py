"""The process dies at every named place, and is started again: nothing is lost, and what comes twice is the same."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from heartbeat.crash import POINTS, STATUS, VARIABLE
from heartbeat.testing.daemon import DaemonProcess, until
from heartbeat.testing.http import Server, answer, serve
from heartbeat.testing.smtp import Inbox, mail_server
from heartbeat.testing.webhook import Received, Receiver, webhook_receiver

AT_START = ("during_migration", "during_checkpoint", "during_retention")
"""Reached at every start: there the messages are an earlier life's."""

LATER = ("after_seal:3", "after_send:3", "before_ack:4")
"""The webhook comes first: these are about mails."""


TOLD = "SELECT DISTINCT event_id FROM delivery WHERE state != 'suppressed'"
"""Events that somebody is told: what heartbeat.outbox says of the refused recipient is suppressed, as nobody asked."""


@dataclass
class Scene:
    """A shop with two failing pages, and those who are told."""

    daemon: DaemonProcess
    inbox: Inbox
    hook: Receiver
    other: Receiver
    shop: list[int]

    async def crash(self, point: str) -> None:
        """Let the daemon run until it dies at a place."""
        with suppress(AssertionError):  # it may die before it serves
            await self.daemon.start({VARIABLE: point})
        assert await self.daemon.end() == STATUS, self.daemon.tail()

    def rows(self, query: str) -> list[tuple[str, ...]]:
        with closing(sqlite3.connect(f"file:{self.daemon.folder}/heartbeat.db?mode=ro", uri=True)) as store:
            return store.execute(query).fetchall()

    async def until_told(self, events: int) -> None:
        """Wait until that many events are recorded, and every message about them is acknowledged or dead."""

        async def told() -> bool:
            with suppress(sqlite3.OperationalError):
                (count,) = self.rows(f"SELECT count(*) FROM ({TOLD})")[0]
                (waiting,) = self.rows("SELECT count(*) FROM delivery WHERE state IN ('pending', 'leased')")[0]
                return int(count) >= events and int(waiting) == 0
            return False

        await until(told)


@pytest.fixture
async def scene(daemon: DaemonProcess, stack: AsyncExitStack) -> Scene:
    status = [500]

    async def behave(reader: object, writer: object, server: Server) -> None:
        await answer(status[0])(reader, writer, server)  # type: ignore[arg-type]  # passed on as it came

    shop = await stack.enter_async_context(serve(behave))
    inbox = await stack.enter_async_context(mail_server())
    hook = await stack.enter_async_context(webhook_receiver())
    other = await stack.enter_async_context(webhook_receiver())
    server = f'server: "smtp://127.0.0.1:{inbox.port}", tls: none, from: hb@example.com, group_wait: 300ms'
    top = f"""
receivers:
  oncall:
    - email: {{to: [a@example.com, b@example.com], {server}}}
    - webhook: {{url: "http://127.0.0.1:{hook.port}/alerts"}}
  fallback:
    - webhook: {{url: "http://127.0.0.1:{other.port}/fallback"}}
"""
    checks = "".join(f'  {name}:\n    http: {{url: "{shop.url}"}}\n' for name in ("login", "cart"))
    daemon.write(checks, top, "notify: [oncall]")
    return Scene(daemon, inbox, hook, other, status)


@pytest.mark.parametrize("point", [*POINTS, *LATER])
async def test_a_crash_loses_nothing_and_what_comes_twice_is_the_same(scene: Scene, point: str) -> None:
    scene.inbox.script("RCPT", "550 5.1.1 no such user")
    if point in AT_START[1:]:
        await scene.daemon.start()
        await scene.daemon.log("raised")
        await scene.daemon.stop(9)
    await scene.crash(point)
    await scene.daemon.start()
    await scene.until_told(2)
    scene.shop[0] = 200
    await scene.until_told(4)
    assert await scene.daemon.stop() == 0

    nobody_is_missing(scene)
    twice_is_the_same(scene.hook.requests)
    twice_is_the_same(scene.other.requests)
    mails_are_the_same(scene.inbox)
    order_holds(scene)


def nobody_is_missing(scene: Scene) -> None:
    """Hold what the receivers got against what the store says they were to get."""
    posted = {request.headers["webhook-id"] for request in scene.hook.requests}
    passed_on = {request.headers["webhook-id"] for request in scene.other.requests}
    mails = {(mail.recipient, str(mail.parsed["Message-ID"])) for mail in scene.inbox.mails}
    events = scene.rows(TOLD)
    assert len(events) >= 4
    assert {identity for (identity,) in events} <= posted
    query = "SELECT event_id, channel, recipient, state, batch FROM delivery"
    for event, channel, recipient, state, batch in scene.rows(query):
        if state == "dead":
            assert event in passed_on, "the fallback is told what was refused"
        elif channel == "oncall/email":
            assert state == "acknowledged"
            assert any(to == recipient and (batch or event) in identity for to, identity in mails)


def twice_is_the_same(requests: Sequence[Received]) -> None:
    """See that all that share an id are the same message."""
    bodies = defaultdict(set)
    for request in requests:
        bodies[request.headers["webhook-id"]].add(request.body)
    assert [found for found in bodies.values() if len(found) != 1] == []


def mails_are_the_same(inbox: Inbox) -> None:
    """See that mails that share an id share every byte."""
    contents = defaultdict(set)
    for mail in inbox.mails:
        contents[mail.recipient, str(mail.parsed["Message-ID"])].add(mail.content)
    assert [found for found in contents.values() if len(found) != 1] == []


def order_holds(scene: Scene) -> None:
    """See that of every incident nothing is told before what came first."""
    sequence = {
        event: (incident, int(n)) for event, incident, n in scene.rows("SELECT id, incident, sequence FROM event")
    }
    latest: dict[str, int] = {}
    for request in scene.hook.requests:
        assert json.loads(request.body)["type"]
        incident, number = sequence[request.headers["webhook-id"]]
        assert number >= latest.get(incident, 0)
        latest[incident] = number


def test_every_place_is_somewhere() -> None:
    sources = Path(__file__).parents[2] / "heartbeat"
    text = "".join(path.read_text() for path in sources.rglob("*.py"))
    assert [point for point in POINTS if text.count(f'crash_point("{point}")') != 1] == []

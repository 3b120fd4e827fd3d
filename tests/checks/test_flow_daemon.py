"""The real daemon is killed in the middle of a flow: what that created is gone after the next start."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from time import time
from typing import Any

import pytest

from heartbeat.testing.daemon import DaemonProcess, until
from heartbeat.testing.http import Server, head, receive, serve

CHECKS = """
  shop:
    every: 3s
    timeout: 3s
    flow:
      steps:
        - name: order
          creates: true
          http: {{url: "{url}orders", json: {{reference: "${{run.tag}}"}}, expect: {{status: 201}}}}
          take: {{id: $.id}}
        - name: look
          http: {{url: "{url}orders/${{steps.order.id}}"}}
      cleanup:
        - name: remove
          http: {{url: "{url}orders/${{steps.order.id}}", method: DELETE}}
      sweep:
        list: {{http: {{url: "{url}orders"}}}}
        each: $[*]
        tag: $.reference
        created: $.created_at
        older_than: 1s
        remove: {{http: {{url: "{url}orders/${{item.id}}", method: DELETE}}}}
"""


class Shop:
    """Takes orders, and hangs where it is told to."""

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.hangs = "GET one"
        self.hung = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
        got = await receive(reader, server)
        number = got.path.removeprefix("/orders").strip("/")
        what = f"{got.method} {'one' if number else 'all'}"
        status, said = 200, list[Any](self.orders.values()) if not number else self.orders.get(number)
        if got.method == "POST":
            number, status = str(len(server.requests)), 201
            said = self.orders[number] = {"id": number, "created_at": time(), **json.loads(got.body)}
        elif got.method == "DELETE":
            said = self.orders.pop(number, None)
        if what == self.hangs:
            self.hung.set()
            await asyncio.Event().wait()
        body = json.dumps(said).encode()
        writer.write(head(status, {"Content-Length": str(len(body))}) + body)
        await writer.drain()


@pytest.mark.parametrize("hangs", ["GET one", "POST all"])
async def test_what_a_killed_daemon_had_created_is_gone_after_the_next_start(tmp_path: Path, hangs: str) -> None:
    shop, daemon = Shop(), DaemonProcess(tmp_path)
    shop.hangs = hangs

    async def is_clean() -> bool:
        return created not in shop.orders

    async with serve(shop) as server:
        daemon.write(CHECKS.format(url=server.url))
        try:
            await daemon.start()
            await asyncio.wait_for(shop.hung.wait(), 20)
            assert await daemon.stop(signal.SIGKILL) == -signal.SIGKILL
            (created,) = shop.orders
            shop.hangs = ""
            await daemon.start()
            await until(is_clean)
            said = (
                "what a flow left behind: " if hangs == "GET one" else "swept up 1 of what earlier runs left behind: "
            )
            await until(lambda: logged(daemon, said))
        finally:
            if daemon.started:
                await daemon.stop(signal.SIGTERM)


async def logged(daemon: DaemonProcess, said: str) -> bool:
    return any(line["event"].startswith(said) for line in daemon.lines)

"""Failures between two lives of the daemon: each loses nothing, and repeats nothing that was acknowledged."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import AsyncExitStack

from heartbeat.testing.daemon import DaemonProcess
from heartbeat.testing.http import Server, answer, serve
from heartbeat.testing.webhook import Misbehaviour, Receiver, webhook_receiver


class Shop:
    """A target whose status the test sets."""

    def __init__(self) -> None:
        self.status = 500
        self.url = ""

    async def behave(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
        await answer(self.status)(reader, writer, server)


async def open_shop(stack: AsyncExitStack) -> Shop:
    shop = Shop()
    shop.url = (await stack.enter_async_context(serve(shop.behave))).url
    return shop


def configure(daemon: DaemonProcess, shop: Shop, *hooks: str) -> None:
    ways = "\n".join(f'    - webhook: {{name: way-{n}, url: "{url}", timeout: 20s}}' for n, url in enumerate(hooks))
    top = f"receivers:\n  oncall:\n{ways}"
    daemon.write(f'  shop:\n    http: {{url: "{shop.url}"}}\n', top, "notify: [oncall], policy: {raise: 1, clear: 1}")


def told(hook: Receiver) -> list[str]:
    return [json.loads(request.body)["type"].rpartition(".")[2] for request in hook.requests]


async def test_killed_with_half_a_request_on_the_wire_it_sends_the_whole_one_under_its_id(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    half: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def read_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _server: Server) -> None:
        half.set_result(await reader.readexactly(400))
        await asyncio.Event().wait()

    shop = await open_shop(stack)
    async with serve(read_half) as server:
        configure(daemon, shop, server.url)
        await daemon.start()
        begun = await half
        await daemon.stop(signal.SIGKILL)
        port = server.port
    hook = await stack.enter_async_context(webhook_receiver(port=port))
    await daemon.start()
    (post,) = await hook.wait(1)
    assert post.headers["webhook-id"].encode() in begun
    assert json.loads(post.body)["data"]["event"] == post.headers["webhook-id"]


async def test_who_has_acknowledged_before_a_kill_is_not_told_again(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    shop = await open_shop(stack)
    first, second, third = [await stack.enter_async_context(webhook_receiver()) for _ in range(3)]
    for hook in (second, third):
        hook.script(Misbehaviour.HANG)
    configure(daemon, shop, first.url, second.url, third.url)
    await daemon.start()
    await daemon.log("delivery", outcome="acknowledged", channel="way-0")
    for hook in (second, third):
        await hook.wait(1)
    await daemon.stop(signal.SIGKILL)
    await daemon.start()
    for way, hook in (("way-1", second), ("way-2", third)):
        await daemon.log("delivery", outcome="acknowledged", channel=way)
        assert len({request.headers["webhook-id"] for request in hook.requests}) == 1
        assert len({request.body for request in hook.requests}) == 1
    await daemon.run("shop")
    assert len(first.requests) == 1


async def test_what_got_well_while_nobody_was_running_is_told_after_the_start(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    shop = await open_shop(stack)
    hook = await stack.enter_async_context(webhook_receiver())
    configure(daemon, shop, hook.url)
    await daemon.start()
    await daemon.log("delivery", outcome="acknowledged")
    await daemon.stop(signal.SIGKILL)
    shop.status = 200
    await daemon.start()
    await hook.wait(2)
    assert told(hook) == ["raised", "resolved"]


async def test_a_hanging_receiver_does_not_hold_up_a_stop_and_is_told_at_the_next_start(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    shop = await open_shop(stack)
    hook = await stack.enter_async_context(webhook_receiver())
    hook.script(Misbehaviour.HANG)
    configure(daemon, shop, hook.url)
    await daemon.start()
    await hook.wait(1)
    started = asyncio.get_running_loop().time()
    assert await daemon.stop() == 0
    assert asyncio.get_running_loop().time() - started < 9, "grace is 5 s, the receiver's timeout 20 s"
    await daemon.start()
    first, again = await hook.wait(2)
    assert (first.headers["webhook-id"], first.body) == (again.headers["webhook-id"], again.body)

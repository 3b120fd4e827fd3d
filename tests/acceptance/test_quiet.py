"""Quiet times of the real process: nobody is told, everything is seen, and a kill changes nothing."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import AsyncExitStack, ExitStack

from heartbeat.testing.daemon import DaemonProcess, until
from heartbeat.testing.http import refusing_port
from heartbeat.testing.webhook import Receiver, webhook_receiver


def check(name: str, port: int) -> str:
    return f"  {name}:\n    every: 1s\n    http: {{url: 'http://127.0.0.1:{port}/'}}\n"


def top(hook: Receiver, more: str = "") -> str:
    return f'receivers: {{oncall: [{{webhook: {{url: "http://127.0.0.1:{hook.port}/alerts"}}}}]}}\n{more}'


def dead_ports(count: int) -> list[int]:
    """Return ports that refuse connections until somebody listens there."""
    with ExitStack() as ports:
        return [ports.enter_context(refusing_port()) for _ in range(count)]


def told(hook: Receiver) -> list[tuple[str, str]]:
    """Return the check and the type of each event that arrived."""
    bodies = [json.loads(request.body) for request in hook.requests]
    return [(body["data"]["check"], body["type"].rpartition(".")[2]) for body in bodies]


async def answer_ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    writer.close()


async def test_a_silence_tells_nobody_is_seen_survives_a_kill_and_tells_at_its_end(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    hook = await stack.enter_async_context(webhook_receiver())
    shop, mail = dead_ports(2)
    daemon.write(check("shop", shop) + check("mail", mail), top(hook), "notify: [oncall]")
    servers = [await asyncio.start_server(answer_ok, "127.0.0.1", port) for port in (shop, mail)]
    await daemon.start()
    code, said = await daemon.command(
        "silence", "add", "--checks", "*", "--for", "1h", "--reason", "deploy", "--by", "alice", "--json"
    )
    assert code == 0, said
    silence = json.loads(said)["order"]["id"]
    code, said = await daemon.command("silence", "list")
    assert "silence by alice: deploy" in said
    for server in servers:
        server.close()
        await server.wait_closed()
    await daemon.log("raised", check="shop")
    await daemon.log("raised", check="mail")
    assert await daemon.sample("heartbeat_check_suppressed", check="mail", reason="silence") == 1
    assert await daemon.sample("heartbeat_check_severity", check="mail") == 2
    described = (await daemon.get("/api/v1/checks/mail")).json()
    assert described["suppressed"]["sentence"].startswith("silenced by alice until")

    assert await daemon.stop(signal.SIGKILL) == -signal.SIGKILL
    async with await asyncio.start_server(answer_ok, "127.0.0.1", mail):
        await daemon.start()
        await daemon.log("resolved", check="mail")
        assert [one["id"] for one in (await daemon.get("/api/v1/quiet")).json()["silences"]] == [silence]
        assert hook.requests == []
        code, said = await daemon.command("silence", "end", silence, "--reason", "done", "--by", "bob")
        assert code == 0, said
        (post,) = await hook.wait(1)
        assert b"it was kept back until now: silenced by alice until" in post.body
        async with await asyncio.start_server(answer_ok, "127.0.0.1", shop):
            await hook.wait(2)
    assert told(hook) == [("shop", "raised"), ("shop", "resolved")]  # and of mail nobody heard
    code, said = await daemon.command("silence", "list", "--all")
    assert "ended by bob: done" in said
    assert await daemon.stop() == 0


async def test_a_check_that_is_off_stays_off_over_a_kill_and_runs_at_once_when_it_is_on_again(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    hook = await stack.enter_async_context(webhook_receiver())
    port = stack.enter_context(refusing_port())
    daemon.write(check("shop", port) + check("other", port), top(hook))
    await daemon.start()
    await daemon.run("shop")
    code, said = await daemon.command("disable", "shop", "--reason", "moved", "--by", "alice")
    assert code == 0, said
    assert await daemon.stop(signal.SIGKILL) == -signal.SIGKILL
    await daemon.start()
    daemon.write(check("shop", port) + "    timeout: 900ms\n" + check("other", port), top(hook))
    await daemon.log("reloaded")
    await daemon.run("other", count=3)
    assert [line for line in daemon.lines if line.get("event") == "run" and line["check"] == "shop"] == []
    assert await daemon.sample("heartbeat_check_suppressed", check="shop", reason="disabled") == 1
    assert await daemon.sample("heartbeat_check_last_run_timestamp_seconds", check="shop") is None
    assert await daemon.sample("heartbeat_scheduler_overdue_checks") == 0
    code, said = await daemon.command("run-now", "shop")
    assert (code, said) == (65, "shop is disabled by alice: moved; switch it on first: heartbeat enable shop\n")
    code, said = await daemon.command("status")
    assert "disabled shop" in said
    assert (await daemon.command("enable", "shop"))[0] == 0
    await until(lambda: daemon.sample("heartbeat_check_last_run_timestamp_seconds", check="shop"))
    assert await daemon.stop() == 0


async def test_maintenance_of_the_configuration_takes_effect_with_a_reload(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    hook = await stack.enter_async_context(webhook_receiver())
    port = stack.enter_context(refusing_port())
    window = "maintenance: {racks: {checks: [shop], cron: '* * * * *', duration: 1h, reason: cables}}"
    daemon.write(check("shop", port), top(hook, window), "notify: [oncall]")
    await daemon.start()
    await daemon.log("raised", check="shop")
    assert await daemon.sample("heartbeat_check_suppressed", check="shop", reason="maintenance") == 1
    _, said = await daemon.command("maintenance", "list")
    assert "maintenance racks: cables\n    shop\n    under way until" in said
    daemon.write(check("shop", port), top(hook), "notify: [oncall]")
    (post,) = await hook.wait(1)
    assert b"it was kept back until now: maintenance racks until" in post.body
    assert await daemon.stop() == 0

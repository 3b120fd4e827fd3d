"""The real daemon and a real Alertmanager: what it shows is how things stand, whichever of the two was away."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from heartbeat.testing.alertmanager import AlertmanagerProcess, alertmanager
from heartbeat.testing.daemon import DaemonProcess, until
from heartbeat.testing.http import refusing_port
from heartbeat.testing.webhook import Receiver, webhook_receiver

pytestmark = pytest.mark.system("prometheus-alertmanager")


@pytest.fixture
async def hook() -> AsyncIterator[Receiver]:
    async with webhook_receiver() as receiver:
        yield receiver


@pytest.fixture
async def manager(tmp_path: Path, hook: Receiver) -> AsyncIterator[AlertmanagerProcess]:
    folder = tmp_path / "alertmanager"
    folder.mkdir()
    async with alertmanager(folder, hook.url) as process:
        yield process


def configure(daemon: DaemonProcess, port: int, *urls: str) -> None:
    top = f"""
location: eu
receivers:
  oncall:
    - alertmanager: {{urls: {json.dumps(urls)}, resend_every: 1s, timeout: 1s, labels: {{severity: page}}}}
"""
    check = f'  shop:\n    http: {{url: "http://127.0.0.1:{port}/"}}\n    runbook: https://wiki.test/shop\n'
    daemon.write(check, top, "notify: [oncall]")


async def firing(manager: AlertmanagerProcess) -> dict[str, Any]:
    (alert,) = await until(manager.alerts)
    assert isinstance(alert, dict)
    return alert


async def told(hook: Receiver, count: int) -> list[str]:
    """Return the status of each alert that the Alertmanager notified."""
    return [json.loads(request.body)["alerts"][0]["status"] for request in await hook.wait(count, 20)]


async def gone(manager: AlertmanagerProcess) -> bool:
    return not await manager.alerts()


def repaired(stack: AsyncExitStack, port: int) -> Any:
    return stack.enter_async_context(webhook_receiver(port=port))


async def test_an_alertmanager_shows_the_alert_and_its_end(
    daemon: DaemonProcess, stack: AsyncExitStack, manager: AlertmanagerProcess, hook: Receiver
) -> None:
    with refusing_port() as port:
        configure(daemon, port, manager.url)
        await daemon.start()
        alert = await firing(manager)
        raised = await daemon.log("raised", check="shop")
        assert alert["status"]["state"] == "active"
        assert alert["labels"] == {
            "alertname": "HeartbeatCheckFailed",
            "check": "shop",
            "location": "eu",
            "severity": "page",
            "type": "http",
        }
        assert alert["annotations"]["incident"] == raised["incident"]
        assert alert["annotations"]["runbook_url"] == "https://wiki.test/shop"
        assert "refused" in alert["annotations"]["description"]
        assert await told(hook, 1) == ["firing"]
    await repaired(stack, port)
    await daemon.log("resolved", check="shop")
    await until(lambda: gone(manager))
    assert await told(hook, 2) == ["firing", "resolved"]
    assert await daemon.stop() == 0


async def test_an_alertmanager_that_was_away_is_told_again_what_stands_and_what_has_ended(
    daemon: DaemonProcess, stack: AsyncExitStack, manager: AlertmanagerProcess, hook: Receiver
) -> None:
    with refusing_port() as port:
        configure(daemon, port, manager.url)
        await daemon.start()
        first = await firing(manager)
        assert await told(hook, 1) == ["firing"]
        await daemon.log("delivery", outcome="acknowledged", channel="oncall/alertmanager")
        await manager.stop()
        await daemon.log("not told how things stand; trying on")
        await manager.start()
        again = await firing(manager)
        assert (again["labels"], again["startsAt"]) == (first["labels"], first["startsAt"])
        await manager.stop()
    await repaired(stack, port)
    await daemon.log("delivery", outcome="retried", kind="resolved")
    assert await daemon.stop(signal.SIGKILL) == -signal.SIGKILL
    await manager.start()
    assert await gone(manager)
    await daemon.start()
    assert await told(hook, 2) == ["firing", "resolved"]
    assert await daemon.stop() == 0


async def test_each_instance_is_told_although_the_other_is_away(
    daemon: DaemonProcess, stack: AsyncExitStack, manager: AlertmanagerProcess
) -> None:
    with refusing_port() as port, refusing_port() as away:
        configure(daemon, port, f"http://127.0.0.1:{away}", manager.url)
        await daemon.start()
        await firing(manager)
        await daemon.log("delivery", outcome="acknowledged", recipient=manager.url.removeprefix("http://"))
        await daemon.log("delivery", outcome="retried", recipient=f"127.0.0.1:{away}")
        assert await daemon.sample("heartbeat_outbox_pending", channel="oncall/alertmanager") == 1.0
    other = await stack.enter_async_context(webhook_receiver(port=away))
    async with asyncio.timeout(20):
        while not any(b"HeartbeatCheckFailed" in request.body for request in other.requests):
            await other.wait(len(other.requests) + 1, 20)
    await daemon.log("delivery", outcome="acknowledged", recipient=f"127.0.0.1:{away}")
    assert await daemon.stop() == 0

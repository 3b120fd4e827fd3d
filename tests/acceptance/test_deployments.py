"""Deployments of the real process: messages name them, a hold survives a kill, and TCP takes a token or nothing."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import AsyncExitStack

import httpx

from heartbeat.testing.daemon import DaemonProcess, until
from heartbeat.testing.http import refusing_port
from heartbeat.testing.webhook import webhook_receiver

TOKEN = "0123456789abcdef0123456789abcdef"


async def post(daemon: DaemonProcess, path: str, body: object, token: str = "") -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(daemon.url + path, json=body, headers=headers, timeout=10)


async def test_a_deployment_holds_over_a_kill_and_the_message_at_its_end_names_it(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    hook = await stack.enter_async_context(webhook_receiver())
    port = stack.enter_context(refusing_port())
    daemon.write(
        f"  shop:\n    every: 1s\n    tags: [post-deploy]\n    http: {{url: 'http://127.0.0.1:{port}/'}}\n",
        f'receivers: {{oncall: [{{webhook: {{url: "http://127.0.0.1:{hook.port}/alerts"}}}}]}}\n'
        'api: {tokens: {ci: "${secret:DEPLOY_TOKEN}"}}',
        "notify: [oncall]",
    )
    environ = {"DEPLOY_TOKEN": TOKEN}
    daemon.config.write_text(daemon.config.read_text().replace("every: 1s\n    tags", "every: 1h\n    tags"))
    await daemon.start(environ)
    body = {"name": "shop", "version": "4f2c", "hold": "10m", "tags": ["post-deploy"]}
    assert (await post(daemon, "/api/v1/deployments", body)).status_code == 401
    assert (await post(daemon, "/api/v1/deployments", body, TOKEN[:-1])).status_code == 401
    assert (await daemon.get("/api/v1/deployments")).json() == {"deployments": []}
    answer = await post(daemon, "/api/v1/deployments", body, TOKEN)
    assert answer.status_code == 200, answer.text
    assert answer.json()["deployment"]["by"] == "token ci"
    assert (await daemon.get("/api/v1/checks/shop")).json()["suppressed"]["reason"] == "deployment"

    assert await daemon.stop(signal.SIGKILL) == -signal.SIGKILL
    await daemon.start(environ)
    (known,) = (await daemon.get("/api/v1/deployments")).json()["deployments"]
    assert (known["id"], known["state"]) == (answer.json()["deployment"]["id"], "running")
    assert await daemon.sample("heartbeat_deployment_info", deployment="shop", version="4f2c", state="running") == 1
    socket = daemon.folder / "heartbeat.sock"
    code, said = await command(daemon, "run-now", "shop", "--socket", str(socket))
    assert code == 0, said
    await daemon.log("raised", check="shop")
    assert hook.requests == []
    code, said = await command(daemon, "deployment", "finish", "shop", "--socket", str(socket), "--by", "alice")
    assert (code, said) == (0, "deployment 4f2c of shop finished; 1 check runs now\n")
    (message,) = await hook.wait(1)
    data = json.loads(message.body)["data"]
    assert data["why"].startswith("it was kept back until now: held during deployment 4f2c of shop by token ci")
    assert (data["deployment"]["version"], data["deployment"]["name"]) == ("4f2c", "shop")
    assert await until(lambda: daemon.sample("heartbeat_deployment_timestamp_seconds", deployment="shop", event="end"))
    assert all(TOKEN[:-1] not in json.dumps(line) for line in daemon.lines)
    assert await daemon.stop() == 0


async def command(daemon: DaemonProcess, *words: str) -> tuple[int, str]:
    """Run a command on a socket: it needs no configuration, but wants one to be named."""
    return await asyncio.wait_for(daemon.command(*words), 20)


async def test_without_a_token_in_the_configuration_nothing_is_written_over_tcp(daemon: DaemonProcess) -> None:
    daemon.write("  shop:\n    every: 1h\n    tcp: {host: 127.0.0.1, port: 1}\n")
    await daemon.start()
    assert (await post(daemon, "/api/v1/deployments", {"name": "shop"}, TOKEN)).status_code == 403
    code, said = await daemon.command("deployment", "start", "shop", "--version", "4f2c", "--by", "alice")
    assert (code, said) == (0, "deployment 4f2c of shop began; it concerns 1 check\n")
    code, said = await daemon.command("deployment", "finish", "till")
    assert (code, said) == (65, 'no deployment "till" is under way; heartbeat deployment list shows them\n')
    code, said = await daemon.command("deployment", "finish", "shop", "--failed", "--by", "alice")
    assert code == 0, said
    assert await daemon.stop() == 0
    code, said = await daemon.command("deployment", "list")
    assert (code, "shop 4f2c by alice: failed, after" in said, "all checks" in said) == (0, True, True)

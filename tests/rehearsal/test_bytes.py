"""What a dry run shows is byte by byte what a real run sends, where ids and times are the same."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

from heartbeat import http
from heartbeat.cli.rehearsed import data_of
from heartbeat.clock import Clock, Reading
from heartbeat.config import Config
from heartbeat.daemon import Daemon
from heartbeat.rehearsal import Shelf, rehearse, staged
from heartbeat.state import Live
from heartbeat.store import Store
from heartbeat.testing.smtp import Inbox, mail_server
from heartbeat.testing.webhook import Receiver, webhook_receiver

Make = Callable[..., Config]
SECRETS = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"]
TOKEN = "CANARY-token-of-the-gateway"


async def run_really(config: Config, folder: Path, read: Callable[[], Reading], inbox: Inbox, hook: Receiver) -> None:
    """Run the check on the parts of the real daemon, and wait for what arrives."""
    daemon = Daemon([folder / "config.yaml"], config)
    daemon.clock = Clock(read)
    daemon.store = await Store.open(folder / "daemons.db", history=config.history, clock=daemon.clock.now)
    daemon._assemble()
    daemon.state.checks["shop"] = Live(config.checks["shop"])
    await daemon.outbox.start()
    _ = await daemon.dispatch.run_now(daemon.state.checks["shop"])
    await inbox.wait(2)
    await hook.wait(1)
    await daemon.outbox.drain(5)
    await daemon.store.close()
    http.close()


async def show(config: Config, read: Callable[[], Reading]) -> list[dict[str, Any]]:
    """Return the messages as ``dry-run --json`` prints them."""
    shelf = Shelf()
    async with staged(config, shelf.show, read) as stage:
        rehearsed = await rehearse(stage, shelf, ["shop"])
    messages: list[dict[str, Any]] = json.loads(json.dumps(data_of(rehearsed)))["messages"]
    return messages


def bytes_of(message: dict[str, Any]) -> bytes:
    return b64decode(message["body_base64"]) if "body_base64" in message else str(message["body"]).encode()


async def test_a_mail_and_a_signed_request_are_shown_as_they_are_sent(
    make: Make, frozen: Callable[[], Reading], tmp_path: Path
) -> None:
    async with mail_server() as inbox, webhook_receiver() as hook:
        mail = {
            "to": ["a@example.com", "b@example.com"], "from": "hb@example.com", "tls": "none", "group_wait": "0s",
            "server": f"smtp://127.0.0.1:{inbox.port}",
        }  # fmt: skip
        request = {"url": hook.url, "secret": SECRETS, "headers": {"Authorization": f"Bearer {TOKEN}"}}
        says = "the order is gone: \N{SNOWMAN} <b>\u00e5\u00e4\u00f6</b> " + "long " * 60
        check = {"told": {"says": says}, "labels": {"team": "k\u00f8b"}, "runbook": "https://wiki.example.com/shop"}
        config = make({"shop": check}, [{"email": mail}, {"webhook": request}], location="eu-1")
        await run_really(config, tmp_path, frozen, inbox, hook)
        shown = await show(config, frozen)
        assert (len(inbox.mails), len(hook.requests)) == (2, 1), "the dry run told somebody"

    mails = {message["recipient"]: bytes_of(message) for message in shown if message["kind"] == "email"}
    assert mails == {arrived.recipient: arrived.content for arrived in inbox.mails}
    (posted,) = [message for message in shown if message["kind"] == "webhook"]
    (arrived,) = hook.requests
    assert bytes_of(posted) == arrived.body
    headers = {name.lower(): value for name, value in posted["headers"]}
    assert headers.pop("authorization") != f"Bearer {TOKEN}"
    assert headers == {name: arrived.headers[name] for name in headers}
    assert headers.keys() >= {"webhook-id", "webhook-timestamp", "webhook-signature", "content-type"}
    assert len(headers["webhook-signature"].split()) == 2
    assert set(arrived.headers) - set(headers) == {"authorization", "host", "user-agent", "accept", "content-length"}
    assert posted["to"].startswith(f"POST http://127.0.0.1:{hook.port}")


async def test_no_secret_is_shown(make: Make, frozen: Callable[[], Reading]) -> None:
    config = make(
        {"shop": {"told": {"says": "gone"}}},
        [
            {"webhook": {"url": "http://127.0.0.1:9/hook/CANARY-path", "secret": SECRETS,
                         "headers": {"Authorization": f"Bearer {TOKEN}"}}},
            {"telegram": {"token": "12345:CANARY-telegram", "chat_id": 1, "base_url": "http://127.0.0.1:9"}},
            {"ntfy": {"url": "http://127.0.0.1:9/CANARY-topic", "token": "tk_CANARY-ntfy"}},
            {"pagerduty": {"routing_key": "CANARY7890abcdef0123456789abcdef", "url": "http://127.0.0.1:9/v2"}},
            {"opsgenie": {"api_key": "CANARY-opsgenie", "base_url": "http://127.0.0.1:9"}},
            {"command": {"command": ["cat"], "environment": {"TOKEN": "CANARY-command"}}},
            {"apprise": {"url": "json://127.0.0.1:9/CANARY-apprise"}},
        ],
    )  # fmt: skip
    shown = await show(config, frozen)
    assert {message["kind"] for message in shown} == {
        "webhook", "telegram", "ntfy", "pagerduty", "opsgenie", "command", "apprise",
    }  # fmt: skip
    assert "CANARY" not in json.dumps(shown)
    assert all(
        message["redacted"] or message["kind"] == "apprise" for message in shown if message["kind"] != "telegram"
    )

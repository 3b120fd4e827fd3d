from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from heartbeat.testing.http import answer, refusing_port, serve
from heartbeat.testing.smtp import Inbox, mail_server
from heartbeat.testing.webhook import Receiver, webhook_receiver


async def run(tmp_path: Path, config: str, *arguments: str) -> tuple[int, str, str]:
    """Run the real command; return its exit status and what it wrote."""
    path = tmp_path / "config.yaml"
    path.write_text(f"store: sqlite:///{tmp_path}/heartbeat.db\ncontrol: {tmp_path}/c.sock\n{config}")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "heartbeat", "dry-run", *arguments, "-c", str(path),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, out.decode(), err.decode()


@pytest.fixture
def dead() -> Iterator[int]:
    with refusing_port() as port:
        yield port


def receivers(inbox: Inbox, hook: Receiver) -> str:
    mail = f"smtp://127.0.0.1:{inbox.port}"
    return f"""
receivers:
  oncall:
    - email: {{to: [a@example.com], from: hb@example.com, server: '{mail}', tls: none, group_wait: 10m}}
    - webhook: {{url: '{hook.url}', secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}}
  unused:
    - webhook: {{url: 'http://127.0.0.1:9/CANARY-unused'}}
self_notify: [oncall]
defaults: {{notify: [oncall], timeout: 2s}}
"""


async def test_a_failing_check_shows_what_would_be_sent_and_nobody_gets_anything(tmp_path: Path, dead: int) -> None:
    async with mail_server() as inbox, webhook_receiver() as hook:
        config = f"{receivers(inbox, hook)}checks: {{shop: {{http: {{url: 'http://127.0.0.1:{dead}/'}}}}}}\n"
        code, out, err = await run(tmp_path, config, "shop")
    assert code == 2, err
    assert out.startswith("shop: fail in ")
    for said in (
        "  event     FAILING would be told to a@example.com by oncall/email",
        "message 1 of 2: by oncall/webhook, about shop",
        "  webhook-signature: v1,",
        "message 2 of 2: to a@example.com by oncall/email, about shop",
        "  | Subject: heartbeat: shop (incident ",
        "oncall/email: ok: connected to 127.0.0.1 port",
        "the recipient a@example.com is accepted",
        f"oncall/webhook: ok: connected to 127.0.0.1 port {hook.port}",
        "This did not prove:",
    ):
        assert said in out
    assert "unused" not in out
    assert "CANARY" not in out + err
    assert "\x1b" not in out
    assert (inbox.mails, hook.requests) == ([], [])
    assert {path.name for path in tmp_path.iterdir()} == {"config.yaml"}, "something was kept"  # noqa: ASYNC240 - a test may wait for its own files
    assert err == ""


async def test_json_has_all_of_it(tmp_path: Path, dead: int) -> None:
    async with mail_server() as inbox, webhook_receiver() as hook, serve(answer(200)) as shop:
        config = f"""{receivers(inbox, hook)}
checks:
  shop: {{http: {{url: '{shop.url}'}}, limits: {{duration: {{warn: 1s}}}}, tags: [fast]}}
  depot: {{http: {{url: 'http://127.0.0.1:{dead}/'}}}}
"""
        code, out, _ = await run(tmp_path, config, "--json", "--tag", "fast", "--assume", "fail", "--receivers")
    whole: dict[str, Any] = json.loads(out)
    assert (code, whole["exit"], whole["assumed"]) == (2, 2, "fail"), "the unused receiver cannot be reached"
    (check,) = whole["checks"]
    assert (check["check"], check["found"]["outcome"], check["result"], check["state"]) == (
        "shop",
        "ok",
        "fail",
        "fail",
    )
    assert check["run"]["limits"] == [
        {"limit": "duration", "holds": True, "severity": "ok", "expected": "at most 1 s (warn)", "observed": "100 ms"}
    ]
    assert {(one["channel"], one["told"]) for one in check["events"]} == {
        ("oncall/email", True),
        ("oncall/webhook", True),
    }
    assert [message["kind"] for message in whole["messages"]] == ["webhook", "email"]
    assert json.loads(whole["messages"][0]["body"])["data"]["sentence"] == "connection refused"
    assert {one["channel"]: one["reached"] for one in whole["receivers"]} == {
        "oncall/email": True, "oncall/webhook": True, "unused/webhook": False,
    }  # fmt: skip
    assert len(shop.requests) == 1
    assert whole["not_proved"]


async def test_with_an_assumption_only_receivers_and_messages_count(tmp_path: Path, dead: int) -> None:
    top = "receivers: {oncall: [{command: {command: [cat]}}]}\ndefaults: {notify: [oncall]}\n"
    config = f"{top}checks: {{shop: {{http: {{url: 'http://127.0.0.1:{dead}/'}}}}}}\n"
    assert (await run(tmp_path, config, "--assume", "error"))[0] == 0
    assert (await run(tmp_path, config))[0] == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("shpo",), 'did you mean "shop"'),
        (("--tag", "nothing"), "no check has the tag"),
        (("--assume", "warn"), "shop: no limit of this check only warns"),
        (("--assume", "nonsense"), "nonsense"),
    ],
)
async def test_what_cannot_be_is_a_wrong_command_line(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    code, out, err = await run(tmp_path, "checks: {shop: {tcp: {host: localhost, port: 1}}}\n", *arguments)
    assert (code, out) == (64, "")
    assert said in err


async def test_a_wrong_configuration_is_78(tmp_path: Path) -> None:
    code, _, err = await run(tmp_path, "checks: {shop: {nothing: {}}}\n")
    assert code == 78
    assert "config.yaml:" in err


async def test_a_plugin_that_does_not_end_does_not_keep_the_command(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "stubborn.py").write_text("""
import time
from heartbeat import Check, Probe

class Stubborn(Check):
    def run(self, probe: Probe) -> None:
        print("hello from the plugin")
        time.sleep(600)
""")
    code, out, _ = await run(tmp_path, "plugins: [plugins]\nchecks: {mine: {stubborn: {}, timeout: 300ms}}\n")
    assert code == 2
    assert "no result within 300 ms" in out
    assert "hello from the plugin" not in out

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from heartbeat.testing.daemon import DaemonProcess
from heartbeat.testing.smtp import Inbox, mail_server
from heartbeat.testing.webhook import Answer, Receiver, webhook_receiver

CHECKS = "  shop: {tcp: {host: 127.0.0.1, port: 9}, every: 1h, labels: {team: shop}, notify: [others]}\n"


async def send(config: Path, *arguments: str) -> tuple[int, str, str]:
    """Run the real command; return its exit status and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "heartbeat", "test-alert", *arguments, "-c", str(config),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, out.decode(), err.decode()


def top(folder: Path, inbox: Inbox, hook: Receiver) -> str:
    mail = f"smtp://127.0.0.1:{inbox.port}"
    return f"""
control: {folder}/c.sock
receivers:
  oncall:
    - email: {{to: [a@example.com, b@example.com], from: hb@example.com, server: '{mail}', tls: none,
             group_wait: 100ms}}
    - webhook: {{url: '{hook.url}'}}
  others:
    - command: {{command: ['true']}}
"""


def write(folder: Path, inbox: Inbox, hook: Receiver) -> Path:
    path = folder / "config.yaml"
    path.write_text(f"store: sqlite:///{folder}/heartbeat.db\n{top(folder, inbox, hook)}\nchecks:\n{CHECKS}")
    return path


async def test_without_a_daemon_it_is_sent_from_here_and_every_answer_is_shown(tmp_path: Path) -> None:
    async with mail_server() as inbox, webhook_receiver() as hook:
        code, out, err = await send(write(tmp_path, inbox, hook), "oncall")
    assert (code, err) == (0, "")
    assert out.startswith("TEST to oncall, sent by this process, as no daemon runs (evt_")
    assert sorted(mail.recipient for mail in inbox.mails) == ["a@example.com", "b@example.com"]
    assert out.count(": acknowledged after ") == 3
    assert all("TEST" in mail.parsed["Subject"] for mail in inbox.mails)
    assert json.loads(hook.requests[0].body)["data"]["test"] is True
    assert {path.name for path in tmp_path.iterdir()} == {"config.yaml"}  # noqa: ASYNC240 - a test may wait for its own files


async def test_what_is_refused_is_2_and_says_why(tmp_path: Path) -> None:
    async with mail_server() as inbox, webhook_receiver() as hook:
        inbox.script("RCPT", "550 no such user")
        hook.script(Answer(500), Answer(500))
        code, out, _ = await send(write(tmp_path, inbox, hook), "oncall", "--wait", "1500ms", "--json")
    answers = {(one["channel"], one["state"]): one["answer"] for one in json.loads(out)["answers"]}
    assert code == 2
    assert ("oncall/email", "acknowledged") in answers
    assert "550 no such user" in answers["oncall/email", "dead"]
    assert "answers 500" in answers["oncall/webhook", "pending"]


async def test_wrong_names_and_times_are_a_wrong_command_line(tmp_path: Path) -> None:
    async with mail_server() as inbox, webhook_receiver() as hook:
        config = write(tmp_path, inbox, hook)
        assert (await send(config, "oncal"))[::2] == (64, 'there is no receiver "oncal"; did you mean "oncall"?\n')
        assert (await send(config, "oncall", "--check", "shpo"))[0] == 64
        assert (await send(config, "oncall", "--wait", "5"))[0] == 64
        assert "at most 1h" in (await send(config, "oncall", "--wait", "2h"))[2]
    assert (inbox.mails, hook.requests) == ([], [])


async def test_a_running_daemon_sends_it_itself_and_records_it(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path)
    async with mail_server() as inbox, webhook_receiver() as hook:
        daemon.write(CHECKS, top(tmp_path, inbox, hook))
        await daemon.start()
        try:
            code, out, err = await send(daemon.config, "oncall", "--check", "shop")
            log = (await daemon.get("/api/v1/deliveries?check=shop")).text
            assert (await send(daemon.config, "nobody"))[0] == 65
            assert (await send(daemon.config, "oncall", "--check", "nothing"))[0] == 65
        finally:
            await daemon.stop()
    assert (code, err) == (0, "")
    assert out.startswith("TEST to oncall, sent by the running daemon (evt_")
    assert "note: alerts of shop do not go to oncall: they go to others" in out
    (request,) = hook.requests
    data = json.loads(request.body)["data"]
    assert (data["check"], data["kind"], data["labels"]) == ("shop", "drill", {"team": "shop"})
    assert len(inbox.mails) == 2
    assert data["event"] in out
    assert data["incident"] in log

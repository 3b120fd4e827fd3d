"""Jobs that report to the real process: over a kill, as to Healthchecks, by curl and by our own command."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
from contextlib import AsyncExitStack

import httpx
import pytest

from heartbeat.testing.daemon import DaemonProcess, until
from heartbeat.testing.webhook import webhook_receiver

UUID = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"
RID = "728b3763-ba80-4113-9fc0-f4e0a8c1e1a4"
OTHER = "11111111-ba80-4113-9fc0-f4e0a8c1e1a4"
SECRET = {"JOB_TOKEN": UUID}
JOB = '  nightly:\n    cron: "0 3 * * *"\n    push: {token: "${secret:JOB_TOKEN}", grace: 30m, at_most: 2h}\n'


async def tell(daemon: DaemonProcess, rest: str = "", body: bytes = b"", **query: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(f"{daemon.url}/ping/{UUID}{rest}", params=query, content=body, timeout=10)


async def standing(daemon: DaemonProcess, name: str = "nightly") -> dict[str, object]:
    found: dict[str, object] = (await daemon.get(f"/api/v1/checks/{name}")).json()
    return found


async def test_a_job_only_changes_the_host_and_what_it_told_survives_a_kill(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    hook = await stack.enter_async_context(webhook_receiver())
    top = f'receivers: {{oncall: [{{webhook: {{url: "http://127.0.0.1:{hook.port}/alerts"}}}}]}}'
    daemon.write(JOB, top, "notify: [oncall]")
    await daemon.start(SECRET)
    assert (await standing(daemon))["state"] == "unknown"

    answer = await tell(daemon, "/start", rid=RID)
    assert (answer.status_code, answer.text, answer.headers["Ping-Body-Limit"]) == (200, "OK", "100000")
    assert (await standing(daemon))["state"] == "unknown"
    assert (await tell(daemon, "/log", b"12 tables", rid=RID)).text == "OK"
    assert (await tell(daemon, "/3", b"no space left on device", rid=RID)).text == "OK"
    assert await daemon.stop(signal.SIGKILL) == -signal.SIGKILL  # what was answered is on disk, and judged

    await daemon.start(SECRET)
    found = await standing(daemon)
    assert (found["state"], found["reason"]) == ("fail", "status")
    assert str(found["sentence"]).startswith("it ended with exit code 3 at ")
    (message,) = await hook.wait(1)
    evidence = json.loads(message.body)["data"]["result"]["evidence"]
    assert (evidence["report"], evidence["log"]) == ("no space left on device", "12 tables")
    assert await daemon.sample("heartbeat_probe_job_seconds", check="nightly") is not None

    for address in (f"/ping/{UUID}/fail", f"/{UUID}/fail", f"/{UUID}"):
        assert (await daemon.get(address)).text == "OK"
    assert (await standing(daemon))["state"] == "ok"
    await tell(daemon, "/start", rid=RID)
    await tell(daemon, "/start", rid=OTHER)
    assert (await standing(daemon))["reason"] == "mismatch"
    await tell(daemon, rid=RID)
    await tell(daemon, rid=OTHER)
    assert (await standing(daemon))["state"] == "ok"

    for refused, status in (("/256", 400), ("/done", 404)):
        assert (await tell(daemon, refused)).status_code == status
    assert (await tell(daemon, rid="7")).status_code == 400
    assert (await daemon.get("/ping/unknown-token-0000")).status_code == 404
    pages = [(await daemon.get(path)).text for path in ("/metrics", "/api/v1/checks", "/")]
    assert UUID not in "".join(pages)
    assert all(UUID not in json.dumps(line) for line in daemon.lines)
    assert await daemon.stop() == 0


async def test_a_report_that_is_missing_is_told_once_and_a_restart_tells_nothing_false(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    hook = await stack.enter_async_context(webhook_receiver())
    top = f'receivers: {{oncall: [{{webhook: {{url: "http://127.0.0.1:{hook.port}/alerts"}}}}]}}'
    daemon.write(f"  job:\n    every: 2s\n    push: {{token: {UUID}, grace: 1s}}\n", top, "notify: [oncall]")
    await daemon.start()
    await tell(daemon)
    assert await daemon.stop(signal.SIGKILL) == -signal.SIGKILL
    await asyncio.sleep(4)  # the report that is expected meanwhile reaches nobody
    await daemon.start()
    await asyncio.sleep(0.5)
    assert (await standing(daemon, "job"))["state"] in ("ok", "unknown")
    assert hook.requests == []
    raised = await daemon.log("raised", check="job")
    assert raised["reason"] == "absent"
    await until(lambda: is_run_again(daemon))
    assert len(await hook.wait(1)) == 1
    await tell(daemon)
    await daemon.log("resolved", check="job")
    assert await daemon.sample("heartbeat_missed_runs_total", reason="busy") in (None, 0.0)
    assert await daemon.stop() == 0


async def is_run_again(daemon: DaemonProcess) -> bool:
    return len([line for line in daemon.lines if (line.get("event"), line.get("check")) == ("run", "job")]) >= 2


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
async def test_curl_reports_as_it_does_to_healthchecks(daemon: DaemonProcess) -> None:
    daemon.write(JOB)
    await daemon.start(SECRET)
    line = (
        f"curl -fsS -m 10 --retry 5 -o /dev/null {daemon.url}/{UUID}/start && "
        f"curl -fsS -m 10 --retry 5 --data-raw 'it is done' {daemon.url}/{UUID}/0 && "
        f"curl -fsS -m 10 -I {daemon.url}/{UUID} >/dev/null && curl -fsS -X PUT {daemon.url}/{UUID}/fail"
    )
    shell = await asyncio.create_subprocess_shell(line, stdout=-1, stderr=-2)
    said, _ = await asyncio.wait_for(shell.communicate(), 20)
    assert (shell.returncode, said) == (0, b"OKOK")
    assert (await standing(daemon))["state"] == "fail"
    assert await daemon.stop() == 0


async def test_our_own_command_wraps_a_job(daemon: DaemonProcess) -> None:
    daemon.write(JOB)
    await daemon.start(SECRET)
    words = ("-m", "heartbeat", "ping", f"{daemon.url}/ping/{UUID}", "--", "sh", "-c", "echo no space; exit 4")
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=-1)
    said, _ = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, said) == (4, b"no space\n")
    found = await standing(daemon)
    assert (found["reason"], found["observed"]) == ("status", "4")
    assert await daemon.stop() == 0


async def test_a_check_that_is_switched_off_keeps_what_it_is_told_and_judges_it_once_it_is_on(
    daemon: DaemonProcess,
) -> None:
    daemon.write(JOB)
    await daemon.start(SECRET)
    daemon.config.write_text(daemon.config.read_text().replace("${secret:JOB_TOKEN}", UUID))
    code, said = await daemon.command("disable", "nightly", "--reason", "moving", "--by", "alice")
    assert code == 0, said
    assert (await tell(daemon, "/fail")).text == "OK"
    assert (await standing(daemon))["last_run"] is None
    code, said = await daemon.command("enable", "nightly", "--by", "alice")
    assert code == 0, said
    await daemon.log("raised", check="nightly")
    assert await daemon.stop() == 0

"""The real process: signals, crashes, reloads, hostile plugins."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
from contextlib import AsyncExitStack, ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent

import pytest

from heartbeat.testing.daemon import DaemonProcess, until
from heartbeat.testing.dns import NameServer, serve_names
from heartbeat.testing.http import Server, answer, refusing_port, serve
from heartbeat.testing.smtp import mail_server
from heartbeat.testing.webhook import Misbehaviour, webhook_receiver

FAKETIME = next(Path("/usr/lib").rglob("faketime/libfaketime.so.1"), None)
"""Where Debian's package faketime puts its library: the folder's name depends on the architecture."""


def receivers(mail: int, hook: int) -> str:
    server = f'server: "smtp://127.0.0.1:{mail}", tls: none, group_wait: 0s'
    return f"""
receivers:
  oncall:
    - email: {{to: [oncall@example.com], from: hb@example.com, {server}}}
    - webhook: {{url: "http://127.0.0.1:{hook}/alerts"}}
self_notify: [oncall]
"""


def http_check(url: str, name: str = "shop", more: str = "") -> str:
    return f'  {name}:\n    http: {{url: "{url}"}}\n{more}'


def dead_ports(count: int) -> list[int]:
    """Return ports that refuse connections until somebody listens there."""
    with ExitStack() as ports:
        return [ports.enter_context(refusing_port()) for _ in range(count)]


def plugin(daemon: DaemonProcess, name: str, body: str) -> str:
    """Write a plugin whose ``run`` has this body, and return the top level that names its folder."""
    folder = daemon.folder / "plugins"
    folder.mkdir(exist_ok=True)
    source = f"""
    import asyncio, os, sys, time
    from heartbeat import Check, CheckFailed, Probe

    class Plugin(Check):
        async def run(self, probe: Probe) -> None:
            {body}
    """
    (folder / f"{name}.py").write_text(dedent(source))
    return "plugins: [plugins]"


async def test_a_failing_round_trip_is_told_by_mail_and_webhook_and_so_is_its_end(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    inbox = await stack.enter_async_context(mail_server())
    hook = await stack.enter_async_context(webhook_receiver())
    (port,) = dead_ports(1)
    daemon.write(http_check(f"http://127.0.0.1:{port}/"), receivers(inbox.port, hook.port), "notify: [oncall]")
    await daemon.start()
    (mail,) = await inbox.wait(1)
    (post,) = await hook.wait(1)
    assert "connection refused" in mail.parsed.get_payload()[0].get_payload()  # type: ignore[union-attr, index]  # a multipart mail
    assert b'"heartbeat.check.raised"' in post.body
    server = await asyncio.start_server(lambda _, writer: answer_ok(writer), "127.0.0.1", port)
    async with server:
        mails, posts = await inbox.wait(2), await hook.wait(2)
    assert b'"heartbeat.check.resolved"' in posts[1].body
    assert mails[0].parsed["Subject"] == mails[1].parsed["Subject"]
    assert await daemon.stop() == 0


def answer_ok(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    writer.close()


async def test_kill_between_the_state_change_and_the_sending_loses_nothing(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    mail_port, hook_port, port = dead_ports(3)
    daemon.write(http_check(f"http://127.0.0.1:{port}/"), receivers(mail_port, hook_port), "notify: [oncall]")
    await daemon.start()
    raised = await daemon.log("raised", check="shop")
    mailed = await daemon.log("delivery", outcome="retried", channel="oncall/email")
    await daemon.log("delivery", outcome="retried", channel="oncall/webhook")
    assert await daemon.stop(signal.SIGKILL) == -signal.SIGKILL
    inbox = await stack.enter_async_context(mail_server(port=mail_port))
    hook = await stack.enter_async_context(webhook_receiver(port=hook_port))
    await daemon.start()
    (mail,) = await inbox.wait(1)
    (post,) = await hook.wait(1)
    assert post.headers["webhook-id"] == raised["event_id"]
    assert mailed["batch"] in mail.parsed["Message-ID"]
    assert await daemon.stop() == 0
    assert len(inbox.mails) == len(hook.requests) == 1


async def test_sigterm_drains_within_the_grace_period(daemon: DaemonProcess, stack: AsyncExitStack) -> None:
    released = asyncio.Event()
    arrived = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await released.wait()
        answer_ok(writer)

    server = await stack.enter_async_context(await asyncio.start_server(slow, "127.0.0.1", 0))
    daemon.write(http_check(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))
    await daemon.start()
    await arrived.wait()
    daemon.send(signal.SIGTERM)
    await daemon.log("stopping")
    released.set()
    assert await daemon.end() == 0
    assert any(line["event"] == "run" and line["outcome"] == "ok" and line["check"] == "shop" for line in daemon.lines)
    assert not (daemon.folder / "heartbeat.sock").exists()


async def test_an_invalid_file_leaves_the_old_configuration_running_and_says_so(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    hook = await stack.enter_async_context(webhook_receiver())
    shop = await stack.enter_async_context(serve(answer(200)))
    top = receivers(dead_ports(1)[0], hook.port)
    daemon.write(http_check(shop.url), top)
    await daemon.start()
    await daemon.run("shop")
    good = daemon.config.read_text()
    daemon.config.write_text(good.replace("    http:", "    htpp:"))
    daemon.send(signal.SIGHUP)
    (post,) = await hook.wait(1)
    assert b"heartbeat.config" in post.body
    assert b"htpp" in post.body
    assert await daemon.sample("heartbeat_config_last_reload_successful") == 0
    await daemon.run("shop", outcome="ok")
    code, said = await daemon.command("reload")
    assert code == 78
    assert "config.yaml:" in said
    daemon.config.write_text(good)
    assert (await daemon.command("reload"))[0] == 0
    assert b"resolved" in (await hook.wait(2))[1].body
    assert await daemon.sample("heartbeat_config_last_reload_successful") == 1


async def test_a_changed_file_reloads_by_itself_and_unchanged_checks_keep_their_history(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    shop = await stack.enter_async_context(serve(answer(200)))
    daemon.write(http_check(shop.url))
    await daemon.start()
    await daemon.run("shop")
    daemon.write(http_check(shop.url) + http_check(shop.url, "cart"))
    await daemon.log("reloaded", changes="1 added")
    await daemon.run("cart")
    runs = await daemon.sample("heartbeat_check_runs_total", check="shop", outcome="ok")
    assert runs is not None
    assert runs >= 2
    daemon.write(http_check(shop.url, "cart"))
    await daemon.log("reloaded", changes="1 removed")
    assert await daemon.sample("heartbeat_check_up", check="shop") is None


async def test_a_plugin_dropped_in_a_folder_works_after_a_reload(daemon: DaemonProcess) -> None:
    top = plugin(daemon, "first", "probe.record('depth', 1)")
    daemon.write("  one: {first: {}}", top)
    await daemon.start()
    await daemon.run("one", outcome="ok")
    plugin(daemon, "second", "probe.record('depth', 2)")
    daemon.write("  one: {first: {}}\n  two: {second: {}}", top)
    code, said = await daemon.command("reload")
    assert code == 0, said
    await daemon.run("two", outcome="ok")
    assert await daemon.sample("heartbeat_probe_depth", check="two") == 2
    plugin(daemon, "second", "probe.record('depth', 3)")
    await daemon.log("reloaded", changes="1 changed")
    await daemon.run("two", outcome="ok", count=2)
    assert await daemon.sample("heartbeat_probe_depth", check="two") == 3


async def test_a_plugin_that_ends_the_process_is_in_quarantine_at_the_next_start(daemon: DaemonProcess) -> None:
    top = plugin(daemon, "deadly", "os._exit(7)")
    plugin(daemon, "fine", "probe.record('depth', 1)")
    daemon.write("  bad: {deadly: {}}\n  good: {fine: {}}", top)
    await daemon.start()
    assert await daemon.end() == 7
    await daemon.start()
    (run,) = await daemon.run("bad")
    assert (run["outcome"], run["reason"]) == ("error", "plugin")
    assert "os._exit(7)" in run["sentence"]
    await daemon.run("good", outcome="ok", count=2)
    plugin(daemon, "deadly", "probe.record('depth', 5)")
    await daemon.run("bad", outcome="ok")


async def test_a_plugin_that_holds_the_loop_ends_the_process_and_is_named(daemon: DaemonProcess) -> None:
    top = plugin(daemon, "heavy", "time.sleep(60)") + "\nstall_limit: 5s"
    daemon.write("  bad: {heavy: {}}", top)
    await daemon.start()
    lost = await daemon.log("the loop is lost; exiting")
    assert lost["check"] == "bad"
    assert "time.sleep(60)" in lost["stack"]
    assert await daemon.end() == 70
    await daemon.start()
    (run,) = await daemon.run("bad")
    assert "held the main loop" in run["sentence"]
    code, said = await daemon.command("status")
    assert code == 0
    assert "broken" in said
    _, said = await daemon.command("status", "--json")
    assert {check["name"]: check["state"] for check in json.loads(said)["checks"]}["bad"] == "broken"


SWALLOWING = """while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    pass"""


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("raising", "raise ValueError('no')", "plugin"),
        ("exiting", "sys.exit(3)", "plugin"),
        ("swallowing", SWALLOWING, "timeout"),
        ("nonsense", "return 5", "plugin"),
        ("nan", "probe.record('depth', float('nan'))", "plugin"),
        ("many", "[probe.record(f'name_{n}', n) for n in range(10_000)]", "plugin"),
        ("printing", "print('hello\\x1b[31m'); raise CheckFailed('x')", "content"),
    ],
)
async def test_a_broken_plugin_never_stops_the_others(daemon: DaemonProcess, name: str, body: str, reason: str) -> None:
    top = plugin(daemon, name, body)
    plugin(daemon, "fine", "probe.record('depth', 1)")
    daemon.write(f"  bad: {{{name}: {{}}}}\n  good: {{fine: {{}}}}", top)
    await daemon.start()
    (run,) = await daemon.run("bad")
    assert run["reason"] == reason
    assert {one["outcome"] for one in await daemon.run("good", count=2)} == {"ok"}
    assert not [line for line in daemon.lines if line["event"] == "raw"]
    assert await daemon.stop() == 0


async def test_a_locked_store_is_our_trouble_and_no_alert_about_the_target_waits_for_it(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    hook = await stack.enter_async_context(webhook_receiver())
    status = [200]

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
        await answer(status[0])(reader, writer, server)

    shop = await stack.enter_async_context(serve(behave))
    daemon.write(http_check(shop.url), receivers(dead_ports(1)[0], hook.port), "notify: [oncall]")
    await daemon.start()
    await daemon.run("shop", outcome="ok")
    with closing(sqlite3.connect(daemon.folder / "heartbeat.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        status[0] = 500
        (post,) = await hook.wait(1, within=20)
        assert b'"shop"' in post.body
        assert b"recorded" in post.body
        posts = await hook.wait(2, within=30)
        assert b"heartbeat.store" in posts[1].body
        other.execute("ROLLBACK")
    posts = await hook.wait(3, within=30)
    assert b"heartbeat.store" in posts[2].body
    status[0] = 200
    await hook.wait(4)
    assert len({post.headers["webhook-id"] for post in hook.requests}) == 4


async def test_forty_hanging_names_do_not_delay_a_healthy_one(daemon: DaemonProcess, stack: AsyncExitStack) -> None:
    shop = await stack.enter_async_context(serve(answer(200)))
    hanging = frozenset(f"hanging-{number}.test" for number in range(40))
    names = await stack.enter_async_context(
        serve_names(NameServer(zone="healthy.test. 60 IN A 127.0.0.1", silent=hanging))
    )
    checks = [http_check(f"http://{name}:{shop.port}/", name.removesuffix(".test")) for name in sorted(hanging)]
    daemon.write("".join(checks) + http_check(f"http://healthy.test:{shop.port}/", "healthy"))
    await daemon.start({"HEARTBEAT_DNS_SERVERS": names.address})
    await daemon.run("hanging-39", count=2, reason="resolve")
    runs = await daemon.run("healthy", count=5)
    assert all(run["outcome"] == "ok" and run["seconds"] < 0.05 for run in runs), runs


@pytest.mark.system("prometheus")
async def test_promtool_accepts_the_page_without_a_word(daemon: DaemonProcess, stack: AsyncExitStack) -> None:
    shop = await stack.enter_async_context(serve(answer(200)))
    hook = await stack.enter_async_context(webhook_receiver())
    (port,) = dead_ports(1)
    checks = http_check(shop.url) + http_check(f"http://127.0.0.1:{port}/", "dead", "    labels: {team: a}\n")
    daemon.write(checks, receivers(dead_ports(1)[0], hook.port), "notify: [oncall]")
    await daemon.start()
    await daemon.run("shop", count=2)
    await hook.wait(1)
    page = (await daemon.get("/metrics")).content
    done = await asyncio.to_thread(
        subprocess.run, ["promtool", "check", "metrics"], input=page, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    series = [line for line in page.splitlines() if b'check="shop"' in line and b"_run_duration_" not in line]
    assert len(series) <= 20, series


@pytest.mark.system("faketime")
@pytest.mark.parametrize("step", [-3600, 3600])
async def test_a_wall_clock_that_is_stepped_changes_no_rhythm_and_raises_nothing(
    daemon: DaemonProcess, stack: AsyncExitStack, step: int
) -> None:
    shop = await stack.enter_async_context(serve(answer(200)))
    hook = await stack.enter_async_context(webhook_receiver())
    daemon.write(http_check(shop.url), receivers(dead_ports(1)[0], hook.port), "notify: [oncall]")
    control = daemon.folder / "faketime"
    control.write_text("+0")
    faked = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(control),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    await daemon.start(faked)
    await daemon.run("shop", count=2)
    control.write_text(f"{step:+d}")
    changed = await daemon.log("the clock changed")
    assert changed["kind"] == "step"
    assert changed["seconds"] == pytest.approx(step, abs=2)
    started = asyncio.get_running_loop().time()
    runs = await daemon.run("shop", count=5)
    assert {run["outcome"] for run in runs} == {"ok"}
    assert 2 < asyncio.get_running_loop().time() - started < 8
    assert await daemon.sample("heartbeat_clock_changes_total", kind="step") == 1
    assert hook.requests == []
    assert (await daemon.get("/-/healthy")).status_code == 200


async def test_the_api_and_the_health_pages_answer(daemon: DaemonProcess, stack: AsyncExitStack) -> None:
    shop = await stack.enter_async_context(serve(answer(200)))
    daemon.write(http_check(shop.url))
    await daemon.start()
    await daemon.run("shop")
    assert (await daemon.get("/-/ready")).status_code == 200
    names = {check["name"] for check in (await daemon.get("/api/v1/checks")).json()["checks"]}
    assert {"shop", "heartbeat.config", "heartbeat.store", "heartbeat.outbox"} <= names
    code, said = await daemon.command("run-now", "shop")
    assert (code, said.split()[:2]) == (0, ["ok", "shop"])
    assert (await daemon.command("run-now", "shopp"))[0] == 65


async def test_a_second_daemon_on_the_same_store_is_refused(daemon: DaemonProcess, stack: AsyncExitStack) -> None:
    shop = await stack.enter_async_context(serve(answer(200)))
    daemon.write(http_check(shop.url))
    await daemon.start()
    code, said = await daemon.command("run")
    assert code == 69
    assert "heartbeat.db" in said


async def test_a_check_removed_while_it_fails_is_withdrawn_also_when_nobody_was_running(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    hook = await stack.enter_async_context(webhook_receiver())
    top = receivers(dead_ports(1)[0], hook.port)
    dead = http_check(f"http://127.0.0.1:{dead_ports(1)[0]}/", "dead")
    also = http_check(f"http://127.0.0.1:{dead_ports(1)[0]}/", "also")
    daemon.write(dead + also, top, "notify: [oncall]")
    await daemon.start()
    await hook.wait(2)
    daemon.write(also, top, "notify: [oncall]")
    assert b'"heartbeat.check.withdrawn"' in (await hook.wait(3))[2].body
    await daemon.stop(signal.SIGKILL)
    daemon.write(http_check(f"http://127.0.0.1:{hook.port}/", "new"), top, "notify: [oncall]")
    await daemon.start()
    assert b'"heartbeat.check.withdrawn"' in (await hook.wait(4))[3].body


async def test_a_restart_during_an_incident_tells_nothing_twice(daemon: DaemonProcess, stack: AsyncExitStack) -> None:
    hook = await stack.enter_async_context(webhook_receiver())
    daemon.write(
        http_check(f"http://127.0.0.1:{dead_ports(1)[0]}/"), receivers(dead_ports(1)[0], hook.port), "notify: [oncall]"
    )
    await daemon.start()
    await hook.wait(1)
    await daemon.log("delivery", outcome="acknowledged", channel="oncall/webhook")
    await daemon.stop(signal.SIGKILL)
    await daemon.start()
    await daemon.run("shop", count=3)
    assert len(hook.requests) == 1

    async def said() -> bool:
        return await daemon.sample("heartbeat_check_severity", check="shop") == 2

    await until(said)


async def test_one_channel_that_hangs_and_one_that_refuses_do_not_hold_up_a_third(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    hanging = await stack.enter_async_context(webhook_receiver())
    hanging.script(*[Misbehaviour.HANG] * 10)
    well = await stack.enter_async_context(webhook_receiver())
    top = f"""
receivers:
  oncall:
    - webhook: {{name: hangs, url: "http://127.0.0.1:{hanging.port}/"}}
    - webhook: {{name: refuses, url: "http://127.0.0.1:{dead_ports(1)[0]}/"}}
    - webhook: {{name: well, url: "http://127.0.0.1:{well.port}/"}}
"""
    checks = "".join(http_check(f"http://127.0.0.1:{port}/", f"dead-{port}") for port in dead_ports(3))
    daemon.write(checks, top, "notify: [oncall]")
    await daemon.start()
    for count in (1, 2, 3):
        post = (await well.wait(count))[-1]
        decided = datetime.fromisoformat(json.loads(post.body)["data"]["at"])
        assert (datetime.now(UTC) - decided).total_seconds() < 2
    assert hanging.requests

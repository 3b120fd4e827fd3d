"""Reloads at bad moments: while checks run, while another reload goes on, at the end, and without resources."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack

from heartbeat.testing.bench import until
from heartbeat.testing.daemon import DaemonProcess
from heartbeat.testing.http import answer, refusing_port, serve, silent
from heartbeat.testing.webhook import webhook_receiver


def check(name: str, port: int, more: str = "") -> str:
    return f"  {name}:\n    http: {{url: 'http://127.0.0.1:{port}/'}}\n{more}"


def receiver(port: int) -> str:
    return f'receivers: {{oncall: [{{webhook: {{url: "http://127.0.0.1:{port}/alerts"}}}}]}}\nself_notify: [oncall]'


def mistakes(daemon: DaemonProcess) -> list[object]:
    """Return what the daemon logged about itself that must never happen."""
    return [line for line in daemon.lines if line.get("level") == "critical" or "exception" in line]


async def test_a_check_renamed_in_an_incident_goes_on_under_its_new_name_also_after_a_restart(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    hook = await stack.enter_async_context(webhook_receiver())
    port = stack.enter_context(refusing_port())
    daemon.write(check("old", port), receiver(hook.port), "notify: [oncall]")
    await daemon.start()
    await hook.wait(1)
    await daemon.log("delivery", outcome="acknowledged")
    daemon.write(check("new", port, "    was: old\n"), receiver(hook.port), "notify: [oncall]")
    await daemon.log("reloaded", changes="1 changed, 1 renamed")
    await daemon.run("new")
    assert await daemon.stop() == 0
    await daemon.start()
    await daemon.run("new", count=2)
    assert await daemon.sample("heartbeat_check_severity", check="new") == 2
    assert len(hook.requests) == 1


async def test_reloads_in_a_row_and_a_stop_among_them_break_nothing(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    shop = await stack.enter_async_context(serve(answer(200)))
    daemon.write(check("one", shop.port) + check("two", shop.port))
    await daemon.start()
    await daemon.run("one")
    daemon.write(check("one", shop.port, "    timeout: 900ms\n") + check("three", shop.port, "    was: two\n"))
    daemon.send(signal.SIGHUP)
    daemon.send(signal.SIGHUP)
    await daemon.log("reloaded", changes="2 changed, 1 renamed")
    daemon.write(check("four", shop.port))
    daemon.send(signal.SIGHUP)
    await asyncio.sleep(0.05)
    assert await daemon.stop() == 0
    assert mistakes(daemon) == []


async def test_a_reload_that_is_not_over_at_the_stop_says_so(daemon: DaemonProcess, stack: AsyncExitStack) -> None:
    shop = await stack.enter_async_context(serve(answer(200)))
    mute = await stack.enter_async_context(serve(silent))
    daemon.write(check("one", shop.port))
    await daemon.start()
    await daemon.run("one")
    switch = f"    enabled: {{http: 'http://127.0.0.1:{mute.port}/'}}\n"
    daemon.write(check("one", shop.port) + check("two", shop.port, switch))
    reload = asyncio.create_task(daemon.command("reload"))
    await until(lambda: mute.connections)
    assert await daemon.stop() == 0
    assert await reload == (65, "the daemon is stopping\n")
    assert mistakes(daemon) == []


async def test_a_process_that_was_stopped_for_longer_than_a_stall_goes_on_and_raises_nothing(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    hook = await stack.enter_async_context(webhook_receiver())
    shop = await stack.enter_async_context(serve(answer(200)))
    daemon.write(check("shop", shop.port), receiver(hook.port) + "\nstall_limit: 5s", "notify: [oncall]")
    await daemon.start()
    await daemon.run("shop", count=2)
    daemon.send(signal.SIGSTOP)
    await asyncio.sleep(12)  # longer than the interval of the daemon's own checks, so that they are late as well
    daemon.send(signal.SIGCONT)
    assert (await daemon.log("the clock changed"))["kind"] == "pause"
    await daemon.run("heartbeat.scheduler", outcome="ok")
    await daemon.run("shop", count=3, outcome="ok")
    assert hook.requests == []
    paused = await daemon.sample("heartbeat_scheduler_missed_runs_total", reason="paused")
    assert paused is not None
    assert paused >= 10


HUNGRY = """
import os, resource
from heartbeat import Check, Probe

class Hungry(Check):
    async def run(self, probe: Probe) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, most))
"""


async def test_a_reload_without_descriptors_is_refused_and_the_daemon_goes_on(daemon: DaemonProcess) -> None:
    folder = daemon.folder / "plugins"
    folder.mkdir()
    (folder / "hungry.py").write_text(HUNGRY)
    daemon.write("  mine: {hungry: {}}", "plugins: [plugins]")
    await daemon.start()
    await daemon.run("mine")
    daemon.send(signal.SIGHUP)
    refused = await daemon.log("the configuration is invalid; the old one runs on")
    assert "Too many open files" in refused["problem"]
    await daemon.run("mine")
    assert mistakes(daemon) == []

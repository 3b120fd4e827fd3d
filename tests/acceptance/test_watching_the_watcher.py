"""What tells that the daemon itself has fallen silent, and that a way out leads nowhere; and who was told what."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from heartbeat.testing.daemon import DaemonProcess, until
from heartbeat.testing.http import answer, refusing_port, serve
from heartbeat.testing.webhook import Answer, Receiver, webhook_receiver

FAKETIME = next(Path("/usr/lib").rglob("faketime/libfaketime.so.1"), None)


def ways(oncall: Receiver, operators: Receiver) -> str:
    return f"""
receivers:
  oncall: [webhook: {{url: "{oncall.url}"}}]
  operators: [webhook: {{url: "{operators.url}"}}]
self_notify: [operators]
"""


def check(url: str) -> str:
    return f'  shop:\n    http: {{url: "{url}"}}\n'


@pytest.fixture
async def two(stack: AsyncExitStack) -> tuple[Receiver, Receiver]:
    return await stack.enter_async_context(webhook_receiver()), await stack.enter_async_context(webhook_receiver())


async def test_the_outside_is_called_only_while_results_are_written(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    shop = await stack.enter_async_context(serve(answer(200)))
    outside = await stack.enter_async_context(webhook_receiver())
    daemon.write(check(shop.url), f'watchdog: {{url: "{outside.url}", every: 1s}}')
    await daemon.start()
    calls = await outside.wait(2)
    assert {call.method for call in calls} == {"GET"}
    assert await daemon.sample("heartbeat_watchdog_withheld") == 0
    last = await daemon.sample("heartbeat_watchdog_last_success_timestamp_seconds")
    assert last == pytest.approx(time.time(), abs=10)
    with closing(sqlite3.connect(daemon.folder / "heartbeat.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        withheld = await daemon.log("the outside watchdog is not called any more")
        assert "lock" in str(withheld["reasons"])
        silent = len(outside.requests)
        assert await daemon.sample("heartbeat_watchdog_withheld") == 1
        code, said = await daemon.command("status")
        assert code == 0
        assert "watchdog problem: it is not called" in said
        other.execute("ROLLBACK")
    await daemon.log("the outside watchdog is called again")
    await outside.wait(silent + 1)
    assert not [line for line in daemon.lines if "CANARY" in json.dumps(line)]
    assert await daemon.stop() == 0


async def test_a_plugin_that_hangs_for_ever_keeps_the_outside_from_being_called(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    outside = await stack.enter_async_context(webhook_receiver())
    (daemon.folder / "plugins").mkdir()
    (daemon.folder / "plugins" / "hung.py").write_text(
        "import time\nfrom heartbeat import Check\n\n\n"
        "class Hung(Check):\n    def run(self, probe):\n        time.sleep(3600)\n"
    )
    daemon.write("  stuck:\n    hung: {}\n", f'plugins: [plugins]\nwatchdog: {{url: "{outside.url}", every: 1s}}\n')
    await daemon.start()
    withheld = await daemon.log("the outside watchdog is not called any more", reasons=["checks do not run: stuck"])
    assert withheld["level"] == "error"
    assert await daemon.sample("heartbeat_scheduler_overdue_checks") == 1


@pytest.mark.system("faketime")
async def test_a_drill_goes_the_real_way_and_a_refused_one_is_told_by_another(
    daemon: DaemonProcess, stack: AsyncExitStack, two: tuple[Receiver, Receiver]
) -> None:
    oncall, operators = two
    oncall.script(Answer(), Answer(410))
    drill = 'drill: {receiver: oncall, cron: "* * * * *", within: 10s}'
    daemon.write(" {}", ways(oncall, operators) + drill)
    control = daemon.folder / "faketime"
    control.write_text(f"{(57 - time.time()) % 60:+.3f}")  # three seconds before a full minute
    faked = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(control),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    await daemon.start(faked)
    (post,) = await oncall.wait(1, within=20)
    document = json.loads(post.body)
    assert document["type"] == "heartbeat.check.drill"
    assert "nothing is wrong" in document["data"]["sentence"]
    delivery = await daemon.log("delivery", outcome="acknowledged", kind="drill")
    assert operators.requests == []
    control.write_text(f"{(57 - time.time()) % 60 + 60:+.3f}")
    await oncall.wait(2, within=20)
    alerts = [json.loads(post.body)["data"] for post in await operators.wait(2, within=20)]
    told = {alert["check"]: alert for alert in alerts}
    assert set(told) == {"heartbeat.drill.oncall", "heartbeat.outbox"}  # a dead letter is both
    assert told["heartbeat.drill.oncall"]["kind"] == "raised"
    assert "410" in told["heartbeat.drill.oncall"]["sentence"]
    code, said = await daemon.command("deliveries", "--check", "heartbeat.drill.oncall")
    assert code == 0
    assert f"delivery {delivery['delivery']}" in said
    assert said.index("acknowledged") < said.index("dead") < said.index("raised")


async def test_who_was_told_what_is_logged_and_a_dead_letter_is_sent_again(
    daemon: DaemonProcess, stack: AsyncExitStack, two: tuple[Receiver, Receiver]
) -> None:
    oncall, operators = two
    oncall.script(Answer(410))
    with refusing_port() as port:
        daemon.write(check(f"http://127.0.0.1:{port}/"), ways(oncall, operators), "notify: [oncall]")
        await daemon.start()
        dead = await daemon.log("delivery", outcome="dead", check="shop")
        await until(lambda: is_listed(daemon, "--dead"))
        code, said = await daemon.command("deliveries", "--incident", dead["incident"], "--dead")
        assert code == 0
        assert re.search(r"oncall/webhook: dead at .* by the first attempt: .*410", said), said
        incident = (await daemon.get(f"/api/v1/incidents/{dead['incident']}")).json()
        assert [one["state"] for one in incident["deliveries"]] == ["dead"]
        code, said = await daemon.command("deliveries", "--replay", dead["delivery"])
        assert (code, said) == (0, "raised of shop goes out to oncall/webhook once more\n")
        posts = await oncall.wait(2)
        assert posts[0].headers["webhook-id"] == posts[1].headers["webhook-id"]
        await daemon.log("delivery", outcome="acknowledged", delivery=dead["delivery"])
        code, said = await daemon.command("deliveries", "--replay", "dlv_nope")
        assert code == 65
        assert "there is no delivery dlv_nope" in said
    assert await daemon.stop() == 0
    code, said = await daemon.command("deliveries", "--json", "--check", "shop")
    assert code == 0
    assert json.loads(said)["deliveries"][-1]["state"] == "acknowledged"


async def is_listed(daemon: DaemonProcess, *options: str) -> bool:
    return "delivery dlv_" in (await daemon.command("deliveries", *options))[1]

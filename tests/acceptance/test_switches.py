"""Switches of the real process: a file, an address, a flag; off and on again, and over a kill."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from textwrap import dedent

from heartbeat.testing.daemon import DaemonProcess, until
from heartbeat.testing.http import Server, answer, serve

FLAGS = """
    from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

    class FromFolder(InMemoryProvider):
        def __init__(self, folder):
            super().__init__({})
            self.folder = folder

        def resolve_boolean_details(self, flag_key, default_value, evaluation_context=None):
            with open(f"{self.folder}/{flag_key}-{evaluation_context.targeting_key}") as opened:
                self._flags = {flag_key: InMemoryFlag(opened.read(), {"on": True, "off": False})}
            return super().resolve_boolean_details(flag_key, default_value, evaluation_context)
"""


class Page:
    """What a server answers, to be changed by the test; checks ask below /shop, switches below /flag."""

    def __init__(self) -> None:
        self.body, self.status = b'{"shop": true}', 200

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
        await answer(self.status, body=self.body)(reader, writer, server)


def check(name: str, port: int, enabled: str) -> str:
    return f"  {name}:\n    every: 1s\n    enabled: {enabled}\n    http: {{url: 'http://127.0.0.1:{port}/'}}\n"


async def is_off(daemon: DaemonProcess, name: str) -> bool:
    return await daemon.sample("heartbeat_check_suppressed", check=name, reason="disabled") == 1


async def has_forgotten(daemon: DaemonProcess, name: str) -> bool:
    return (await daemon.get(f"/api/v1/checks/{name}")).json()["last_run"] is None


async def is_on(daemon: DaemonProcess, name: str) -> bool:
    return not await is_off(daemon, name)


async def test_a_file_switches_a_check_off_everywhere_and_on_again(
    daemon: DaemonProcess, stack: AsyncExitStack, tmp_path: Path
) -> None:
    shop = await stack.enter_async_context(serve(answer(200)))
    path = tmp_path / "canary"
    path.write_text("on")
    daemon.write(check("shop", shop.port, f"{{file: {path}}}") + check("other", shop.port, "true"))
    await daemon.start()
    await daemon.run("shop")
    path.write_text("off\n")
    await daemon.log("switched", on=False, checks="shop")
    await until(lambda: is_off(daemon, "shop"))
    await until(lambda: has_forgotten(daemon, "shop"))  # a run that was under way still brought something
    seen = len([line for line in daemon.lines if line.get("event") == "run" and line["check"] == "shop"])
    why = f"switched off by the file {path}"
    described = (await daemon.get("/api/v1/checks/shop")).json()
    assert (described["state"], described["suppressed"]["sentence"], described["last_run"]) == ("disabled", why, None)
    assert [one["reason"] for one in (await daemon.get("/api/v1/quiet")).json()["disabled"]] == [why]
    for words in (("status",), ("silence", "list"), ("explain", "shop")):
        code, said = await daemon.command(*words)
        assert (code, why in said) == (0, True), said
    for words in (("run-now", "shop"), ("enable", "shop")):
        assert await daemon.command(*words) == (65, f"shop is {why}; only that can switch it on\n")
    await daemon.run("other", count=3)
    assert await daemon.sample("heartbeat_check_last_run_timestamp_seconds", check="shop") is None
    assert await daemon.sample("heartbeat_scheduler_overdue_checks") == 0
    assert len([line for line in daemon.lines if line.get("event") == "run" and line["check"] == "shop"]) <= seen + 1
    path.write_text("on")
    await until(lambda: is_on(daemon, "shop"))
    await daemon.run("shop")
    assert await daemon.stop() == 0


async def test_what_an_address_said_last_holds_over_a_kill_while_it_is_down(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    shop = await stack.enter_async_context(serve(answer(200)))
    page = Page()
    page.body = b'{"shop": false}'
    flags = await stack.enter_async_context(serve(page))
    asked = f"{{http: 'http://127.0.0.1:{flags.port}/flags?key=swordfish', json: $.shop, every: 1s}}"
    daemon.write(check("shop", shop.port, asked) + check("mail", shop.port, asked) + check("other", shop.port, "on"))
    await daemon.start()
    assert await is_off(daemon, "shop")
    await daemon.run("other", count=2)
    assert await daemon.stop(signal.SIGKILL) == -signal.SIGKILL
    page.status = 503
    await daemon.start()
    await daemon.log("a switch says nothing", problem="it answers 503", said_last=False, checks="shop, mail")
    await daemon.run("other", count=3)
    assert await is_off(daemon, "mail")
    assert [line for line in daemon.lines if line.get("event") == "run" and line["check"] in ("shop", "mail")] == []
    code, said = await daemon.command("status")
    assert (code, "as it said last; nobody has known since" in said, "swordfish" in said) == (0, True, False)
    assert len([line for line in daemon.lines if line.get("event") == "a switch says nothing"]) == 1
    assert shop.requests
    page.status, page.body = 200, b'{"shop": true}'
    await daemon.run("shop")
    await daemon.run("mail")
    page.status = 503
    await until(lambda: doubted(daemon, "shop"))
    await daemon.run("shop")  # what nobody knows switches nothing off
    assert await daemon.stop() == 0


async def doubted(daemon: DaemonProcess, name: str) -> bool:
    return bool((await daemon.get(f"/api/v1/checks/{name}")).json()["switch_problem"])


async def test_flags_of_a_provider_and_variables_and_a_reload(
    daemon: DaemonProcess, stack: AsyncExitStack, tmp_path: Path
) -> None:
    shop = await stack.enter_async_context(serve(answer(200)))
    (tmp_path / "company_flags.py").write_text(dedent(FLAGS))
    for name, said in (("shop", "off"), ("mail", "on")):
        (tmp_path / f"canary-{name}").write_text(said)
    top = f"flags: {{provider: 'company_flags:FromFolder', options: {{folder: {tmp_path}}}}}"
    flag = "{flag: canary, every: 1s}"
    checks = check("shop", shop.port, flag) + check("mail", shop.port, flag)
    daemon.write(checks + check("var", shop.port, "{env: SYNTHETIC_VAR}"), top)
    await daemon.start({"PYTHONPATH": str(tmp_path), "SYNTHETIC_VAR": "off"})
    await daemon.run("mail", count=2)
    assert (await is_off(daemon, "shop"), await is_on(daemon, "mail")) == (True, True)
    assert (await daemon.get("/api/v1/checks/var")).json()["suppressed"]["sentence"] == (
        "switched off by the variable SYNTHETIC_VAR"
    )
    (tmp_path / "canary-shop").write_text("on")
    (tmp_path / "canary-mail").unlink()
    await daemon.run("shop")
    warned = await daemon.log("a switch says nothing", checks="mail", said_last=True)
    assert "No such file" in warned["problem"]
    assert await is_on(daemon, "mail")
    daemon.write(check("mail", shop.port, "false") + check("shop", shop.port, "on"), "")
    await daemon.log("reloaded")
    await until(lambda: is_off(daemon, "mail"))
    await daemon.run("shop", count=2)
    assert await daemon.stop() == 0

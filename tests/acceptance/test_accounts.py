"""Test accounts in the real daemon: one run at a time, and passwords that are replaced while it runs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from heartbeat.testing.daemon import DaemonProcess
from heartbeat.testing.http import Server, head, receive, serve

PLUGIN = '''
from heartbeat import Check, CheckFailed, Probe

class Login(Check):
    """Log in, and out again."""
    base: str

    async def run(self, probe: Probe) -> None:
        async with probe.account("shopper") as account:
            while True:
                login = {"user": account["user"], "password": account["password"]}
                answer = await probe.http.get(f"{self.base}/login", params=login)
                if answer.status_code == 200:
                    break
                if not await account.refuse():
                    raise CheckFailed("the shop refuses the account", reason="auth")
            account.accept()
            await probe.http.get(f"{self.base}/logout")
'''


class Shop:
    """A shop that takes some passwords, and sees who is logged in."""

    def __init__(self, *takes: str) -> None:
        self.takes = set(takes)
        self.tried: list[str] = []
        self.inside = self.most = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
        where = urlsplit((await receive(reader, server)).path)
        if where.path == "/logout":
            self.inside -= 1
            writer.write(head(200))
        else:
            password = parse_qs(where.query)["password"][0]
            self.tried.append(password)
            writer.write(head(await self._log_in(password)))

    async def _log_in(self, password: str) -> int:
        if password not in self.takes:
            return 401
        self.inside += 1
        self.most = max(self.most, self.inside)
        await asyncio.sleep(0.1)  # long enough for another run to come in between
        return 200


def furnish(daemon: DaemonProcess, shop: Server, later: str = "") -> Path:
    """Write a configuration with two checks on one account; return the file with its password."""
    secret = daemon.folder / "password"
    (daemon.folder / "checks.d").mkdir()
    (daemon.folder / "checks.d" / "login.py").write_text(PLUGIN)
    account = f"{{user: synthetic, password: '${{file:{secret}}}'{later}}}"
    check = f"{{every: 3s, timeout: 3s, login: {{base: 'http://127.0.0.1:{shop.port}'}}}}"
    daemon.write(f"  one: {check}\n  two: {check}", f"plugins: [./checks.d]\naccounts: {{shopper: {account}}}")
    return secret


def failed(daemon: DaemonProcess) -> list[object]:
    runs = (line for line in daemon.lines if line.get("event") == "run" and line.get("check") in ("one", "two"))
    return [line for line in runs if line["outcome"] != "ok"]


async def test_a_password_that_is_replaced_while_runs_go_on_fails_none_of_them(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    shop = Shop("first-password")
    secret = furnish(daemon, await stack.enter_async_context(serve(shop)))
    secret.write_text("first-password")
    await daemon.start()
    await asyncio.gather(daemon.run("one"), daemon.run("two"))
    for password in ("second-password", "third-password"):
        shop.takes = {password}
        (daemon.folder / "draft").write_text(password)
        (daemon.folder / "draft").replace(secret)
        await asyncio.gather(daemon.run("one", 2), daemon.run("two", 2))
        assert shop.tried[-1] == password, shop.tried
    assert failed(daemon) == []
    assert shop.most == 1
    assert await daemon.sample("heartbeat_account_credential_refused", account="shopper", slot="current") == 0
    assert await daemon.sample("heartbeat_account_leases_waiting", account="shopper") is not None
    assert await daemon.stop() == 0


async def test_the_old_password_that_fails_while_the_next_one_works_warns_also_after_a_restart_until_it_is_replaced(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    shop = Shop("first-password")
    server = await stack.enter_async_context(serve(shop))
    secret = furnish(daemon, server, ", next: {password: '${secret:SHOP_NEXT}'}")
    secret.write_text("first-password")
    environ = {"SHOP_NEXT": "second-password"}
    await daemon.start(environ)
    await daemon.run("one")
    assert shop.tried[-1] == "first-password"
    shop.takes = {"second-password"}
    warned = await daemon.log("run", check="heartbeat.accounts", severity="warn")
    assert "account shopper: its password is refused since" in warned["sentence"]
    assert "; the one under next works: put it in its place" in warned["sentence"]
    await daemon.run("one", 2)
    assert shop.tried.count("first-password") <= len(shop.tried) - 2
    assert await daemon.sample("heartbeat_account_credential_refused", account="shopper", slot="current") == 1
    assert failed(daemon) == []
    assert await daemon.stop() == 0

    shop.tried.clear()
    await daemon.start(environ)
    await daemon.log("run", check="heartbeat.accounts", severity="warn")
    await asyncio.gather(daemon.run("one"), daemon.run("two"))
    assert set(shop.tried) == {"second-password"}
    secret.write_text("second-password")
    await daemon.log("run", check="heartbeat.accounts", severity="ok")
    assert failed(daemon) == []
    assert await daemon.stop() == 0

    told = "".join(map(str, daemon.lines)).encode()
    for kept in (told, (daemon.folder / "heartbeat.db").read_bytes()):
        assert b"first-password" not in kept
        assert b"second-password" not in kept

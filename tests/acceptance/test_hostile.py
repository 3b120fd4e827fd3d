"""Hostile plugins, hostile targets and tired operators: the real process keeps going, and says what to change."""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest

from heartbeat.testing.daemon import DaemonProcess, until
from heartbeat.testing.http import Server, answer, raw, receive, refusing_port, reset_after, serve, silent
from heartbeat.testing.smtp import mail_server
from heartbeat.testing.webhook import webhook_receiver


def plugin(daemon: DaemonProcess, name: str, body: str, *, kind: str = "async def", top: str = "") -> str:
    """Write a plugin whose ``run`` has this body, and return the top level that names its folder."""
    folder = daemon.folder / "plugins"
    folder.mkdir(exist_ok=True)
    source = f"""\
import asyncio, os, sys, threading, time
from heartbeat import Check, CheckBroken, CheckFailed, Probe
{dedent(top)}
class Plugin(Check):
    {kind} run(self, probe: Probe) -> None:
{indent(dedent(body).strip(), "        ")}
"""
    (folder / f"{name}.py").write_text(source)
    return "plugins: [plugins]"


GOOD = "probe.record('depth', 1)"


async def test_a_plugin_that_hangs_in_a_thread_is_a_timeout_then_busy_and_holds_up_no_stop(
    daemon: DaemonProcess,
) -> None:
    top = plugin(daemon, "hanging", "time.sleep(3600)", kind="def")
    plugin(daemon, "fine", GOOD)
    daemon.write("  bad: {hanging: {}}\n  good: {fine: {}}", top)
    await daemon.start()
    (run,) = await daemon.run("bad")
    assert (run["outcome"], run["reason"]) == ("fail", "timeout")
    assert 0.998 <= run["seconds"] < 1.3  # uvloop counts in milliseconds
    await daemon.log("missed", check="bad", reason="busy")
    assert {one["outcome"] for one in await daemon.run("good", count=2)} == {"ok"}
    assert await daemon.sample("heartbeat_scheduler_missed_runs_total", reason="busy")
    started = time.monotonic()
    assert await daemon.stop() == 0
    assert time.monotonic() - started < 7


async def test_a_thread_that_a_plugin_left_behind_holds_up_no_stop(daemon: DaemonProcess) -> None:
    top = plugin(daemon, "forgetful", "threading.Thread(target=time.sleep, args=(3600,)).start()")
    daemon.write("  bad: {forgetful: {}}", top)
    await daemon.start()
    await daemon.run("bad")
    started = time.monotonic()
    assert await daemon.stop() == 0
    assert time.monotonic() - started < 7


LATE = """
def later():
    time.sleep(1.5)
    probe.record("depth", 2)
threading.Thread(target=later).start()
await asyncio.sleep(60)
"""
UNPRINTABLE = """
class Nasty(Exception):
    def __str__(self): raise ValueError("no words")
    __repr__ = __str__
raise Nasty
"""
MUTE_EVIDENCE = """
class Nasty(Exception):
    def __str__(self): raise ValueError("no words")
def tell(): raise Nasty
probe.note("state", tell)
raise CheckFailed("it is bad")
"""
LEAKING = """
async def leak(): await asyncio.sleep(0.3); sys.exit(9)
globals().setdefault("kept", []).append(asyncio.create_task(leak()))
asyncio.get_running_loop().call_later(0.2, sys.exit, 8)
"""
RECURSING = """
def dig(): return dig()
dig()
"""
FORKING = """
import warnings; warnings.simplefilter("ignore")
pid = os.fork()
if pid:
    os.waitpid(pid, 0)
"""
CASES: dict[str, tuple[str, str, str]] = {
    "late": (LATE, "fail", "timeout"),
    "unprintable": (UNPRINTABLE, "error", "plugin"),
    "mute": (MUTE_EVIDENCE, "fail", "content"),
    "leaking": (LEAKING, "ok", ""),
    "recursing": (RECURSING, "error", "plugin"),
    "forking": (FORKING, "ok", ""),
    "huge": ("raise ValueError('x' * 100_000_000)", "error", "plugin"),
    "hugefail": ("raise CheckFailed('x' * 100_000_000)", "fail", "content"),
    "environ": ("os.environ.clear(); os.chdir('/')", "ok", ""),
    "timeless": ("time.time = lambda: 5.0; time.monotonic = lambda: 7.0; time.perf_counter = lambda: 1.0", "ok", ""),
    "chatty": ("for n in range(1_000_000): print(n)", "fail", "timeout"),
    "shallow": ("sys.setrecursionlimit(80)", "ok", ""),
    "interrupting": ("raise KeyboardInterrupt", "error", "plugin"),
    "generator": ("raise GeneratorExit", "error", "plugin"),
    "stop": ("raise StopAsyncIteration", "error", "plugin"),
    "cancelling": ("raise asyncio.CancelledError", "error", "plugin"),
    "grouped": ("raise BaseExceptionGroup('g', [SystemExit(3), KeyboardInterrupt()])", "error", "plugin"),
}


CLOSING = """
try: os.close(2)
except OSError: pass
"""


async def test_hostile_plugins_harm_nobody_else(daemon: DaemonProcess, stack: AsyncExitStack) -> None:
    target = await stack.enter_async_context(serve(answer(200)))
    checks = f'  good: {{fine: {{}}}}\n  web: {{http: {{url: "{target.url}"}}}}\n'
    top = plugin(daemon, "fine", GOOD)
    wanted = {}
    for name, (body, outcome, reason) in CASES.items():
        needs_loop = "asyncio" in body or "await" in body
        for kind in ["async def"] if needs_loop else ["def"] if name == "chatty" else ["def", "async def"]:
            named = f"{name}_{kind.split()[0]}"
            plugin(daemon, named, body, kind=kind)
            checks += f"  {named}: {{{named}: {{}}}}\n"
            wanted[named] = (outcome, reason)
    daemon.write(checks, top)
    daemon.config.write_text(daemon.config.read_text().replace("every: 1s", "every: 3s"))
    await daemon.start()
    found = {name: (await daemon.run(name, count=1))[0] for name in wanted if not _runs(daemon, name)}
    found |= {name: _runs(daemon, name)[0] for name in wanted}
    assert {name: (run["outcome"], run["reason"] or "") for name, run in found.items()} == wanted
    assert all(len(run["sentence"] or "") <= 500 for run in found.values())
    assert found["late_async"]["seconds"] < 1.5
    for name in ("good", "web"):
        assert {one["outcome"] for one in await daemon.run(name, count=2)} == {"ok"}
    assert (await daemon.get("/-/healthy")).status_code == 200
    code, said = await daemon.command("reload")
    assert code == 0, said
    assert not [line for line in daemon.lines if line["event"] in ("raw", "the clock changed")]
    assert not [line for line in daemon.lines if "report this" in line["event"]]
    assert await daemon.stop() == 0


def _runs(daemon: DaemonProcess, name: str) -> list[dict[str, Any]]:
    return [line for line in daemon.lines if line["event"] == "run" and line["check"] == name]


async def test_the_log_flows_into_no_connection_when_a_plugin_closes_its_descriptor(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read(100_000))
        writer.close()

    server = await stack.enter_async_context(await asyncio.start_server(listen, "127.0.0.1", 0))
    top = plugin(daemon, "closing", CLOSING)
    port = server.sockets[0].getsockname()[1]
    daemon.write(
        f"  bad: {{closing: {{}}}}\n  web: {{tcp: {{host: 127.0.0.1, port: {port}, send: hi, expect: never}}}}", top
    )
    await daemon.start()
    await daemon.run("bad", count=2)
    await daemon.run("web", count=2)
    assert await daemon.stop() == 0
    await daemon.log("stopped")
    assert set(heard.decode()) <= set("hi")


async def test_a_plugin_that_ends_the_process_at_its_import_spoils_only_the_reload(daemon: DaemonProcess) -> None:
    top = plugin(daemon, "fine", GOOD)
    daemon.write("  good: {fine: {}}", top)
    await daemon.start()
    for body in ("os._exit(5)", "sys.exit(6)", "os.kill(os.getpid(), 9)", "raise KeyboardInterrupt"):
        plugin(daemon, "deadly", "pass", top=body)
        code, said = await daemon.command("reload", "--socket", str(daemon.folder / "heartbeat.sock"))
        assert code == 78
        assert "deadly" in said
        await daemon.run("good", outcome="ok")
    assert await daemon.stop() == 0


@pytest.mark.parametrize("body", ["os._exit(5)", "sys.exit(6)", "1 / 0", "def"])
async def test_a_start_with_a_plugin_that_does_not_import_says_which(daemon: DaemonProcess, body: str) -> None:
    top = plugin(daemon, "deadly", "pass", top=body)
    daemon.write("  bad: {deadly: {}}", top)
    for command in ("run", "validate"):
        code, said = await daemon.command(command)
        assert code == 78, said
        assert "deadly.py:3" in said


async def test_once_of_a_plugin_that_does_not_end_comes_to_an_end(daemon: DaemonProcess) -> None:
    swallow = """
        print("hello")
        while True:
            try: await asyncio.sleep(60)
            except asyncio.CancelledError: pass
    """
    daemon.write("  bad: {swallowing: {}}", plugin(daemon, "swallowing", swallow))
    code, said = await daemon.command("once", "bad")
    assert code == 2, said
    assert "no result within 1 s" in said
    assert "hello" in said


# --- hostile targets -----------------------------------------------------------------------------------------------

FORGED = "x\x1b[2J\x1b[31m\r\nBcc: everybody@example.com\r\n\u202egnp.exe <script>alert(1)</script> @everyone"
NASTY = (
    b"HTTP/1.1 500 \x1b[31mred \xff\xfe <b>@everyone</b>\r\n"
    b"X-Escape: \x1b]0;owned\x07 \xff\xfe\xe2\x80\xae <script>alert(1)</script>\r\n"
    b"Subject\x0b: =?utf-8?q?hi?=\r\nX-Fold: a\r\n b\r\nConnection: close\r\n\r\n"
    b"<script>alert(1)</script><img src=http://evil.example/x.png> @everyone @here\r\n.\r\nBcc: x@example.com\r\n\r\n"
    b'\x1b[31m\x00\xff\xfe\xed\xa0\x80\xe2\x80\xae\xe2\x80\xa8{"level": "critical"}\nFrom nobody\n'
    + b"\xf0\x9f\x92\xa9"
    * 900
)


def long_head(line: bytes) -> bytes:
    return b"HTTP/1.1 200 " + line + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


async def test_what_a_hostile_target_says_forges_nothing(daemon: DaemonProcess, stack: AsyncExitStack) -> None:
    inbox = await stack.enter_async_context(mail_server())
    hook = await stack.enter_async_context(webhook_receiver())
    bombs = {
        "nasty": NASTY,
        "reason": long_head(b"A" * 1_000_000),
        "lines": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(100_000)) + b"\r\n",
        "wide": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 2_000_000 + b"\r\n\r\n",
        "informing": b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000,
        "file": b"HTTP/1.1 302 x\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
        "metadata": b"HTTP/1.1 302 x\r\nLocation: http://169.254.169.254/latest/\r\nContent-Length: 0\r\n\r\n",
        "gopher": b"HTTP/1.1 302 x\r\nLocation: gopher://127.0.0.1:25/_EHLO\r\nContent-Length: 0\r\n\r\n",
        "forged": "HTTP/1.1 302 x\r\nLocation: http://[\x1b[31m\u202e\r\nContent-Length: 0\r\n\r\n".encode(),
        "zero": b"\x00" * 100_000,
        "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
        "banner": b"SSH-2.0-\x1b[31mOpenSSH\r\n\xff\xfe" * 2,
    }
    checks = ""
    for name, said in bombs.items():
        server = await stack.enter_async_context(serve(raw(said)))
        checks += f'  {name}:\n    http: {{url: "{server.url}"}}\n'
        checks += f"  {name}-tcp:\n    tcp: {{host: 127.0.0.1, port: {server.port}, "
        checks += 'send: "GET / x\\r\\n\\r\\n", expect: "never"}\n'
    itself = await stack.enter_async_context(serve(again_and_again))
    checks += f'  itself:\n    http: {{url: "{itself.url}"}}\n'
    top = f"""
receivers:
  oncall:
    - email: {{to: [oncall@example.com], from: hb@example.com, server: "smtp://127.0.0.1:{inbox.port}", tls: none,
              group_wait: 0s, max_per_hour: 3600}}
    - webhook: {{url: "http://127.0.0.1:{hook.port}/alerts"}}
"""
    daemon.write(checks, top, "notify: [oncall]")
    daemon.config.write_text(daemon.config.read_text().replace("every: 1s", "every: 5s"))
    await daemon.start()
    count = checks.count("\n    http:") + checks.count("\n    tcp:")
    mails = await inbox.wait(count, within=30)
    posts = await hook.wait(count, within=30)
    assert all(_runs(daemon, name)[0]["outcome"] == "fail" for name in [*bombs, "itself"])
    assert "metadata address" in _runs(daemon, "metadata")[0]["sentence"]
    for mail in mails:
        assert mail.recipient == "oncall@example.com"
        assert mail.parsed["Bcc"] is None
        assert len(mail.content) < 100_000
        assert max(map(len, mail.content.split(b"\r\n"))) <= 998
        for part in mail.parsed.walk():
            text = (part.get_payload(decode=True) or b"").decode()  # type: ignore[union-attr]  # bytes, as parts are decoded
            assert not set(text) & set(
                map(chr, [*range(9), 11, 12, *range(14, 32), 127, *range(128, 160), 0x202E, 0x2028])
            )
            assert part.get_content_type() != "text/html" or "<script" not in text
            assert part.get_content_type() != "text/html" or "<img" not in text
    for post in posts:
        assert len(post.body) < 100_000
        assert b"\\u001b" not in post.body
    assert not [line for line in daemon.lines if line["event"] == "raw"]
    assert all(
        set(line["sentence"] or "").isdisjoint("\x1b\n\r\u202e") for line in daemon.lines if line["event"] == "run"
    )
    code, shown = await daemon.command("once", "nasty", "forged", "banner-tcp")
    assert code == 2
    assert set(shown).isdisjoint("\x1b\x00\u202e\u2028\r")
    assert await daemon.stop() == 0


async def again_and_again(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
    await receive(reader, server)
    writer.write(f"HTTP/1.1 302 x\r\nLocation: {server.url}\r\nContent-Length: 0\r\n\r\n".encode())
    await writer.drain()


# --- tired operators -----------------------------------------------------------------------------------------------


async def told(daemon: DaemonProcess, *words: str) -> tuple[int, str]:
    """Run a command that cannot succeed; a traceback is no message."""
    code, said = await daemon.command(*words)
    assert "Traceback" not in said, said
    return code, said


FILES: dict[str, bytes] = {
    "empty": b"",
    "blank": b"\n\n# nothing\n",
    "binary": bytes(range(256)) * 50,
    "elf": b"\x7fELF\x02\x01\x01" + bytes(500),
    "utf16": "checks: {}\n".encode("utf-16"),
    "latin1": "checks: {a: {tcp: {host: caf\xe9, port: 1}}}\n".encode("latin-1"),
    "large": b"# " + b"x" * 10_000_000,
    "tabs": b"checks:\n\ta:\n\t\ttcp: {host: a, port: 1}\n",
    "list": b"- a\n- b\n",
    "text": b"hello world",
    "json": b'{"checks": {"a": {"tcp": {"host": "a", "port": "x"}}}}',
    "two": b"checks: {}\n---\nchecks: {}\n",
    "null": b"checks:\n",
    "bomb": b"a: &a [x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]\nchecks: [*c,*c,*c]\n",
    "deep": b"checks: " + b"[" * 5000,
    "tag": b"checks: !!python/object/apply:os.system [id]\n",
}


@pytest.mark.parametrize("name", FILES)
async def test_a_file_that_is_no_configuration_is_refused_with_what_to_change(daemon: DaemonProcess, name: str) -> None:
    daemon.config.write_bytes(FILES[name])
    code, said = await told(daemon, "validate")
    assert code == 78
    assert all(str(daemon.config) in line for line in said.splitlines())
    assert 1 <= len(said.splitlines()) <= 5
    assert len(said) < 2000
    assert said.isprintable() or set(said) - {"\n"} == {c for c in said if c.isprintable()}


def _with(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.timeout(150)
async def test_what_keeps_a_daemon_from_starting_is_said_with_what_to_change(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    shop = await stack.enter_async_context(serve(answer(200)))
    daemon.write(f'  shop:\n    http: {{url: "{shop.url}"}}')
    good = daemon.config.read_text()
    (daemon.folder / "folder.db").mkdir()
    (daemon.folder / "plain").write_text("x")
    (daemon.folder / "junk.db").write_bytes(b"this is no database " * 400)
    store = f"sqlite:///{daemon.folder}/heartbeat.db"
    bad = {
        "port": (_with(good, "127.0.0.1:0", f"127.0.0.1:{shop.port}"), 69, f"{shop.port}"),
        "address": (_with(good, "127.0.0.1:0", "192.0.2.1:9"), 69, "192.0.2.1"),
        "folder": (_with(good, store, f"sqlite:///{daemon.folder}/folder.db"), 69, "folder.db"),
        "under a file": (_with(good, store, f"sqlite:///{daemon.folder}/plain/h.db"), 69, "plain"),
        "nowhere": (_with(good, store, "sqlite:////proc/nowhere/h.db"), 69, "/proc/nowhere"),
        "junk": (_with(good, store, f"sqlite:///{daemon.folder}/junk.db"), 69, "junk.db"),
        "variable": (_with(good, shop.url, "http://${NOT_SET_ANYWHERE}/"), 78, "NOT_SET_ANYWHERE"),
        "grace": (_with(good, "grace: 5s", "grace: soon"), 78, "grace"),
        "socket": (good + f"control: {daemon.folder}/plain\n", 69, "plain"),
    }
    for text, status, word in bad.values():
        daemon.config.write_text(text)
        code, said = await told(daemon, "run")
        assert (code, word in said) == (status, True), said
    daemon.config.unlink()
    for words in (("run",), ("validate",), ("status",), ("once", "shop")):
        code, said = await told(daemon, *words)
        assert code == 78
        assert "config.yaml" in said
    daemon.config.mkdir()
    code, said = await told(daemon, "run")
    assert code == 78
    assert str(daemon.config) in said


async def test_windows_line_ends_and_a_byte_order_mark_do_not_matter(daemon: DaemonProcess) -> None:
    top = plugin(daemon, "fine", GOOD)
    daemon.write("  good: {fine: {}}", top)
    daemon.config.write_bytes(b"\xef\xbb\xbf" + daemon.config.read_bytes().replace(b"\n", b"\r\n"))
    source = daemon.folder / "plugins" / "fine.py"
    source.write_bytes(b"\xef\xbb\xbf" + source.read_bytes().replace(b"\n", b"\r\n"))
    code, said = await daemon.command("validate")
    assert code == 0, said
    await daemon.start()
    await daemon.run("good", outcome="ok")
    code, said = await daemon.command("validate", "-c", str(daemon.config))
    assert code == 0, f"a file that is named twice is one file: {said}"


async def test_a_nervous_operator_harms_nothing(daemon: DaemonProcess, stack: AsyncExitStack) -> None:
    hook = await stack.enter_async_context(webhook_receiver())
    top = f"receivers: {{oncall: [{{webhook: {{url: 'http://127.0.0.1:{hook.port}/'}}}}]}}\nself_notify: [oncall]\n"
    top += plugin(daemon, "fine", GOOD)
    daemon.write("  good: {fine: {}}", top)
    await daemon.start()
    good = daemon.config.read_text()
    for _ in range(10):
        daemon.send(signal.SIGHUP)
    await daemon.log("reloaded")
    for number in range(20):  # a file that is written while it is read
        daemon.config.write_text(good[: len(good) * number // 20])
        daemon.send(signal.SIGHUP)
        await asyncio.sleep(0.05)
    daemon.config.unlink()
    daemon.send(signal.SIGHUP)
    await daemon.log("the configuration is invalid; the old one runs on")
    await hook.wait(1)
    assert b"heartbeat.config" in hook.requests[0].body
    await daemon.run("good", outcome="ok", count=2)
    daemon.config.write_text(good)
    resolved = [post for post in await hook.wait(2) if b'"heartbeat.check.resolved"' in post.body]
    assert resolved
    daemon.send(signal.SIGTERM)
    daemon.send(signal.SIGTERM)
    assert await daemon.end() == 0


async def test_a_stop_during_the_start_and_a_stale_socket_leave_nothing_behind(daemon: DaemonProcess) -> None:
    top = plugin(daemon, "fine", GOOD)
    daemon.write("  good: {fine: {}}", top)
    await daemon.start()
    await daemon.stop(signal.SIGKILL)
    assert (daemon.folder / "heartbeat.sock").exists()
    code, said = await told(daemon, "status")
    assert code == 69
    assert "no daemon listens" in said
    for after in (0.05, 0.2, 0.4, 0.5, 0.6, 0.7):
        process = await asyncio.create_subprocess_exec(
            *daemon_command(daemon), stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        await asyncio.sleep(after)
        process.send_signal(signal.SIGTERM)
        _, said_raw = await asyncio.wait_for(process.communicate(), 10)
        assert process.returncode in (0, -signal.SIGTERM), said_raw
        assert b"Traceback" not in said_raw, said_raw
    await daemon.start()
    await daemon.run("good", outcome="ok")
    assert await daemon.stop() == 0
    assert not (daemon.folder / "heartbeat.sock").exists()


def daemon_command(daemon: DaemonProcess) -> list[str]:
    return [sys.executable, "-m", "heartbeat", "run", "-c", str(daemon.config)]


async def test_a_daemon_that_was_stopped_for_a_while_raises_nothing(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    hook = await stack.enter_async_context(webhook_receiver())
    shop = await stack.enter_async_context(serve(answer(200)))
    top = f"receivers: {{oncall: [{{webhook: {{url: 'http://127.0.0.1:{hook.port}/'}}}}]}}\nself_notify: [oncall]\n"
    checks = "".join(f'  shop{n}:\n    http: {{url: "{shop.url}"}}\n' for n in range(20))
    daemon.write(checks, top + "stall_limit: 10s", "notify: [oncall]")
    await daemon.start()
    await daemon.run("shop1", count=2)
    daemon.send(signal.SIGSTOP)
    await asyncio.sleep(20)
    daemon.send(signal.SIGCONT)
    await daemon.log("the clock changed", kind="pause")
    await daemon.run("shop1", count=4)
    assert [line for line in daemon.lines if line["event"] in ("raised", "check_broken")] == []
    assert hook.requests == []
    assert await daemon.stop() == 0


@pytest.mark.timeout(150)
async def test_no_event_is_lost_when_the_daemon_is_killed_again_and_again(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    hook = await stack.enter_async_context(webhook_receiver())
    flaps = "import random\nif random.random() < 0.5: raise CheckFailed('it flaps')"
    top = plugin(daemon, "flapping", flaps)
    top += f"\nreceivers: {{oncall: [{{webhook: {{url: 'http://127.0.0.1:{hook.port}/'}}}}]}}\n"
    checks = "".join(f"  flap{n}: {{flapping: {{}}}}\n" for n in range(30))
    daemon.write(checks, top, "notify: [oncall], policy: {raise: 1, clear: 1}")
    logged: set[str] = set()
    ends = time.monotonic() + 60
    kills = 0
    while time.monotonic() < ends and kills < 50:
        await daemon.start()
        await asyncio.sleep(0.05 + 0.02 * (kills % 30))
        await daemon.stop(signal.SIGKILL)
        logged |= {line["event_id"] for line in daemon.lines if "event_id" in line and line["event"] != "delivery"}
        kills += 1
    daemon.config.write_text(daemon.config.read_text().replace("every: 1s", "every: 1h"))
    await daemon.start()

    async def all_arrived() -> bool:
        return logged <= {post.headers["webhook-id"] for post in hook.requests}

    assert len(logged) > 30
    await until(all_arrived)
    assert await daemon.stop() == 0


SLEEPING = "time.sleep(0.05); raise ValueError('x' * 1000)"
ASKING = "(await probe.http.get(self.url)).raise_for_status()"


async def test_many_failing_checks_leave_no_descriptors_threads_or_memory_behind(
    daemon: DaemonProcess, stack: AsyncExitStack
) -> None:
    fine, wrong, mute, gone = [
        await stack.enter_async_context(serve(one)) for one in (answer(200), answer(500), silent, reset_after(b""))
    ]
    closed = stack.enter_context(refusing_port())
    top = plugin(daemon, "sleeping", SLEEPING, kind="def")
    plugin(daemon, "asking", ASKING)
    asking = daemon.folder / "plugins" / "asking.py"
    asking.write_text(asking.read_text().replace("class Plugin(Check):", "class Plugin(Check):\n    url: str"))
    kinds = [
        *(
            f'http: {{url: "{url}"}}'
            for url in (fine.url, wrong.url, mute.url, gone.url, f"http://127.0.0.1:{closed}/")
        ),
        *(f"tcp: {{host: 127.0.0.1, port: {one.port}, expect: x}}" for one in (fine, mute)),
        *(f"tls: {{host: 127.0.0.1, port: {one.port}}}" for one in (fine, mute)),
        'http: {url: "http://nowhere.invalid/"}',
        "sleeping: {}",
        f'asking: {{url: "{wrong.url}"}}',
    ]
    daemon.write("".join(f"  c{n}:\n    {kinds[n % len(kinds)]}\n" for n in range(150)), top)
    daemon.config.write_text(daemon.config.read_text().replace("level: debug", "level: info"))
    await daemon.start()
    await asyncio.sleep(10)  # until every check has run, and pools and caches are full
    middle = [await _use(daemon) for _ in range(10)]
    await asyncio.sleep(15)
    end = [await _use(daemon) for _ in range(10)]
    for most, before, after in zip((10, 2, 20), _least(middle), _least(end), strict=True):
        assert after <= before + most, (middle, end)
    assert await daemon.stop() == 0


def _least(uses: list[tuple[int, int, int]]) -> tuple[int, ...]:
    return tuple(map(min, *uses))


async def _use(daemon: DaemonProcess) -> tuple[int, int, int]:
    """Return descriptors, threads and resident megabytes, a moment after the last time."""
    await asyncio.sleep(0.2)
    process = Path(f"/proc/{daemon.process.pid}")
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
    return sum(1 for _ in (process / "fd").iterdir()), int(status["Threads"]), int(status["VmRSS"].split()[0]) // 1024


async def test_a_full_disk_is_told_and_gets_well_again(daemon: DaemonProcess, stack: AsyncExitStack) -> None:
    hook = await stack.enter_async_context(webhook_receiver())
    status = [200]

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
        await answer(status[0])(reader, writer, server)

    shop = await stack.enter_async_context(serve(behave))
    top = f"receivers: {{oncall: [{{webhook: {{url: 'http://127.0.0.1:{hook.port}/'}}}}]}}\nself_notify: [oncall]\n"
    daemon.write(f'  shop:\n    http: {{url: "{shop.url}"}}', top, "notify: [oncall]")
    await daemon.start()
    await daemon.run("shop", outcome="ok")
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    status[0] = 500
    posts = await hook.wait(2, within=30)
    assert {True} == {b'"heartbeat.check.raised"' in post.body for post in posts}
    assert any(b'"shop"' in post.body for post in posts)
    assert any(b"heartbeat.store" in post.body for post in posts)
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    posts = await hook.wait(3, within=30)
    assert b"heartbeat.store" in posts[2].body
    assert b'"heartbeat.check.resolved"' in posts[2].body
    assert await daemon.stop() == 0

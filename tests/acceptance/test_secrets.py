"""Canaries: unmistakable secrets go through the real process, and nobody but their addressees sees them."""

from __future__ import annotations

import asyncio
import html
import json
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from textwrap import dedent
from typing import Any
from urllib.parse import quote, quote_plus, unquote_plus

import pytest

from heartbeat.testing.daemon import DaemonProcess, until
from heartbeat.testing.http import Received, Server, head, receive, serve
from heartbeat.testing.smtp import Inbox, mail_server
from heartbeat.testing.webhook import webhook_receiver

WINDOW = 10
"""Characters in a row that give a canary away: a half of it is a leak too."""
CORES = {
    "BEARER": "Zq7fWx2KdPmRt9Lb",
    "BASIC": "Hn4cVy8JsGaQe6Tk",
    "QUERY": "Mu3rBz5XoDwLi1Nv",
    "HEADER": "Pk9gCj6FhSyUt2Ea",
    "BODY": "Rd8wNq1VmTzKx5Yc",
    "PLUGIN": "Gb2hLs7QpJfWo4Ze",
    "SEND": "Xt6vMa3CyRkDn8Hu",
    "SMTP": "Fj5eUw9ZbKgVq3Pi",
    "ADDRESS": "Lc1oTx4NdBrMs7Ah",
    "LONG": "Yv8kQm2HjFpCz6Wn",
}
SECRETS = {name: f"{core}+/=&é\"'<{core[::-1]}" for name, core in CORES.items()} | {
    "QUERY": CORES["QUERY"] * 2,
    "HEADER": f"{CORES['HEADER']}+/=&\"'<",
    "BEARER": f"{CORES['BEARER']}-._~+/{CORES['BEARER'][::-1]}==",
    "SMTP": f"{CORES['SMTP']}+/=&'<",
    "LONG": CORES["LONG"] * 20,
}
SIGNING = "whsec_" + b64encode(CORES["BASIC"][::-1].encode() * 2).decode()


def windows(text: str) -> Iterator[str]:
    for start in range(len(text) - WINDOW + 1):
        yield text[start : start + WINDOW]


def tracks(value: str) -> set[str]:
    """Return short texts of which each gives the value away: parts of it in clear, in base64, in hex, escaped."""
    raw = value.encode()
    found = set(windows(value)) | {raw[start : start + WINDOW].hex() for start in range(len(raw) - WINDOW)}
    for shift in range(3):
        for encoded in (b64encode(bytes(shift) + raw), urlsafe_b64encode(bytes(shift) + raw)):
            found |= {part.decode() for part in [encoded[8 : 8 + 14], encoded[-18:-4]]}
    for escaped in (quote(value, safe=""), quote_plus(value), html.escape(value), json.dumps(value)[1:-1]):
        found.add(escaped)
    return found


@dataclass
class Outputs:
    """All that anybody got to see, by where."""

    seen: dict[str, bytes] = field(default_factory=dict)

    def keep(self, where: str, what: str | bytes) -> None:
        self.seen[where] = what if isinstance(what, bytes) else what.encode(errors="surrogatepass")

    def leaks(self, secrets: dict[str, str]) -> list[str]:
        return list(self._leaks(secrets))

    def _leaks(self, secrets: dict[str, str]) -> Iterator[str]:
        for where, what in self.seen.items():
            for name, value in secrets.items():
                found = [at for track in tracks(value) if (at := what.find(track.encode())) >= 0]
                if found:
                    yield f"{name} in {where}: {what[max(0, min(found) - 150) : min(found) + 150]!r}"


def told(received: Received) -> str:
    """Return all that a request says, also what is hidden in its login, in all the ways to write it."""
    lines = [f"{received.method} {received.path}", *(f"{key}: {value}" for key, value in received.headers.items())]
    login = received.headers.get("authorization", "").partition(" ")[2]
    if received.headers.get("authorization", "").startswith("Basic"):
        lines.append(b64decode(login).decode())
    lines += [unquote_plus(received.path), received.body.decode(errors="replace")]
    whole = "\n".join(lines)
    return f"{whole}\n{quote(whole)}\n{b64encode(whole.encode()).decode()}\n{json.dumps(whole)}\n{whole.encode().hex()}"


async def parrot(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
    """Say everything back: in the status line, headers and body, or in where a redirect leads."""
    received = await receive(reader, server)
    body = (filler(received) + told(received)).encode()
    flat = unquote_plus(received.path) + " ".join(f"{k}={v}" for k, v in received.headers.items())
    headers = {
        "Content-Length": str(len(body)),
        "X-Echo": flat,
        "Set-Cookie": f"a={flat}",
        "X-Body": repr(received.body),
    }
    if "elsewhere" in received.path:
        headers["Location"] = f"ftp://127.0.0.1/{quote(flat)}?x={quote(flat)}"
    status = 302 if "Location" in headers else 200 if "fine" in received.path else 500
    writer.write(head(status, headers).replace(b" Said\r\n", f" {flat}\r\n".encode("latin-1", "replace"), 1) + body)
    await writer.drain()


def filler(received: Received) -> str:
    """Return as much text as the path asks for, so that a cut falls into the middle of a secret."""
    number = received.path.partition("pad=")[2].partition("&")[0]
    return "." * int(number or 0)


async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
    """Redirect to another origin."""
    received = await receive(reader, server)
    writer.write(
        head(303 if "as-get" in received.path else 307, {"Content-Length": "0", "Location": server_elsewhere[0]})
    )
    await writer.drain()


server_elsewhere = [""]

PLUGIN = '''
import asyncio, logging, sys, threading, warnings
import structlog
from heartbeat import Check, CheckBroken, CheckFailed, Probe


class Blab(Check):
    """Tell everybody."""

    secret: str
    how: str

    async def run(self, probe: Probe) -> None:
        print("printed", self.secret)
        print("x" * 1990 + self.secret)
        sys.stdout.buffer.write(f"bytes {self.secret}\\n".encode())
        logging.getLogger("library").warning("logged %s", self.secret)
        structlog.get_logger().warning("structured", secret=self.secret, deep={self.secret: [self.secret]})
        warnings.warn("warned " + self.secret, stacklevel=1)
        threading.Thread(target=self._fall, name=self.secret).start()
        self.__dict__.setdefault("_tasks", []).append(asyncio.create_task(self._fail(), name=self.secret))
        probe.note("plain " + self.secret, self.secret)
        for pad in range(4060, 4096, 7):
            probe.note(f"cut {pad}", "." * pad + self.secret)
        getattr(self, "_" + self.how)(probe)

    def _fall(self) -> None:
        raise ValueError("in a thread " + self.secret)

    async def _fail(self) -> None:
        raise ValueError("in a task " + self.secret)

    def _raise(self, probe: Probe) -> None:
        try:
            raise KeyError(self.secret)
        except KeyError as error:
            raise ValueError("raised " + self.secret) from error

    def _far(self, probe: Probe) -> None:
        raise ValueError("." * 280 + self.secret)

    def _farther(self, probe: Probe) -> None:
        raise CheckFailed("." * 485 + self.secret, expected="." * 485 + self.secret, observed=" " * 1990 + self.secret)

    def _broken(self, probe: Probe) -> None:
        raise CheckBroken("broken " + self.secret)

    def _record(self, probe: Probe) -> None:
        probe.record(self.secret, 1.0)
        probe.record("value", self.secret)

    def _return(self, probe: Probe) -> None:
        raise type("Class" + self.secret, (Exception,), {})(self.secret)
'''


def configuration(target: Server, other: Server, inbox: Inbox, *, hows: Iterable[str]) -> tuple[str, str]:
    """Return checks, and the top level."""
    sensitive = dedent("""\
        headers: {X-Api-Key: "${secret:HEADER}", X-Plain: "${secret:HEADER}"}
              json: {user: u, password: "${secret:BODY}", deep: ["${secret:BODY}"]}
              auth: {AUTH}
    """).rstrip()
    bearer = sensitive.replace("AUTH}", 'bearer: "${secret:BEARER}"}')
    basic = sensitive.replace("AUTH}", 'basic: {user: hb, password: "${file:basic.txt}"}}')
    checks = ""
    for name, path, options in (
        ("fine", "fine", basic),
        ("bad-basic", "x", basic),
        ("bad-bearer", "x", bearer),
        ("elsewhere", "elsewhere", bearer),
        ("leaving", "leave", bearer),
        ("leaving-as-get", "leave-as-get", bearer),
        ("expecting", "fine", bearer + '\n      expect: {body: "${secret:BODY}", headers: {X-Echo: "${secret:BODY}"}}'),
        ("heading", "fine", bearer + '\n      expect: {headers: {X-Body: {contains: "${secret:LONG}"}}}'),
        *((f"cut-{pad}", f"x?pad={pad}&a=", bearer) for pad in range(960, 1024, 16)),
    ):
        url = f"{target.url}{path}{'&' if '?' in path else '?'}token=${{secret:QUERY}}&plain=${{secret:QUERY}}"
        checks += f'  {name}:\n    http:\n      url: "{url}"\n      {options}\n'
    checks += '  address:\n    http: {url: "${secret:URL}"}\n'
    checks += '  refused:\n    http: {url: "${secret:REFUSED}"}\n'
    checks += f'  talk:\n    tcp: {{host: 127.0.0.1, port: {target.port}, send: "GET /${{secret:SEND}} x\\r\\n\\r\\n", '
    checks += 'expect: "${secret:SEND}"}\n'
    for how in hows:
        checks += f'  plugin-{how}:\n    blab: {{secret: "${{secret:PLUGIN}}", how: {how}}}\n'
    checks += '  plugin-long:\n    blab: {secret: "${secret:LONG}", how: raise}\n'
    top = f"""
plugins: [plugins]
receivers:
  oncall:
    - email: {{to: [oncall@example.com], from: hb@example.com, server: "smtp://127.0.0.1:{inbox.port}", tls: none,
              username: hb, password: "${{secret:SMTP}}", group_wait: 0s, max_per_hour: 3600}}
    - webhook: {{url: "${{secret:HOOK}}", secret: "${{secret:SIGNING}}", headers: {{X-Key: "${{secret:HEADER}}"}}}}
    - webhook: {{name: wrong, url: "${{secret:WRONGHOOK}}", secret: "${{secret:SIGNING}}"}}
self_notify: [oncall]
"""
    return checks, top


async def test_a_secret_is_seen_by_its_addressee_only(
    daemon: DaemonProcess, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = await stack.enter_async_context(serve(_split))
    other = await stack.enter_async_context(serve(parrot))
    server_elsewhere[0] = other.url + "there"
    inbox = await stack.enter_async_context(mail_server(user=("hb", SECRETS["SMTP"]), auth_in_plain=True))
    hook = await stack.enter_async_context(webhook_receiver())
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SIGNING", SIGNING)
    monkeypatch.setenv("URL", f"{target.url}services/{CORES['ADDRESS']}/{CORES['ADDRESS'][::-1]}?x={CORES['ADDRESS']}")
    monkeypatch.setenv("REFUSED", f"http://127.0.0.1:9/{CORES['ADDRESS']}?x={CORES['ADDRESS']}")
    monkeypatch.setenv("HOOK", f"http://127.0.0.1:{hook.port}/services/{CORES['ADDRESS']}")
    monkeypatch.setenv("WRONGHOOK", f"http://127.0.0.1:{other.port}/services/{CORES['ADDRESS']}")
    monkeypatch.delenv("BASIC")
    (daemon.folder / "basic.txt").write_text(SECRETS["BASIC"] + "\n")
    (daemon.folder / "plugins").mkdir()
    (daemon.folder / "plugins" / "blab.py").write_text(PLUGIN)
    hows = ("raise", "far", "farther", "broken", "record", "return")
    checks, top = configuration(target, other, inbox, hows=hows)
    daemon.write(checks, top, "notify: [oncall]")
    daemon.config.write_text(daemon.config.read_text().replace("every: 1s", "every: 2s"))
    outputs = Outputs()
    await daemon.start()
    alerting = checks.count("\n    http:") + checks.count("\n    blab:")
    await hook.wait(alerting, within=30)
    await inbox.wait(alerting, within=30)
    await _gather(daemon, outputs)
    await _reload_badly(daemon, outputs)
    await hook.wait(alerting + 1, within=30)
    await _store(daemon, outputs)
    assert await daemon.stop() == 0
    outputs.keep("log", "\n".join(json.dumps(line, ensure_ascii=False) for line in daemon.lines))
    for number, mail in enumerate(inbox.mails):
        parts = [part.get_payload(decode=True) for part in mail.parsed.walk()]
        outputs.keep(f"mail {number}", mail.content + b"".join(one for one in parts if isinstance(one, bytes)))
    for number, post in enumerate(hook.requests):
        outputs.keep(f"webhook {number}", post.body)
    leaving = "".join(told(one) for one in other.requests if one.path == "/there")
    assert leaving, "the redirect to another origin was not followed"
    outputs.keep("another origin", leaving)
    for file in daemon.folder.rglob("*"):
        if file.is_file() and file.name not in ("basic.txt", "blab.py"):
            outputs.keep(str(file), file.read_bytes())
    secrets = SECRETS | {"SIGNING": SIGNING, "ADDRESS": CORES["ADDRESS"]}
    assert any(CORES["BEARER"] in told(one) for one in target.requests), "the addressee must see it"
    leaks = outputs.leaks(secrets)
    assert not leaks, "\n".join(leaks)


async def _split(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
    again = asyncio.StreamReader()
    first = await reader.readuntil(b"\r\n")
    again.feed_data(first + await reader.readuntil(b"\r\n\r\n") if first != b"\r\n" else first)
    length = [line for line in bytes(again._buffer).split(b"\r\n") if line.lower().startswith(b"content-length:")]  # type: ignore[attr-defined]  # to read ahead
    again.feed_data(await reader.readexactly(int(length[0].split(b":")[1])) if length else b"")
    await (leave if b"/leave" in first else parrot)(again, writer, server)


async def _gather(daemon: DaemonProcess, outputs: Outputs) -> None:
    for path in ("/metrics", "/api/v1/checks", "/-/ready", "/-/healthy", "/", "/nothing?x=1"):
        outputs.keep(path, (await daemon.get(path)).content)
    names = [
        line.strip(" :") for line in daemon.config.read_text().splitlines() if line[:2] == "  " and line[2:3].isalpha()
    ]
    for words in (
        ("status",),
        ("validate",),
        ("types", "blab"),
        ("run-now", "bad-basic"),
        ("run-now", "plugin-raise"),
        ("once", *[name for name in names if name != "oncall"]),
    ):
        code, said = await daemon.command(*words)
        assert code in (0, 2, 3, 65), said
        outputs.keep(" ".join(words[:2]), said)


BAD = (
    'timeout: "${secret:BEARER}"',
    'every: "${secret:PLUGIN}"',
    'runbook: ["${secret:PLUGIN}"]',
    'labels: {team: "${secret:PLUGIN}"}',
    'notify: ["${secret:PLUGIN}"]',
    'policy: {raise: "${secret:BODY}"}',
    'limits: {duration: "${secret:BODY}"}',
    'cron: "${secret:PLUGIN}"',
    'http: {url: "${secret:BEARER}"}',
    'http: {url: "http://127.0.0.1:${secret:BODY}/"}',
    'http: {url: "http://[${secret:QUERY}/"}',
    'http: {url: "http://x/", method: "${secret:BODY}"}',
    'http: {url: "http://x/", json: "${secret:BODY}", body: x, family: "${secret:QUERY}"}',
    'http: {url: "http://x/", expect: {status: "${secret:BODY}"}}',
    'http: {url: "http://x/", expect: {body: {matches: "(((${secret:BODY}"}}}',
    'http: {url: "http://x/", proxy: "${secret:BODY}"}',
    'http: {url: "http://x/", ca_file: "${secret:BODY}"}',
    'tcp: {host: "${secret:BODY}", port: "${secret:BEARER}"}',
    'tls: {host: "${secret:BODY}", port: "${secret:BEARER}"}',
    'dns: {name: "${secret:BODY}", server: "${secret:BEARER}", type: "${secret:PLUGIN}"}',
    'blab: {secret: [["${secret:PLUGIN}"]], how: 5, "more": "${secret:LONG}"}',
)


async def _reload_badly(daemon: DaemonProcess, outputs: Outputs) -> None:
    """Let the daemon and the commands complain about values that are secret."""
    bad = daemon.config.read_text() + "".join(f"  bad{number}: {{{text}}}\n" for number, text in enumerate(BAD))
    bad += 'location: "${secret:QUERY}"\nstore: "${secret:QUERY}"\ncontrol: "${secret:LONG}"\n'
    before = daemon.config.read_text()
    daemon.config.write_text(bad)
    code, said = await daemon.command("validate")
    assert code == 78
    outputs.keep("validate, invalid", said)
    socket = ("--socket", str(daemon.folder / "heartbeat.sock"))
    code, said = await daemon.command("reload", *socket)
    assert code == 78
    outputs.keep("reload, invalid", said)
    outputs.keep("status, invalid", (await daemon.command("status", *socket))[1])
    outputs.keep("metrics, invalid", (await daemon.get("/metrics")).content)
    outputs.keep("api, invalid", (await daemon.get("/api/v1/checks")).content)
    for section in ("receivers", "web"):
        daemon.config.write_text(
            _bad_receiver(before) if section == "receivers" else before.replace("127.0.0.1:0", "${secret:BODY}", 1)
        )
        code, said = await daemon.command("validate")
        assert code == 78, said
        outputs.keep(f"validate, invalid {section}", said)
    daemon.config.write_text(before)
    (daemon.folder / "basic.txt").write_text("")
    outputs.keep("validate, empty secret", (await daemon.command("validate"))[1])
    (daemon.folder / "basic.txt").write_text(SECRETS["BASIC"] + "\n")


def _bad_receiver(text: str) -> str:
    more = """
    - webhook: {name: a, url: "${secret:BODY}", secret: "${secret:BEARER}", headers: {X: "${secret:LONG}"},
                 timeout: "${secret:BODY}"}
    - webhook: {name: b, url: "http://u:${secret:QUERY}@x/", secret: "whsec_${secret:HEADER}", verify: "${secret:BODY}"}
    - email: {name: c, to: ["${secret:BODY}"], from: "${secret:BODY}", server: "smtp://${secret:BEARER}",
              tls: "${secret:BODY}", username: "${secret:BODY}", password: ["${secret:SMTP}"]}
self_notify:"""
    return text.replace("self_notify:", more.lstrip("\n"), 1)


async def _store(daemon: DaemonProcess, outputs: Outputs) -> None:
    """Read the store's files while the daemon holds them open, journal and all."""

    async def journal() -> Any:
        return sorted(daemon.folder.glob("heartbeat.db*"))

    for file in await until(journal):
        outputs.keep(f"running {file.name}", file.read_bytes())

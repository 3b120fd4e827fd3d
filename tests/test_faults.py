from __future__ import annotations

import asyncio
import errno
import ftplib
import http.client
import imaplib
import os
import poplib
import re
import smtplib
import socket
import ssl
import subprocess
import sys
import types
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiosmtplib
import dns.asyncquery
import dns.asyncresolver
import dns.message
import httpx
import pycurl
import pytest
import trustme

from heartbeat import CheckBroken, CheckFailed, faults
from heartbeat.core.model import Outcome, Reason
from heartbeat.faults import Fault, has_route, sort_fault
from heartbeat.testing.dns import NameServer, serve_names
from heartbeat.testing.http import refusing_port, unanswering_port
from heartbeat.testing.smtp import mail_server
from heartbeat.testing.tcp import hang_up, reset, say, serve_tcp, silent

PATIENCE = 0.4
Client = Callable[[str, int], Awaitable[object]]


def threaded(client: Callable[[str, int], object]) -> Client:
    async def call(host: str, port: int) -> object:
        return await asyncio.to_thread(client, host, port)

    return call


@threaded
def curl(host: str, port: int) -> None:
    fetch(f"http://{host}:{port}/")


@threaded
def curl_tls(host: str, port: int) -> None:
    fetch(f"https://{host}:{port}/")


def fetch(url: str) -> None:
    handle = pycurl.Curl()
    handle.setopt(pycurl.URL, url)
    handle.setopt(pycurl.TIMEOUT_MS, int(PATIENCE * 1000))
    handle.setopt(pycurl.NOSIGNAL, 1)
    handle.setopt(pycurl.WRITEFUNCTION, lambda _: None)
    try:
        handle.perform()
    finally:
        handle.close()


async def httpx_async(host: str, port: int) -> None:
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as client:
        await client.get(f"http://{host}:{port}/")


async def httpx_tls(host: str, port: int) -> None:
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False, verify=ssl.create_default_context()) as client:
        await client.get(f"https://{host}:{port}/")


@threaded
def httpx_sync(host: str, port: int) -> None:
    with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
        client.get(f"http://{host}:{port}/")


async def streams(host: str, port: int) -> None:
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            await reader.readuntil(b"\n\n")
        finally:
            writer.transport.abort()


async def streams_tls(host: str, port: int) -> None:
    async with asyncio.timeout(PATIENCE):
        _, writer = await asyncio.open_connection(host, port, ssl=ssl.create_default_context())
        writer.transport.abort()


@threaded
def ssl_socket(host: str, port: int) -> None:
    with (
        socket.create_connection((host, port), timeout=PATIENCE) as plain,
        ssl.create_default_context().wrap_socket(plain, server_hostname=host),
    ):
        pass


@threaded
def smtp(host: str, port: int) -> None:
    smtplib.SMTP(host, port, timeout=PATIENCE).close()


async def smtp_async(host: str, port: int) -> None:
    client = aiosmtplib.SMTP(hostname=host, port=port, timeout=PATIENCE, start_tls=False)
    try:
        await client.connect()
    finally:
        client.close()


async def smtp_async_tls(host: str, port: int) -> None:
    client = aiosmtplib.SMTP(hostname=host, port=port, timeout=PATIENCE, use_tls=True)
    try:
        await client.connect()
    finally:
        client.close()


async def dns_tcp(host: str, port: int) -> None:
    await dns.asyncquery.tcp(dns.message.make_query("shop.test", "A"), host, port=port, timeout=PATIENCE)


async def dns_tls(host: str, port: int) -> None:
    await dns.asyncquery.tls(dns.message.make_query("shop.test", "A"), host, port=port, timeout=PATIENCE)


@threaded
def http_client(host: str, port: int) -> None:
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    finally:
        connection.close()


@threaded
def urllib_open(host: str, port: int) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(f"http://{host}:{port}/", timeout=PATIENCE)


@threaded
def ftp(host: str, port: int) -> None:
    with ftplib.FTP(timeout=PATIENCE) as client:
        client.connect(host, port)


@threaded
def imap(host: str, port: int) -> None:
    imaplib.IMAP4(host, port, timeout=PATIENCE)


@threaded
def pop(host: str, port: int) -> None:
    poplib.POP3(host, port, timeout=PATIENCE)


PLAIN = [curl, httpx_async, httpx_sync, streams, smtp, smtp_async, dns_tcp, http_client, urllib_open, ftp, imap, pop]
SECURED = [curl_tls, httpx_tls, streams_tls, ssl_socket, smtp_async_tls, dns_tls]


def name_of(client: Client) -> str:
    for name, value in globals().items():
        if value is client:
            return name
    raise LookupError


async def fault_of(client: Client, host: str, port: int) -> tuple[Fault, BaseException]:
    try:
        await client(host, port)
    except Exception as error:  # noqa: BLE001 - whatever the library raises is what this is about
        return sort_fault(error, has_route=lambda: True), error
    pytest.fail("the client was content")


@asynccontextmanager
async def situation(kind: str) -> AsyncIterator[tuple[str, int]]:
    async with AsyncExitStack() as stack:
        if kind == "refused":
            yield "127.0.0.1", stack.enter_context(refusing_port())
        elif kind == "unanswered":
            yield "127.0.0.1", stack.enter_context(unanswering_port())
        elif kind == "unroutable":
            yield "255.255.255.255", 9  # the kernel refuses a stream to everybody; no packet leaves
        elif kind == "unresolvable":
            yield "-.test", 9  # no valid host name, which glibc finds out by itself
        elif kind == "untrusted":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
            yield "127.0.0.1", await stack.enter_async_context(serve_tcp(silent, tls=context))
        else:
            talks = {"silent": silent, "reset": reset, "closed": hang_up, "plain": say(b"220 no TLS here\r\n" * 9)}
            yield "127.0.0.1", await stack.enter_async_context(serve_tcp(talks[kind]))


DEAD = {
    "refused": {"connect"},
    "unroutable": {"connect"},
    "unresolvable": {"resolve"},
    "silent": {"timeout"},
    "unanswered": {"timeout"},
    "reset": {"reset", "connect"},  # the RST may overtake the end of the connecting
    "closed": {"reset"},
}
ADDRESSES_ONLY = {dns_tcp}
"""These take no names; dnspython's resolver has a test of its own."""


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("client", "kind"),
    [
        pytest.param(client, kind, id=f"{name_of(client)}-{kind}")
        for client in PLAIN
        for kind in DEAD
        if kind != "unresolvable" or client not in ADDRESSES_ONLY
    ],
)
async def test_a_dead_target_is_never_a_broken_check(client: Client, kind: str) -> None:
    async with situation(kind) as (host, port):
        fault, error = await fault_of(client, host, port)
    assert (fault.outcome, fault.reason in DEAD[kind]) == (Outcome.FAIL, True), (fault, repr(error))
    assert fault.sentence.isprintable()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("client", SECURED, ids=name_of)
@pytest.mark.parametrize(
    ("kind", "reasons"),
    [
        ("refused", {"connect"}),
        ("unroutable", {"connect"}),
        ("silent", {"timeout"}),
        ("reset", {"reset", "tls", "connect"}),
        ("closed", {"reset", "tls"}),
        ("plain", {"tls"}),
        ("untrusted", {"certificate"}),
    ],
)
async def test_broken_tls_is_never_a_broken_check(client: Client, kind: str, reasons: set[str]) -> None:
    async with situation(kind) as (host, port):
        fault, error = await fault_of(client, host, port)
    assert (fault.outcome, fault.reason in reasons) == (Outcome.FAIL, True), (fault, repr(error))


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("client", [curl, httpx_async, smtp, smtp_async, dns_tcp, http_client, pop], ids=name_of)
async def test_a_peer_that_speaks_another_language_is_a_bad_target(client: Client) -> None:
    async with serve_tcp(say(b"\x00\xffwhat is this\r\n\r\n" * 20)) as port:
        fault, error = await fault_of(client, "127.0.0.1", port)
    assert fault.outcome is Outcome.FAIL, (fault, repr(error))
    assert fault.reason in {"protocol", "status", "reset", "timeout"}
    assert fault.sentence.isprintable()


@pytest.mark.parametrize(
    ("name", "reason"),
    [("absent.test", "resolve"), ("empty.test", "resolve"), ("broken.test", "resolve"), ("hang.test", "timeout")],
)
async def test_what_dnspythons_resolver_raises_is_about_the_target(name: str, reason: str) -> None:
    server = NameServer(
        'empty.test. 60 IN TXT "x"', silent=frozenset({"hang.test"}), rcodes={"broken.test": "SERVFAIL"}
    )
    async with serve_names(server):
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], int(server.address.rpartition(":")[2])
        with pytest.raises(dns.exception.DNSException) as caught:
            await resolver.resolve(name, "A", lifetime=PATIENCE)
    fault = sort_fault(caught.value)
    assert (fault.outcome, fault.reason) == (Outcome.FAIL, reason)


async def test_a_refused_login_is_told_from_an_unreachable_server() -> None:
    async with mail_server(user=("right", "right"), auth_in_plain=True) as inbox:
        client = aiosmtplib.SMTP(hostname=inbox.host, port=inbox.port, start_tls=False)
        await client.connect()
        with pytest.raises(aiosmtplib.SMTPException) as caught:
            await client.login("wrong", "wrong")
        client.close()
    assert (sort_fault(caught.value).outcome, sort_fault(caught.value).reason) == (Outcome.FAIL, Reason.AUTH)


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (CheckFailed("gone", reason="absent"), "fail", "absent"),
        (CheckBroken("locked", reason="account"), "error", "account"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "fail", "connect"),
        (OSError("Multiple exceptions: [Errno 111] ('::1', 1), [Errno 111] ('127.0.0.1', 1)"), "fail", "connect"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "fail", "reset"),
        (ConnectionResetError("Connection lost"), "fail", "reset"),
        (TimeoutError(), "fail", "timeout"),
        (EOFError(), "fail", "reset"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), "fail", "connect"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/etc/ca.pem"), "error", "config"),
        (PermissionError(errno.EACCES, "Permission denied", "/run/secrets/x"), "error", "config"),
        (OSError(errno.EMFILE, "Too many open files"), "error", "resource"),
        (OSError(errno.ENFILE, "Too many open files in system"), "error", "resource"),
        (OSError(errno.ENOBUFS, "No buffer space available"), "error", "resource"),
        (OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address"), "error", "resource"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "error", "resource"),
        (MemoryError(), "error", "resource"),
        (RuntimeError("can't start new thread"), "error", "resource"),
        (socket.gaierror(socket.EAI_MEMORY, "Memory allocation failure"), "error", "resource"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), "fail", "resolve"),
        (socket.herror(1, "Unknown host"), "fail", "resolve"),
        (subprocess.TimeoutExpired("curl", 1), "fail", "timeout"),
        (asyncio.LimitOverrunError("separator is not found", 9), "fail", "protocol"),
        (asyncio.IncompleteReadError(b"", 4), "fail", "reset"),
        (smtplib.SMTPAuthenticationError(535, b"no"), "fail", "auth"),
        (smtplib.SMTPSenderRefused(530, b"authenticate first", "a@b"), "fail", "auth"),
        (smtplib.SMTPDataError(554, b"spam"), "fail", "status"),
        (smtplib.SMTPNotSupportedError("no STARTTLS"), "fail", "protocol"),
        (aiosmtplib.SMTPDataError(554, "spam"), "fail", "status"),
        (aiosmtplib.SMTPReadTimeoutError("slow"), "fail", "timeout"),
        (ftplib.error_perm("530 Login incorrect"), "fail", "auth"),
        (ftplib.error_perm("550 No such file"), "fail", "status"),
        (ftplib.error_proto("what"), "fail", "protocol"),
        (imaplib.IMAP4.error("b'[AUTHENTICATIONFAILED] no'"), "fail", "auth"),
        (imaplib.IMAP4.abort("socket error: EOF"), "fail", "reset"),
        (poplib.error_proto("-ERR [AUTH] no"), "fail", "auth"),
        (urllib.error.URLError("no host given"), "fail", "connect"),
        (urllib.error.URLError(OSError(errno.EMFILE, "Too many open files")), "error", "resource"),
        (http.client.InvalidURL("spaces"), "error", "config"),
        (http.client.CannotSendRequest(), "error", "plugin"),
        (httpx.PoolTimeout("full"), "error", "resource"),
        (httpx.UnsupportedProtocol("gopher"), "error", "config"),
        (httpx.TooManyRedirects("loop"), "fail", "protocol"),
        (httpx.DecodingError("gzip"), "fail", "content"),
        (pycurl.error(58, "problem with the local certificate"), "error", "config"),
        (pycurl.error(27, "Out of memory"), "error", "resource"),
        (pycurl.error(92, "HTTP/2 stream was not closed cleanly"), "fail", "protocol"),
        (pycurl.error(23, "Failed writing body"), "error", "plugin"),
        (pycurl.error("cannot invoke setopt() - perform() is running"), "error", "plugin"),
        (ValueError("invalid literal"), "error", "plugin"),
        (OSError(errno.EBADF, "Bad file descriptor"), "error", "plugin"),
        (asyncio.CancelledError(), "error", "plugin"),
        (SystemExit(3), "error", "plugin"),
    ],
    ids=lambda value: repr(value)[:40] if isinstance(value, BaseException) else None,
)
def test_the_table_sorts(error: BaseException, outcome: str, reason: str) -> None:
    fault = sort_fault(error, has_route=lambda: True)
    assert (fault.outcome, fault.reason) == (outcome, reason), fault


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    error.__cause__, error.__suppress_context__ = cause, cause is not None
    return error


class LibraryError(Exception):
    pass


REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


def test_an_unknown_library_is_sorted_by_what_lies_beneath() -> None:
    fault = sort_fault(raised(LibraryError("cannot talk"), raised(RuntimeError("no connection"), REFUSED)))
    assert (fault.outcome, fault.reason) == (Outcome.FAIL, Reason.CONNECT)
    assert "Connection refused" in fault.sentence


def test_an_unknown_library_is_sorted_by_what_it_was_handling() -> None:
    def call() -> None:
        try:
            raise REFUSED
        except OSError:
            raise LibraryError("cannot talk")  # noqa: B904 - the library did not say from what

    with pytest.raises(LibraryError) as caught:
        call()
    assert sort_fault(caught.value).reason is Reason.CONNECT


@pytest.mark.parametrize("mistake", [KeyError("token"), TypeError("None"), AttributeError("x"), ZeroDivisionError()])
def test_a_mistake_made_while_handling_a_dead_target_is_still_a_mistake(mistake: Exception) -> None:
    fault = sort_fault(raised(mistake, REFUSED))
    assert (fault.outcome, fault.reason) == (Outcome.ERROR, Reason.PLUGIN)


def test_a_hidden_cause_stays_hidden_and_a_ring_of_causes_ends() -> None:
    hidden = raised(LibraryError("plain"))
    hidden.__context__, hidden.__suppress_context__ = REFUSED, True
    assert sort_fault(hidden).reason is Reason.PLUGIN
    first, second = LibraryError("a"), LibraryError("b")
    first.__cause__, second.__cause__ = second, first
    assert sort_fault(first).reason is Reason.PLUGIN


def test_a_group_counts_as_its_worst_known_leaf() -> None:
    exhausted = OSError(errno.EMFILE, "Too many open files")
    assert sort_fault(ExceptionGroup("x", [ValueError(), REFUSED])).reason is Reason.CONNECT
    assert sort_fault(ExceptionGroup("x", [REFUSED, ExceptionGroup("y", [exhausted])])).reason is Reason.RESOURCE
    assert sort_fault(ExceptionGroup("x", [ValueError()])).reason is Reason.PLUGIN


def test_the_words_of_a_check_are_kept() -> None:
    fault = sort_fault(CheckFailed("the order is gone", reason="mismatch", expected="3", observed=4))
    assert fault == Fault(Outcome.FAIL, Reason.MISMATCH, "the order is gone", "3", "4")


def test_an_unknown_exception_names_its_type_and_the_line_of_the_plugin() -> None:
    module = types.ModuleType("heartbeat_checks.local.shop")
    code = compile("def run(call):\n    call()\n", "/srv/checks.d/shop.py", "exec")
    exec(code, module.__dict__)

    def inside_a_library() -> None:
        raise KeyError("to\x1bken\n" + "x" * 9999)

    with pytest.raises(KeyError) as caught:
        module.run(inside_a_library)
    fault = sort_fault(caught.value)
    assert (fault.outcome, fault.reason) == (Outcome.ERROR, Reason.PLUGIN)
    assert re.fullmatch(r"the plugin raised KeyError: 'to.*x… \(shop\.py:2\)", fault.sentence)
    assert fault.sentence.isprintable()
    assert len(fault.sentence) < 400


def test_no_route_at_all_is_our_own_fault() -> None:
    for error in (OSError(errno.ENETUNREACH, "Network is unreachable"), socket.gaierror(socket.EAI_AGAIN, "Temporary")):
        assert sort_fault(error, has_route=lambda: False).reason is Reason.NETWORK
        assert sort_fault(error, has_route=lambda: True).outcome is Outcome.FAIL
    assert sort_fault(REFUSED, has_route=lambda: False).reason is Reason.CONNECT


ROUTES = {
    "only loopback": ("", "0" * 32 + " 00 " + "0" * 32 + " 00 " + "0" * 32 + " ffffffff 1 0 00200200 lo", False),
    "link-local only": (
        "",
        "fe80" + "0" * 28 + " 40 " + "0" * 32 + " 00 " + "0" * 32 + " 00000100 1 0 00000001 eth0",
        False,
    ),
    "ipv4": ("eth0 00000000 010011AC 0003 0 0 0 00000000 0 0 0", "", True),
    "ipv4 rejected": ("eth0 00000000 00000000 0201 0 0 0 00000000 0 0 0", "", False),
    "ipv6": ("", "0" * 32 + " 00 " + "0" * 32 + " 00 fd" + "0" * 30 + " 00000400 1 0 00000003 eth0", True),
}


@pytest.mark.parametrize(("four", "six", "routed"), ROUTES.values(), ids=ROUTES)
def test_the_kernel_is_asked_for_routes(monkeypatch: pytest.MonkeyPatch, four: str, six: str, routed: bool) -> None:
    tables = {"/proc/net/route": f"Iface Destination\n{four}".rstrip("\n"), "/proc/net/ipv6_route": six}
    monkeypatch.setattr(Path, "read_text", lambda path, **_: tables[str(path)])
    assert has_route() is routed


def test_a_system_that_does_not_tell_its_routes_is_taken_to_have_some(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/proc/net/route")

    monkeypatch.setattr(Path, "read_text", refuse)
    assert has_route()


def test_a_local_certificate_that_cannot_be_read_is_the_checks_fault(tmp_path: Path) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    for load in (lambda: ssl.create_default_context(cafile=str(broken)),
                 lambda: ssl.create_default_context().load_cert_chain(broken)):  # fmt: skip
        with pytest.raises(ssl.SSLError) as caught:
            load()
        assert (sort_fault(caught.value).outcome, sort_fault(caught.value).reason) == (Outcome.ERROR, Reason.CONFIG)


def test_the_table_imports_none_of_the_libraries_that_it_knows() -> None:
    ours = "import sys, asyncio; before = set(sys.modules); import heartbeat.faults; new = set(sys.modules) - before"
    code = f"{ours}; print(*{{'httpx', 'pycurl', 'dns', 'aiosmtplib', 'ssl', 'psycopg', 'sqlalchemy'}} & new)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert found.stdout.strip() == ""


@pytest.mark.parametrize("name", sorted(faults.CLASSES | faults.WRAPPERS | dict.fromkeys(faults.REFINED)))
def test_every_name_in_the_table_is_a_class_that_exists(name: str) -> None:
    parts = name.split(".")
    found: Any = None
    for cut in range(len(parts) - 1, 0, -1):
        module = sys.modules.get(".".join(parts[:cut]))
        if module is not None:
            found = module
            for part in parts[cut:]:
                found = getattr(found, part)
            break
    assert isinstance(found, type)
    assert f"{found.__module__}.{found.__qualname__}" == name

from __future__ import annotations

import asyncio
import gc
import os
import resource
import ssl
import sys
import weakref
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from heartbeat.check import CheckBroken, CheckFailed
from heartbeat.http.engine import engine, fetch
from heartbeat.http.guard import guard_webhook_target
from heartbeat.http.message import TLS, Request, Trace
from heartbeat.testing.http import (
    Behaviour,
    answer,
    drip,
    endless_body,
    gzip_bomb,
    gzipped,
    head,
    raw,
    refusing_port,
    reset_after,
    routes,
    serve,
    silent,
    silent_after,
    unanswering_port,
)

Serving = Callable[..., ssl.SSLContext]


@pytest.fixture(autouse=True)
def closed_engine() -> Iterator[None]:
    yield
    gc.collect()  # what a test leaves unclosed warns inside this test


async def failure_of(request: Request, seconds: float = 0.4, trace: Trace | None = None) -> CheckFailed:
    with pytest.raises(CheckFailed) as caught:
        await fetch(request, timeout=seconds, trace=trace)
    return caught.value


async def answer_to(behave: Behaviour, seconds: float = 5.0, **options: Any) -> Any:
    async with serve(behave) as server:
        return await fetch(Request(url=server.url, **options), timeout=seconds)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_every_loop_gets_answers_timeouts_and_many_at_once(run: Callable[[Any], Any]) -> None:
    async def story() -> None:
        async with serve(answer(body=b"hello")) as good, serve(silent) as mute:
            bodies = await asyncio.gather(*(fetch(Request(url=good.url), timeout=5) for _ in range(50)))
            assert {response.body for response in bodies} == {b"hello"}
            assert (await failure_of(Request(url=mute.url), 0.1)).reason == "timeout"
            assert good.connections == 50
        engine().close()

    run(story())


def test_the_engine_goes_with_its_loop() -> None:
    async def make() -> weakref.ref[Any]:
        async with serve(answer()) as server:
            await fetch(Request(url=server.url), timeout=5)
        assert engine() is engine()
        return weakref.ref(engine())

    left = asyncio.run(make())
    gc.collect()
    assert left() is None


async def test_a_closed_engine_is_replaced() -> None:
    first = engine()
    first.close()
    assert engine() is not first


async def test_the_request_arrives_as_it_was_meant() -> None:
    async with serve(answer()) as server:
        url = server.url + "a%20b?x=%2B+&y"
        headers = (("X-One", "1"), ("X-Empty", ""), ("X-Name", "Å"))
        await fetch(Request(url=url, method="PUT", headers=headers, body=b"\0data", content_type="text/x"), timeout=5)
    got = server.requests[0]
    assert (got.method, got.path, got.body) == ("PUT", "/a%20b?x=%2B+&y", b"\0data")
    assert (got.headers["x-one"], got.headers["x-empty"], got.headers["x-name"]) == ("1", "", "Å")
    assert got.headers["content-type"] == "text/x"
    assert got.headers["user-agent"].startswith("heartbeat/")
    assert "expect" not in got.headers


async def test_head_has_no_body_and_an_empty_post_says_so() -> None:
    async with serve(answer()) as server:
        response = await fetch(Request(url=server.url, method="HEAD"), timeout=5)
        await fetch(Request(url=server.url, method="POST", body=b""), timeout=5)
        await fetch(Request(url=server.url, method="OPTIONS"), timeout=5)
    assert (response.status, response.body) == (200, b"")
    assert [got.method for got in server.requests] == ["HEAD", "POST", "OPTIONS"]
    assert server.requests[1].headers["content-length"] == "0"
    assert "content-type" not in server.requests[1].headers


async def test_a_handle_keeps_nothing_of_the_request_before() -> None:
    async with serve(answer()) as server:
        await fetch(Request(url=server.url, method="POST", body=b"secret", headers=(("Cookie", "a=b"),)), timeout=5)
        await fetch(Request(url=server.url), timeout=5)
    assert (server.requests[1].method, server.requests[1].body) == ("GET", b"")
    assert "cookie" not in server.requests[1].headers


async def test_a_connection_alone_sends_nothing_and_ends_and_its_handle_is_not_used_again() -> None:
    sent: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, _server: object) -> None:
        if not sent.done():
            sent.set_result(await reader.read())

    async with serve(listen) as server:
        trace = Trace()
        response = await fetch(Request(url=server.url, connect_only=True), timeout=5, trace=trace)
        assert await asyncio.wait_for(sent, 5) == b""
    assert (response.status, response.body, trace.address) == (0, b"", "127.0.0.1")
    assert trace.phases.keys() >= {"connect"}
    assert engine()._free == {}


async def test_a_line_break_in_a_header_is_refused() -> None:
    broken = await failure_of(Request(url="http://127.0.0.1:1/", headers=(("X", "a\r\nY: b"),)))
    assert isinstance(broken, CheckBroken)
    assert broken.reason == "config"


@pytest.mark.parametrize(
    ("behave", "reason", "words"),
    [
        (silent, "timeout", "did not answer within 0.4 s"),
        (silent_after(b"HTTP/1.1 200 OK\r\nX: y\r\n"), "timeout", "not sent all of its headers"),
        (silent_after(head() + b"abc"), "timeout", "3 bytes came"),
        (drip(head() + b"slow", 0.05), "timeout", "did not answer"),
        (reset_after(), "reset", "reset the connection before its answer"),
        (reset_after(head() + b"abc"), "reset", "in the middle of the answer"),
        (raw(head(200, {"Content-Length": "10"}) + b"abc"), "reset", "closed the connection in the middle"),
        (raw(b""), "reset", "without an answer"),
        (raw(b"220 mail.example.com ESMTP\r\n\r\n"), "protocol", "does not speak HTTP"),
        (raw(b"HTTP/1.1 fine thanks\r\n\r\n"), "protocol", "does not speak HTTP"),
        (raw(head(200, {"X": "y" * 70_000})), "protocol", "longer than 64 KiB"),
        (raw(head(200, {"X": "y" * 400_000})), "protocol", "longer than 64 KiB"),
        (raw(head(200, {"Transfer-Encoding": "chunked"}) + b"zz\r\n"), "protocol", "chunk"),
        (raw(head(200, {"Content-Encoding": "gzip"}) + b"not packed"), "protocol", "incorrect header check"),
    ],
)  # fmt: skip
async def test_a_misbehaving_server_is_a_bad_target(behave: Behaviour, reason: str, words: str) -> None:
    async with serve(behave) as server:
        failed = await failure_of(Request(url=server.url))
    assert type(failed) is CheckFailed
    assert failed.reason == reason
    assert words in failed.sentence
    assert str(server.port) in failed.sentence


async def test_a_refused_connection_is_a_bad_target() -> None:
    with refusing_port() as port:
        failed = await failure_of(Request(url=f"http://127.0.0.1:{port}/"))
    assert (type(failed), failed.reason) == (CheckFailed, "connect")
    assert failed.sentence == f"connection refused by 127.0.0.1:{port}"


async def test_a_connection_that_nobody_answers_times_out_in_the_connect_phase() -> None:
    trace = Trace()
    with unanswering_port() as port:
        failed = await failure_of(Request(url=f"http://127.0.0.1:{port}/"), 0.2, trace)
    assert failed.reason == "timeout"
    assert f"no connection to 127.0.0.1:{port} within 0.2 s" in failed.sentence
    assert trace.phases.keys() == {"connect"}
    assert trace.phases["connect"] == pytest.approx(0.2, abs=0.1)


async def test_a_name_without_address_is_a_bad_target() -> None:
    assert (await failure_of(Request(url="http://no-such-name.invalid/"), 3.0)).reason in ("resolve", "timeout")


async def test_what_is_not_http_is_our_mistake() -> None:
    for url in ("ftp://127.0.0.1/", "http://", "http://[::1/"):
        assert isinstance(await failure_of(Request(url=url)), CheckBroken)


async def test_exhausted_descriptors_are_our_fault() -> None:
    async with serve(answer()) as server:
        await fetch(Request(url=server.url), timeout=5)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            broken = await failure_of(Request(url=server.url))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (type(broken), broken.reason) == (CheckBroken, "resource")
    assert "descriptors" in broken.sentence


async def test_reading_stops_at_the_limit() -> None:
    response = await answer_to(endless_body, body_limit=100_000)
    assert (len(response.body), response.truncated, response.status) == (100_000, True, 200)


async def test_a_body_as_long_as_the_limit_is_whole() -> None:
    response = await answer_to(answer(body=b"x" * 100), body_limit=100)
    assert (response.body, response.truncated) == (b"x" * 100, False)
    response = await answer_to(answer(body=b"x" * 101), body_limit=100)
    assert (response.body, response.truncated) == (b"x" * 100, True)


async def test_a_packed_body_is_unpacked_only_up_to_the_limit() -> None:
    assert (await answer_to(gzipped(b"hello"))).body == b"hello"
    bomb = await answer_to(gzip_bomb(20_000_000), body_limit=1000)
    assert (len(bomb.body), bomb.truncated) == (1000, True)
    packed = await answer_to(gzipped(b"hello"), decode=False)
    assert packed.body[:2] == b"\x1f\x8b"


async def test_an_interim_answer_and_trailers_are_not_the_answer() -> None:
    said = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + head(200, {"Transfer-Encoding": "chunked", "A": "1"})
    response = await answer_to(raw(said + b"2\r\nok\r\n0\r\nA: trailer\r\n\r\n"))
    assert (response.status, response.body, response.header("a"), response.header("link")) == (200, b"ok", "1", None)


async def test_phases_add_up_and_show_where_the_time_went() -> None:
    trace = Trace()
    async with serve(drip(head(200, {"Content-Length": "1"}) + b"x", 0.001)) as server:
        started = asyncio.get_running_loop().time()
        await fetch(Request(url=server.url.replace("127.0.0.1", "localhost")), timeout=5, trace=trace)
        elapsed = asyncio.get_running_loop().time() - started
    assert trace.phases.keys() == {"resolve", "connect", "processing", "transfer"}
    assert sum(trace.phases.values()) == pytest.approx(elapsed, abs=0.05)
    assert trace.address == "127.0.0.1"


async def test_cancelling_lets_go_of_the_connection_at_once_and_keeps_the_trace() -> None:
    trace = Trace()
    gone = asyncio.Event()

    async def behave(reader: asyncio.StreamReader, *_: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        gone.set()

    asked = asyncio.Event()
    async with serve(behave) as server:
        task = asyncio.create_task(fetch(Request(url=server.url), timeout=30, trace=trace))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), 2)
    assert "processing" in trace.phases


async def test_closing_the_engine_waits_for_nothing() -> None:
    connected = asyncio.Event()

    async def behave(reader: asyncio.StreamReader, *_: Any) -> None:
        connected.set()
        await reader.read()
        await asyncio.Event().wait()

    loop = asyncio.get_running_loop()
    async with serve(behave) as server:
        task = asyncio.create_task(fetch(Request(url=server.url), timeout=30))
        await connected.wait()
        started = loop.time()
        engine().close()
        assert loop.time() - started < 0.1
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_five_hundred_runs_leave_the_descriptors_as_they_were(serving: Serving, ca_file: str) -> None:
    tls = TLS(ca_file=ca_file)
    async with serve(answer()) as plain, serve(answer(), tls=serving()) as secure, serve(reset_after()) as bad:

        async def rounds(count: int) -> None:
            for _ in range(count):
                await fetch(Request(url=plain.url), timeout=5)
                await failure_of(Request(url=bad.url), 5)
                await fetch(Request(url=secure.url, tls=tls), timeout=5)

        await rounds(5)
        before = open_files()
        await rounds(167)
        await asyncio.sleep(0.05)  # the server's ends close a moment later
        assert open_files() <= before + 5


async def test_two_addresses_of_one_name_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = iter(["127.0.0.1", "127.0.0.2"] * 10)

    async def resolve(host: str, **_: Any) -> tuple[str, ...]:
        await asyncio.sleep(0)
        return (next(addresses),)

    monkeypatch.setattr(sys.modules["heartbeat.http.engine"], "resolve", resolve)
    traces = [Trace() for _ in range(20)]
    async with serve(answer(), host="0.0.0.0") as server:
        url = f"http://shop.example:{server.port}/"
        await asyncio.gather(*(fetch(Request(url=url), timeout=5, trace=trace) for trace in traces))
    assert all((trace.address,) == trace.addresses for trace in traces)
    assert server.requests[0].headers["host"] == f"shop.example:{server.port}"


async def test_the_guard_sees_the_address_that_is_used() -> None:
    seen: list[tuple[str, int]] = []

    def guard(address: str, port: int) -> str | None:
        seen.append((address, port))
        return "no loopback, please" if len(seen) > 1 else None

    async with serve(answer()) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        assert (await fetch(Request(url=url, address_guard=guard, family="ip4"), timeout=5)).status == 200
        refused = await failure_of(Request(url=url, address_guard=guard, family="ip4"), 5)
        assert server.connections == 1
    assert seen == [("127.0.0.1", server.port)] * 2
    assert (type(refused), refused.reason) == (CheckBroken, "config")
    assert "no loopback, please" in refused.sentence


async def test_metadata_is_out_of_reach_behind_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: Any, **__: Any) -> tuple[str, ...]:
        return ("169.254.169.254",)

    monkeypatch.setattr(sys.modules["heartbeat.http.engine"], "resolve", resolve)
    refused = await failure_of(Request(url="http://nice.example/", address_guard=guard_webhook_target))
    assert "metadata" in refused.sentence


async def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert (await answer_to(answer())).status == 200


async def test_a_proxy_is_asked_for_the_whole_url_and_looks_the_name_up_itself() -> None:
    async with serve(answer(body=b"by proxy")) as proxy:
        response = await fetch(Request(url="http://far.invalid/x", proxy=proxy.url), timeout=5)
    assert response.body == b"by proxy"
    assert proxy.requests[0].path == "http://far.invalid/x"


async def test_a_good_certificate_is_described(serving: Serving, ca_file: str) -> None:
    trace = Trace()
    async with serve(answer(), tls=serving()) as server:
        await fetch(Request(url=server.url, tls=TLS(ca_file=ca_file)), timeout=5, trace=trace)
    assert trace.certificate is not None
    assert trace.certificate.problem == ""
    assert "127.0.0.1" in trace.certificate.names
    assert trace.phases["tls"] > 0


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("expired", "it expired on 2020-01-01"),
        ("wrong host", "it is made for DNS:other.example, not for this name"),
        ("unknown authority", "its issuer is not among the trusted authorities"),
    ],
)
async def test_a_bad_certificate_fails_and_is_described_all_the_same(
    case: str, words: str, serving: Serving, ca_file: str
) -> None:
    context = {
        "expired": lambda: serving(not_after=datetime(2020, 1, 1, tzinfo=UTC)),
        "wrong host": lambda: serving("other.example"),
        "unknown authority": lambda: serving(issuer=trustme.CA()),
    }[case]()
    trace = Trace()
    async with serve(answer(), tls=context) as server:
        failed = await failure_of(Request(url=server.url, tls=TLS(ca_file=ca_file)), 5, trace)
        assert (await fetch(Request(url=server.url, tls=TLS(verify=False)), timeout=5)).status == 200
    assert (type(failed), failed.reason) == (CheckFailed, "certificate")
    assert words in failed.sentence
    assert trace.certificate is not None
    assert trace.certificate.not_after is not None
    assert trace.certificate.problem


async def test_a_peer_without_tls_is_a_bad_target(ca_file: str) -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: Any) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with serve(rude) as server, serve(silent) as mute:
        failed = await failure_of(Request(url=server.url.replace("http", "https"), tls=TLS(ca_file=ca_file)))
        late = await failure_of(Request(url=mute.url.replace("http", "https"), tls=TLS(ca_file=ca_file)), 0.2)
    assert (type(failed), failed.reason) == (CheckFailed, "tls")
    assert late.reason == "timeout"
    assert "TLS handshake" in late.sentence


async def test_an_older_tls_than_allowed_is_refused(serving: Serving, ca_file: str) -> None:
    context = serving()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serve(answer(), tls=context) as server:
        failed = await failure_of(Request(url=server.url, tls=TLS(ca_file=ca_file, min_version="1.3")), 5)
        assert (await fetch(Request(url=server.url, tls=TLS(ca_file=ca_file)), timeout=5)).status == 200
    assert failed.reason == "tls"


async def test_a_certificate_is_looked_at_once_in_a_while_and_at_once_when_it_fails(
    serving: Serving, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = serving()
    async with serve(answer(), tls=context) as server:
        request, traces = Request(url=server.url, tls=TLS(ca_file=ca_file)), [Trace(), Trace(), Trace()]
        for trace in traces[:2]:
            await fetch(request, timeout=5, trace=trace)
        assert traces[0].certificate is traces[1].certificate is not None
        monkeypatch.setattr("heartbeat.http.certificates.LOOK_AGAIN", 0.0)
        await fetch(request, timeout=5, trace=traces[2])
        assert traces[2].certificate == traces[0].certificate


async def test_a_certificate_that_was_known_to_be_good_and_is_replaced_by_a_bad_one_is_shown(
    authority: trustme.CA, serving: Serving, ca_file: str
) -> None:
    context, requests = serving(), []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Any) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with serve(note, tls=context) as server:
        request, trace = Request(url=server.url, tls=TLS(ca_file=ca_file), method="POST", body=b"order"), Trace()
        await fetch(request, timeout=5)
        authority.issue_cert("elsewhere.test").configure_cert(context)
        with pytest.raises(CheckFailed) as failed:
            await fetch(request, timeout=5, trace=trace)
    assert failed.value.reason == "certificate"
    assert trace.certificate is not None
    assert trace.certificate.names == "DNS:elsewhere.test"
    assert trace.certificate.problem
    assert len(requests) == 1


async def test_a_server_that_insists_on_another_group_gets_it(serving: Serving, ca_file: str) -> None:
    context = serving()
    context.set_ecdh_curve("secp384r1")
    async with serve(answer(), tls=context) as server:
        assert (await fetch(Request(url=server.url, tls=TLS(ca_file=ca_file)), timeout=5)).status == 200


async def test_nothing_of_one_request_is_left_for_the_next() -> None:
    seen: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: Any) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        number = len(seen)
        writer.write(b"HTTP/1.1 200 OK\r\nX-Number: %d\r\nContent-Length: 1\r\n\r\n%d" % (number, number))
        await writer.drain()

    async with serve(note) as server:
        first = Request(
            url=server.url + "first", method="POST", headers=(("Authorization", "Bearer 1"),), body=b"secret"
        )
        plain = Request(url=server.url + "plain")
        answers = [await fetch(one, timeout=5) for one in (first, plain, first, plain, plain)]
    assert [b"Bearer" in request for request in seen] == [True, False, True, False, False]
    assert [request.split()[:2] for request in seen[:2]] == [[b"POST", b"/first"], [b"GET", b"/plain"]]
    assert [answer.body for answer in answers] == [b"1", b"2", b"3", b"4", b"5"]
    assert [answer.header("x-number") for answer in answers] == ["1", "2", "3", "4", "5"]


async def test_handles_are_kept_for_requests_of_the_same_kind_and_no_more_than_a_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.modules[fetch.__module__], "HANDLES_KEPT", 3)  # the package has a function of that name
    async with serve(answer()) as server:
        for number in (1, 2, 3, 4, 5, 5, 1):
            request = Request(url=server.url, headers=(("X-Number", str(number)),))
            await asyncio.gather(*(fetch(request, timeout=5) for _ in range(2)))
        kept = engine()._free
        assert 1 <= sum(map(len, kept.values())) == engine()._idle <= 3
        assert not any(easy.sink.parts or easy.sink.lines for easies in kept.values() for easy in easies)


@pytest.mark.parametrize("option", ["ca_file", "cert_file"])
@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_unusable_files_of_ours_are_our_fault(
    option: str, content: str | None, serving: Serving, ca_file: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.pem"
    if content is not None:
        path.write_text(content)
    tls = TLS(ca_file=str(path)) if option == "ca_file" else TLS(ca_file=ca_file, cert_file=str(path))
    async with serve(answer(), tls=serving()) as server:
        broken = await failure_of(Request(url=server.url, tls=tls), 5)
    assert (type(broken), broken.reason) == (CheckBroken, "config")
    assert str(path) in broken.sentence


async def test_a_client_certificate_is_shown(
    authority: trustme.CA, serving: Serving, ca_file: str, tmp_path: Path
) -> None:
    context = serving()
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    mine, pem = authority.issue_cert("me"), tmp_path / "me.pem"
    mine.private_key_and_cert_chain_pem.write_to_path(str(pem))
    async with serve(answer(), tls=context) as server:
        tls = TLS(ca_file=ca_file, cert_file=str(pem))
        assert (await fetch(Request(url=server.url, tls=tls), timeout=5)).status == 200
        failed = await failure_of(Request(url=server.url, tls=TLS(ca_file=ca_file)), 5)
    assert type(failed) is CheckFailed


async def test_a_renewed_authority_file_is_read_again(authority: trustme.CA, serving: Serving, tmp_path: Path) -> None:
    path, renewed = tmp_path / "ca.pem", tmp_path / "renewed.pem"
    authority.cert_pem.write_to_path(str(renewed))
    trustme.CA().cert_pem.write_to_path(str(path))
    os.utime(path, (1, 1))
    async with serve(answer(), tls=serving()) as server:
        request = Request(url=server.url, tls=TLS(ca_file=str(path)))
        assert (await failure_of(request, 5)).reason == "certificate"
        os.replace(renewed, path)  # noqa: PTH105 - the path's own method is taken for blocking in a coroutine
        assert (await fetch(request, timeout=5)).status == 200


async def test_a_demanded_http_version_must_be_spoken(serving: Serving, ca_file: str) -> None:
    async with serve(answer(), tls=serving()) as server:
        tls = TLS(ca_file=ca_file)
        assert (await fetch(Request(url=server.url, tls=tls, http_version="1.1"), timeout=5)).http_version == "1.1"
        failed = await failure_of(Request(url=server.url, tls=tls, http_version="2"), 5)
        quic = await failure_of(Request(url=server.url, tls=tls, http_version="3"), 1)
    assert (failed.reason, failed.expected, failed.observed) == ("protocol", "HTTP/2", "HTTP/1.1")
    assert quic.reason in ("connect", "timeout")


async def test_routes_of_the_test_server_are_told_apart() -> None:
    async with serve(routes({"/a": answer(body=b"a"), "/b": answer(body=b"b")})) as server:
        bodies = [(await fetch(Request(url=server.url + path), timeout=5)).body for path in "ab"]
        assert bodies == [b"a", b"b"]
        assert (await fetch(Request(url=server.url + "c"), timeout=5)).status == 404


async def test_a_handle_without_a_guard_is_not_used_where_one_is_asked_for() -> None:
    async with serve(answer()) as server:
        await fetch(Request(url=server.url), timeout=5)
        guarded = Request(url=server.url, address_guard=lambda address, port: f"{address}:{port} is forbidden")
        failed = await failure_of(guarded, 5)
        assert (await fetch(Request(url=server.url), timeout=5)).status == 200
    assert "is forbidden" in failed.sentence

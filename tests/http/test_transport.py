from __future__ import annotations

import gzip
import ssl
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from heartbeat import Probe, http
from heartbeat.check import CheckBroken
from heartbeat.http.cookies import Cookies, cookies_of
from heartbeat.http.engine import fetch
from heartbeat.http.message import TLS, Request
from heartbeat.http.transport import CurlTransport, client
from heartbeat.marks import marks_of
from heartbeat.testing.http import (
    Behaviour,
    answer,
    gzip_bomb,
    gzipped,
    head,
    raw,
    redirect,
    refusing_port,
    reset_after,
    routes,
    serve,
    silent,
    unanswering_port,
)


async def get(behave: Behaviour, options: Request | None = None, **kwargs: Any) -> httpx.Response:
    async with serve(behave) as server, client(transport=CurlTransport(options)) as http:
        return await http.get(server.url, **kwargs)


async def test_an_ordinary_client_sends_and_receives() -> None:
    async with serve(answer(201, {"X-A": "b"}, b'{"a": 1}')) as server, client() as http:
        response = await http.post(server.url, json={"b": 2}, headers={"X-C": "d"}, params={"e": "f g"})
    assert (response.status_code, response.json(), response.headers["x-a"]) == (201, {"a": 1}, "b")
    assert response.http_version == "HTTP/1.1"
    got = server.requests[0]
    assert (got.method, got.path, got.body) == ("POST", "/?e=f+g", b'{"b":2}')
    assert (got.headers["content-type"], got.headers["x-c"]) == ("application/json", "d")
    assert got.headers["host"] == f"127.0.0.1:{server.port}"
    assert got.headers["user-agent"].startswith("heartbeat/")


async def test_httpx_decodes_what_libcurl_hands_on_raw() -> None:
    response = await get(gzipped(b"hello"))
    assert (response.content, response.headers["content-encoding"]) == (b"hello", "gzip")


async def test_the_requests_of_a_run_are_marked_and_those_at_another_origin_are_not() -> None:
    probe = Probe(check="shop", run="run_1")
    async with serve(answer()) as other, serve(redirect(other.url)) as first:
        await probe.http.get(first.url, follow_redirects=True)
        await probe.http.get(other.url, headers={"Traceparent": "mine"})
        await probe.aclose()
    marks = {name.lower(): value for name, value in marks_of("shop", "run_1", "")}
    assert marks.items() <= first.requests[0].headers.items()
    assert not marks.keys() & other.requests[0].headers.keys()
    assert other.requests[0].headers["user-agent"].startswith("heartbeat/")
    assert (marks | {"traceparent": "mine"}).items() <= other.requests[1].headers.items()


async def test_steps_share_cookies_by_whatever_client_they_speak() -> None:
    session: dict[str, Any] = {}
    async with (
        serve(answer(200, {"Set-Cookie": "sid=1; Path=/"})) as server,
        serve(answer(), host="127.0.0.2") as other,
    ):
        first, second = Probe(), Probe()
        first.session = second.session = session
        for probe in (first, second):
            await probe.http.get(server.url, headers={"Cookie": "own=2"} if probe is second else None)
            assert probe.http.cookies["sid"] == "1"
        await second.http.get(other.url)
        await fetch(Request(url=server.url), timeout=5, cookies=cookies_of(session))
        await first.aclose()
        await second.aclose()
    assert [one.headers.get("cookie") for one in server.requests] == [None, "sid=1; own=2", "sid=1"]
    assert "cookie" not in other.requests[0].headers


async def test_a_cookie_of_one_host_is_not_sent_to_hosts_below_it() -> None:
    cookies = Cookies()
    cookies.jar.take("http://example.com/", ("a=1", "b=2; Domain=example.com"))
    sent: list[str] = []

    class Recorder(CurlTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            sent.append(dict((await self._translate(request)).headers).get("Cookie", ""))
            return httpx.Response(200)

    async with client(transport=Recorder(cookies=cookies), cookies=cookies.jar) as http:
        await http.get("http://example.com/")
        await http.get("http://www.example.com/")
    assert sent == ["a=1; b=2", "b=2"]


async def test_cookies_redirects_and_auth_are_those_of_httpx() -> None:
    paths = {"/": answer(302, {"Location": "/next", "Set-Cookie": "a=b"}, b""), "/next": answer()}
    async with serve(routes(paths)) as server, client(follow_redirects=True, auth=("me", "pw")) as http:
        assert (await http.get(server.url)).status_code == 200
    assert server.requests[1].headers["cookie"] == "a=b"
    assert server.requests[1].headers["authorization"].startswith("Basic ")


async def test_redirects_are_not_followed_unless_asked_for() -> None:
    assert (await get(redirect("/x"))).status_code == 302


async def test_an_own_host_header_is_sent() -> None:
    async with serve(answer()) as server, client() as http:
        await http.get(server.url, headers={"Host": "shop.example"})
    assert server.requests[0].headers["host"] == "shop.example"


@pytest.mark.parametrize(
    ("behave", "kind"),
    [
        (silent, httpx.ReadTimeout),
        (reset_after(), httpx.ReadError),
        (raw(b"220 mail\r\n\r\n"), httpx.RemoteProtocolError),
        (gzip_bomb(5_000_000), httpx.DecodingError),
        (answer(body=b"x" * 2_000_000), httpx.DecodingError),
        (raw(head(200, {"Content-Encoding": "gzip, gzip"}) + gzip.compress(b"x")), httpx.DecodingError),
        (raw(head(200, {"Content-Encoding": "gzip"}) + b"no gzip"), httpx.DecodingError),
    ],
)
async def test_failures_are_those_that_httpx_users_know(behave: Behaviour, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        await get(behave, timeout=0.5)


async def test_no_connection_is_a_connect_error() -> None:
    async with client() as http:
        with refusing_port() as port, pytest.raises(httpx.ConnectError, match="refused"):
            await http.get(f"http://127.0.0.1:{port}/")
        with unanswering_port() as port, pytest.raises(httpx.ConnectTimeout):
            await http.get(f"http://127.0.0.1:{port}/", timeout=0.2)
        with pytest.raises(httpx.UnsupportedProtocol):
            await http.get("ftp://127.0.0.1/")


async def test_a_bad_certificate_is_a_connect_error(serving: Callable[..., ssl.SSLContext], ca_file: str) -> None:
    async with serve(answer(), tls=serving("other.example")) as server, client() as http:
        with pytest.raises(httpx.ConnectError, match="certificate"):
            await http.get(server.url)
    trusting = CurlTransport(Request(url="", tls=TLS(ca_file=ca_file)))
    async with serve(answer(), tls=serving()) as server, client(transport=trusting) as http:
        assert (await http.get(server.url)).status_code == 200


async def test_what_is_our_fault_passes_through() -> None:
    async with client(transport=CurlTransport(Request(url="", tls=TLS(ca_file="/nowhere")))) as http:
        with pytest.raises(CheckBroken, match="/nowhere"):
            await http.get("https://127.0.0.1:1/")


async def test_the_remaining_time_is_an_upper_bound() -> None:
    async with serve(silent) as server, client(transport=CurlTransport(remaining=lambda: 0.1), timeout=30) as http:
        with pytest.raises(httpx.ReadTimeout, match=r"0\.1 s"):
            await http.get(server.url)


async def test_a_long_body_can_be_read_in_part() -> None:
    short = CurlTransport(Request(url="", body_limit=1000))
    async with (
        serve(answer(body=b"x" * 3000)) as server,
        client(transport=short) as http,
        http.stream("GET", server.url) as response,
    ):
        read = [chunk async for chunk in _until_error(response)]
    assert b"".join(read) == b"x" * 1000


async def _until_error(response: httpx.Response) -> Any:
    try:
        async for chunk in response.aiter_raw():
            yield chunk
    except httpx.DecodingError:
        return


def test_what_http_does_not_have_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        http.nothing  # noqa: B018 - that is the test

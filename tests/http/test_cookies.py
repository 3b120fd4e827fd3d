"""Cookies of one run, as RFC 6265 says: to whom they are sent, how long, and to nobody else."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.http.cookies import Cookies, cookies_of
from heartbeat.http.engine import fetch
from heartbeat.http.jar import AT_MOST, Jar
from heartbeat.http.message import TLS, Headers, Request, Response, Trace
from heartbeat.testing.http import Behaviour, answer, redirect, routes, serve

Serving = Callable[..., ssl.SSLContext]


def after(url: str, *lines: str) -> Jar:
    jar = Jar()
    jar.take(url, lines)
    return jar


SHOP = "https://shop.example.com/api/login"


@pytest.mark.parametrize(
    ("line", "url", "is_sent"),
    [
        ("a=1", "https://shop.example.com/api/orders", True),
        ("a=1", "https://shop.example.com:8443/api/orders", True),  # ports are no border (section 8.5)
        ("a=1", "http://shop.example.com/api/orders", True),
        ("a=1", "https://shop.example.com/", False),  # the path it was set at (section 5.1.4)
        ("a=1", "https://shop.example.com/apis", False),
        ("a=1; Path=/", "https://shop.example.com/", True),
        ("a=1; Path=/api", "https://shop.example.com/api", True),
        ("a=1; Path=/api/", "https://shop.example.com/api", False),
        ("a=1; Path=api", "https://shop.example.com/api/x", True),  # no path: as if it were not there
        ("a=1; path=/other", "https://shop.example.com/other/x", True),
        ("a=1; Path=/", "https://www.shop.example.com/", False),  # of this host alone
        ("a=1; Path=/", "https://example.com/", False),
        ("a=1; Path=/; Domain=shop.example.com", "https://www.shop.example.com/", True),
        ("a=1; Path=/; Domain=.Example.COM", "https://www.example.com/", True),
        ("a=1; Path=/; Domain=example.com", "https://example.com/", True),
        ("a=1; Path=/; Domain=example.com", "https://badexample.com/", False),
        ("a=1; Path=/; Domain=other.com", "https://other.com/", False),
        ("a=1; Path=/; Domain=other.com", "https://shop.example.com/", False),
        ("a=1; Path=/; Domain=www.shop.example.com", "https://www.shop.example.com/", False),
        ("a=1; Path=/; Domain=com", "https://example.com/", False),
        ("a=1; Path=/; Domain=", "https://shop.example.com/", True),  # PHP writes it like this
        ("a=1; Path=/; Secure", "https://shop.example.com/", True),
        ("a=1; Path=/; Secure", "http://shop.example.com/", False),
        ("a=1; Path=/; HttpOnly; SameSite=Strict; Priority=High", "https://shop.example.com/", True),
        ("a=1; Path=/; Max-Age=60", "https://shop.example.com/", True),
        ("a=1; Path=/; Max-Age=0", "https://shop.example.com/", False),
        ("a=1; Path=/; Max-Age=-1", "https://shop.example.com/", False),
        ("a=1; Path=/; Max-Age=soon", "https://shop.example.com/", True),  # what cannot be read is not there
        ("a=1; Path=/; Expires=Wed, 09 Nov 2099 23:12:40 GMT", "https://shop.example.com/", True),
        ("a=1; Path=/; Expires=Wednesday, 09-Nov-99 23:12:40 GMT", "https://shop.example.com/", False),
        ("a=1; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "https://shop.example.com/", False),
        ("a=1; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=60", "https://shop.example.com/", True),
        ("a=1; Path=/; Expires=never", "https://shop.example.com/", True),
        ("a=1; Path=/; Path=/other", "https://shop.example.com/other/", True),  # the last of them counts
        ("a=1; Path=/; Port=1; Version=1", "https://shop.example.com/", True),  # of RFCs that are no more
        ("a", "https://shop.example.com/api/x", False),
        ("=1", "https://shop.example.com/api/x", False),
        ("a=\x011", "https://shop.example.com/api/x", False),
        ("a=" + "1" * 5000, "https://shop.example.com/api/x", False),
        ("", "https://shop.example.com/api/x", False),
    ],
)
def test_a_cookie_is_sent_where_it_belongs(line: str, url: str, is_sent: bool) -> None:
    assert after(SHOP, line).header(url) == ("a=1" if is_sent else "")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "shop", "[::1]"])
def test_hosts_without_a_domain_get_their_cookies_back(host: str) -> None:
    jar = after(f"http://{host}:8080/", "a=1", f"b=2; Domain={host.strip('[]')}")
    assert jar.header(f"http://{host}/") == "a=1; b=2"
    assert jar.header("http://127.0.0.2/") == ""


def test_nobody_is_within_an_address() -> None:
    jar = after("http://127.0.0.1/", "a=1; Domain=0.0.1", "b=2; Domain=.127.0.0.1")
    assert jar.header("http://1.0.0.1/") == ""
    assert jar.header("http://127.0.0.1/") == "b=2"


def test_a_new_value_replaces_the_old_one_and_longer_paths_come_first() -> None:
    jar = after(SHOP, "a=1; Path=/", "b=1; Path=/api/orders", "a=2; Path=/", "c=3; Path=/api")
    assert jar.header("https://shop.example.com/api/orders") == "b=1; c=3; a=2"
    jar.take(SHOP, ("a=; Path=/; Max-Age=0",))
    assert jar.header("https://shop.example.com/") == ""


def test_no_host_ends_the_cookies_of_another() -> None:
    jar = after(SHOP, "a=1; Path=/; Domain=shop.example.com")
    jar.take("https://evil.test/", ("a=; Path=/; Domain=shop.example.com; Max-Age=0",))
    assert jar.header("https://shop.example.com/") == "a=1"


def test_a_run_keeps_so_many_cookies_at_most() -> None:
    jar = after("http://shop.test/", *(f"a{number}=1" for number in range(AT_MOST + 50)))
    assert len(jar) == AT_MOST


def test_characters_beyond_ascii_go_back_as_they_came() -> None:
    assert after("http://a.test/", "a=\xe5").header("http://a.test/") == "a=\xe5"


@given(lines=st.lists(st.text(st.characters(max_codepoint=255), max_size=80), max_size=5))
def test_no_header_makes_trouble(lines: list[str]) -> None:
    sent = after("http://shop.test/a/b", *lines).header("http://shop.test/a/b")
    assert not set(sent) & set("\r\n\0")


def test_a_run_without_cookies_opens_no_jar() -> None:
    program = (
        "import sys; from heartbeat.http import Cookies, Response; from heartbeat.http.message import Headers\n"
        "cookies = Cookies()\n"
        "answer = Response('http://a/', 200, Headers([b'X: set-cookie: 1\\r\\n']), b'', False, '1.1')\n"
        "assert (cookies.take(answer), cookies.header('http://a/'), cookies.values()) == ((), '', ())\n"
        "print('http.cookiejar' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("name", [b"Set-Cookie", b"set-cookie", b"SET-COOKIE"])
def test_cookies_are_found_among_the_headers_however_they_are_written(name: bytes) -> None:
    cookies = Cookies()
    headers = Headers([b"Date: x\r\n", name + b": a=1\r\n", b"X-Y: z\r\n", name + b":b=2\r\n"])
    assert cookies.take(Response("http://a/", 200, headers, b"", False, "1.1")) == ("a=1", "b=2")
    assert cookies.header("http://a/") == "a=1; b=2"
    assert cookies.values() == ("1", "2")


def test_the_steps_of_a_run_share_their_cookies() -> None:
    session: dict[str, object] = {}
    assert cookies_of(None) is None
    assert cookies_of(session) is cookies_of(session)


def setting(cookie: str, to: str) -> Behaviour:
    """Set a cookie and redirect."""
    return answer(302, {"Set-Cookie": cookie, "Location": to}, b"")


async def test_cookies_of_every_hop_are_kept_and_sent() -> None:
    paths = {"/login": setting("sid=s3cret; Path=/", "/check"), "/check": setting("seen=1", "/home")}
    async with serve(routes({**paths, "/home": answer(200, {"Set-Cookie": "last=1"}), "/": answer()})) as server:
        cookies, trace = Cookies(), Trace()
        request = Request(url=f"{server.url}login", method="POST", body=b"password", follow_redirects=True)
        await fetch(request, timeout=5, trace=trace, cookies=cookies)
        assert trace.set_cookies == ("sid=s3cret; Path=/", "seen=1", "last=1")
        await fetch(Request(url=server.url), timeout=5, cookies=cookies)
        await fetch(Request(url=server.url), timeout=5)
    found = [request.headers.get("cookie") for request in server.requests]
    assert found == [None, "sid=s3cret", "sid=s3cret; seen=1", "sid=s3cret; seen=1; last=1", None]


async def test_cookies_of_a_redirect_stay_with_their_host() -> None:
    async with serve(answer(), host="127.0.0.2") as other, serve(setting("a=1; Path=/", other.url)) as first:
        cookies = Cookies()
        await fetch(Request(url=first.url, follow_redirects=True), timeout=5, cookies=cookies)
        await fetch(Request(url=first.url), timeout=5, cookies=cookies)
    assert "cookie" not in other.requests[0].headers
    assert first.requests[1].headers["cookie"] == "a=1"


async def test_a_secure_cookie_is_never_sent_in_clear(serving: Serving, ca_file: str) -> None:
    async with (
        serve(answer(200, {"Set-Cookie": "a=1; Secure"}), tls=serving()) as safe,
        serve(redirect(safe.url)) as clear,
    ):
        cookies, tls = Cookies(), TLS(ca_file=ca_file)
        await fetch(Request(url=safe.url, tls=tls), timeout=5, cookies=cookies)
        await fetch(Request(url=clear.url, tls=tls, follow_redirects=True), timeout=5, cookies=cookies)
    assert "cookie" not in clear.requests[0].headers
    assert [request.headers.get("cookie") for request in safe.requests] == [None, "a=1"]


async def test_a_cookie_that_the_operator_wrote_wins() -> None:
    async with serve(answer(200, {"Set-Cookie": "a=1"})) as server:
        cookies, own = Cookies(), Request(url=server.url, headers=(("cookie", "a=mine"),))
        for _ in range(2):
            await fetch(own, timeout=5, cookies=cookies)
    assert [request.headers["cookie"] for request in server.requests] == ["a=mine", "a=mine"]

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest

from heartbeat.check import CheckFailed
from heartbeat.http.engine import fetch
from heartbeat.http.message import TLS, Request, Response, Trace
from heartbeat.http.redirects import next_request
from heartbeat.testing.http import answer, endless_redirects, redirect, routes, serve

OWN = (("Authorization", "Bearer s3cret"), ("Cookie", "a=s3cret"), ("X-Api-Key", "s3cret"))


def after(status: int, location: str, request: Request) -> Request | None:
    return next_request(request, Response(request.url, status, (("Location", location),), b"", False, "1.1"))


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_post_becomes_a_get_without_body(status: int) -> None:
    following = after(
        status, "/next", Request(url="http://a/x", method="POST", body=b"b", content_type="t", headers=OWN)
    )
    assert following is not None
    assert (following.method, following.body, following.content_type) == ("GET", None, "")
    assert (following.url, following.headers) == ("http://a/next", OWN)


@pytest.mark.parametrize("status", [307, 308])
def test_method_and_body_are_kept(status: int) -> None:
    following = after(status, "/next", Request(url="http://a/x", method="POST", body=b"b", content_type="t"))
    assert following is not None
    assert (following.method, following.body, following.content_type) == ("POST", b"b", "t")


@pytest.mark.parametrize(("status", "method"), [(301, "PUT"), (302, "DELETE"), (303, "HEAD"), (301, "HEAD")])
def test_other_methods_stay(status: int, method: str) -> None:
    following = after(status, "/", Request(url="http://a/", method=method))
    assert following is not None
    assert following.method == method


@pytest.mark.parametrize(
    "location", ["http://b/", "http://a:81/", "https://a/", "//b/", "http://a.b/", "http://user:pw@b/"]
)
def test_own_headers_and_certificate_stay_at_the_origin(location: str) -> None:
    request = Request(url="http://a/", headers=OWN, tls=TLS(cert_file="mine.pem"))
    following = after(302, location, request)
    assert following is not None
    assert following.headers == ()
    assert following.tls.cert_file == ""
    assert "user" not in following.url


@pytest.mark.parametrize("location", ["http://a:80/x", "HTTP://A/x", "/x", "x", "?y", ""])
def test_own_headers_go_along_within_the_origin(location: str) -> None:
    following = after(302, location, Request(url="http://a/", headers=OWN))
    assert following is not None
    assert following.headers == OWN


@pytest.mark.parametrize("location", ["http://b/", "http://a:81/", "https://b/"])
def test_a_body_goes_to_no_other_origin(location: str) -> None:
    with pytest.raises(CheckFailed, match="another origin"):
        after(307, location, Request(url="http://a/", method="POST", body=b"password"))
    following = after(302, location, Request(url="http://a/", method="POST", body=b"password"))
    assert following is not None
    assert following.body is None


def test_a_body_goes_along_where_a_host_only_asks_for_https() -> None:
    following = after(308, "https://a/x", Request(url="http://a/x", method="POST", body=b"b", headers=OWN))
    assert following is not None
    assert (following.body, following.headers) == (b"b", ())


def test_a_body_never_goes_from_https_to_http() -> None:
    with pytest.raises(CheckFailed, match="in clear"):
        after(307, "http://a/", Request(url="https://a/", method="POST", body=b"password"))
    following = after(303, "http://a/", Request(url="https://a/", method="POST", body=b"password", headers=OWN))
    assert following is not None
    assert (following.body, following.headers) == (None, ())


@pytest.mark.parametrize(
    "location",
    ["ftp://a/", "file:///etc/passwd", "javascript:alert(1)", "http://[", "http://a:b/", "socks5h://a/"],
)
def test_a_redirect_that_leads_to_no_http_is_a_bad_target(location: str) -> None:
    with pytest.raises(CheckFailed) as caught:
        after(302, location, Request(url="http://a/"))
    assert (type(caught.value), caught.value.reason) == (CheckFailed, "protocol")


def test_a_fragment_is_left_out_and_odd_characters_are_encoded() -> None:
    following = after(302, "/b c?d=\xe5#frag", Request(url="http://a/"))
    assert following is not None
    assert following.url == "http://a/b%20c?d=%E5"


@pytest.mark.parametrize("status", [200, 300, 304, 305])
def test_other_statuses_are_final(status: int) -> None:
    assert after(status, "/", Request(url="http://a/")) is None


async def test_as_many_redirects_as_allowed_are_followed_and_not_one_more() -> None:
    paths = {f"/{n}": redirect(f"/{n + 1}") for n in range(3)} | {"/3": answer(body=b"there")}
    async with serve(routes(paths)) as server:
        trace = Trace()
        request = Request(url=server.url + "0", follow_redirects=True, max_redirects=3)
        assert (await fetch(request, timeout=5, trace=trace)).body == b"there"
        assert trace.redirects == 3
        with pytest.raises(CheckFailed, match="more than 2 times") as caught:
            await fetch(Request(url=server.url + "0", follow_redirects=True, max_redirects=2), timeout=5)
    assert caught.value.reason == "protocol"


async def test_a_loop_ends() -> None:
    async with serve(endless_redirects) as server:
        with pytest.raises(CheckFailed, match="more than 10 times"):
            await fetch(Request(url=server.url, follow_redirects=True), timeout=5)
        assert len(server.requests) == 11


async def test_a_redirect_is_an_answer_where_none_is_followed() -> None:
    async with serve(redirect("/x")) as server:
        assert (await fetch(Request(url=server.url), timeout=5)).status == 302
        assert len(server.requests) == 1


async def test_another_port_never_sees_the_credentials(serving: Callable[..., ssl.SSLContext], ca_file: str) -> None:
    async with serve(answer()) as thief, serve(redirect(thief.url), tls=serving()) as shop:
        request = Request(url=shop.url, headers=OWN, follow_redirects=True, tls=TLS(ca_file=ca_file))
        assert (await fetch(request, timeout=5)).status == 200
    assert shop.requests[0].headers["authorization"] == "Bearer s3cret"
    assert "s3cret" not in str(thief.requests)
    assert thief.requests[0].method == "GET"


def test_a_foreign_origin_is_not_looked_for_at_link_local_addresses() -> None:
    following = after(302, "http://169.254.169.254/latest/", Request(url="http://a/"))
    assert following is not None
    assert following.address_guard is not None
    assert "metadata" in (following.address_guard("169.254.169.254", 80) or "")
    assert following.address_guard("10.0.0.1", 80) is None
    at_home = after(302, "/latest/", Request(url="http://a/"))
    assert at_home is not None
    assert at_home.address_guard is None

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from heartbeat import http
from heartbeat.core.switches import NEITHER, AtUrl, Found
from heartbeat.switching.pages import Page, fetch_page
from heartbeat.testing.http import Behaviour, answer, redirect, refusing_port, serve, silent


@pytest.fixture(autouse=True)
async def engine() -> AsyncIterator[None]:
    yield
    http.close()


async def ask(behave: Behaviour, *paths: str, headers: tuple[tuple[str, str], ...] = ()) -> list[Found]:
    async with serve(behave) as server:
        asked = [AtUrl(server.url, headers, path) for path in paths]
        found = await fetch_page(Page(server.url, headers), asked, 0.5)
        assert len(server.requests) <= 1
        return [found[one] for one in asked]


@pytest.mark.parametrize(
    ("body", "path", "said"),
    [
        (b"on", "", True),
        (b"off\n", "", False),
        (b"true", "", True),
        (b"<html>", "", NEITHER),
        (b"", "", "it is empty"),
        (b'{"a": false}', "$.a", False),
        (b'{"a": "off"}', "$.a", False),
        (b'{"a": {"b": [true]}}', "$.a.b[0]", True),
        (b'{"a": 1}', "$.a", True),
        (b'{"a": null}', "$.a", f"at $.a {NEITHER}"),
        (b"{}", "$.a", "there is nothing at $.a"),
        (b"[true, true]", "$[*]", "there is more than one value at $[*]"),
        (b"<html>", "$.a", "its answer is no JSON"),
        (b"[" * 100_000, "$.a", "its answer is no JSON"),
        (b"[" * 200 + b"]" * 200, "$..a", "there is nothing at $..a"),
    ],
)
async def test_an_answer_says_it(body: bytes, path: str, said: Found) -> None:
    assert await ask(answer(200, body=body), path) == [said]


async def test_many_values_of_one_address_are_one_request() -> None:
    body = b"{" + b",".join(b'"%d": %s' % (n, b"true" if n % 2 else b"false") for n in range(120)) + b"}"
    found = await ask(answer(200, body=body), *(f"$['{n}']" for n in range(120)))
    assert found == [bool(n % 2) for n in range(120)]


@pytest.mark.parametrize(
    ("behave", "said"),
    [
        (answer(503, body=b"on"), "it answers 503"),
        (answer(404), "it answers 404"),
        (redirect("/elsewhere"), "it answers 302"),
        (answer(200, body=b"on" + b" " * 300_000), "its answer is longer than 256 KiB"),
    ],
)
async def test_what_is_no_answer_says_nothing(behave: Behaviour, said: str) -> None:
    assert await ask(behave, "") == [said]


async def test_who_does_not_answer_says_nothing_in_a_sentence_without_the_address() -> None:
    (said,) = await ask(silent, "")
    assert isinstance(said, str)
    assert "within 500 ms" in said or "timed out" in said or "0.5" in said
    with refusing_port() as port:
        url = f"http://127.0.0.1:{port}/flags?token=swordfish"
        found = await fetch_page(Page(url, ()), [AtUrl(url)])
    assert "swordfish" not in str(found[AtUrl(url)])
    assert "refused" in str(found[AtUrl(url)])


async def test_an_address_of_a_clouds_secrets_is_not_asked() -> None:
    url = "http://169.254.169.254/latest"
    found = await fetch_page(Page(url, ()), [AtUrl(url)], 1.0)
    assert "link-local" in str(found[AtUrl(url)])


async def test_headers_are_sent() -> None:
    async with serve(answer(200, body=b"on")) as server:
        page = Page(server.url, (("Authorization", "Bearer swordfish"),))
        await fetch_page(page, [AtUrl(server.url, page.headers)])
    assert server.requests[0].headers["authorization"] == "Bearer swordfish"

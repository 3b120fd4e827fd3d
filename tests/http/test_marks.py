"""Headers of one run: sent once, on a handle that is used again, and never to another origin."""

from __future__ import annotations

import pytest

from heartbeat.check import CheckBroken
from heartbeat.http.engine import fetch
from heartbeat.http.message import Request
from heartbeat.marks import marks_of
from heartbeat.testing.http import Received, Server, answer, redirect, routes, serve

NAMES = {"x-synthetic-check", "traceparent", "baggage"}


def marks(run: str = "run_1") -> tuple[tuple[str, str], ...]:
    return marks_of("shop", run, "")


def sent(request: Received) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name in NAMES}


def expected(run: str) -> dict[str, str]:
    return {name.lower(): value for name, value in marks(run)}


async def run_on(server: Server, *runs: str, **options: object) -> list[dict[str, str]]:
    request = Request(url=server.url, **options)  # type: ignore[arg-type]  # the options are those of a test
    for run in runs:
        await fetch(request, timeout=5, marks=marks(run) if run else ())
    return [sent(one) for one in server.requests]


async def test_each_run_has_marks_of_its_own_and_none_is_left_over() -> None:
    async with serve(answer()) as server:
        found = await run_on(server, "run_1", "run_2", "", "run_3")
    assert found == [expected("run_1"), expected("run_2"), {}, expected("run_3")]


async def test_the_headers_of_the_request_go_along() -> None:
    async with serve(answer()) as server:
        await run_on(server, "run_1", "run_2", "", method="POST", body=b"x", headers=(("X-Own", "1"),))
    for request in server.requests:
        assert (request.headers["x-own"], request.body) == ("1", b"x")
        assert request.headers["user-agent"].startswith("heartbeat/")
        assert "expect" not in request.headers


@pytest.mark.parametrize("name", ["traceparent", "Baggage", "x-synthetic-check"])
async def test_a_header_that_the_operator_wrote_wins(name: str) -> None:
    async with serve(answer()) as server:
        found = await run_on(server, "run_1", "run_2", headers=((name, "mine"),))
    assert found == [expected(run) | {name.lower(): "mine"} for run in ("run_1", "run_2")]


async def test_marks_go_along_within_the_origin() -> None:
    async with serve(routes({"/": redirect("/there"), "/there": answer()})) as server:
        await run_on(server, "run_1", follow_redirects=True)
    assert [sent(request) for request in server.requests] == [expected("run_1")] * 2


async def test_marks_go_to_no_other_origin_and_the_user_agent_does() -> None:
    async with serve(answer()) as last, serve(redirect(last.url)) as other, serve(redirect(other.url)) as first:
        await run_on(first, "run_1", follow_redirects=True)
    later = [*other.requests, *last.requests]
    assert sent(first.requests[0]) == expected("run_1")
    assert [sent(request) for request in later] == [{}, {}]
    assert all(request.headers["user-agent"].startswith("heartbeat/") for request in later)


async def test_marks_with_a_line_break_are_refused() -> None:
    async with serve(answer()) as server:
        with pytest.raises(CheckBroken, match="line break"):
            await fetch(Request(url=server.url), timeout=5, marks=(("X-A", "b\r\nX-Evil: 1"),))
        await fetch(Request(url=server.url), timeout=5, marks=(("X-A", "Å"),))
    assert server.requests[0].headers["x-a"] == "Å"

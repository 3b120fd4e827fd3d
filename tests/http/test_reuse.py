"""A handle that is used again sends what the request says, and nothing of the one before."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heartbeat import http
from heartbeat.http import Request, engine
from heartbeat.testing.http import answer, serve

METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"])
BODIES = st.none() | st.sampled_from([b"", b"a secret", b"x" * 3000])
HEADERS = st.lists(
    st.sampled_from([("Authorization", "Bearer one"), ("Authorization", "Bearer two"), ("X-A", "1")]), max_size=1
)
MARKS = st.sampled_from([(), (("traceparent", "00-1-2-01"),), (("X-A", "mark"),)])
SENT = st.tuples(METHODS, HEADERS.map(tuple), BODIES, MARKS).filter(lambda sent: sent[0] != "HEAD" or sent[2] is None)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(SENT, min_size=2, max_size=6))
async def test_requests_one_after_another_are_what_they_say(
    sequence: list[tuple[str, tuple[tuple[str, str], ...], bytes | None, tuple[tuple[str, str], ...]]],
) -> None:
    async with serve(answer(200)) as server:
        for method, headers, body, marks in sequence:
            request = Request(url=server.url, method=method, headers=headers, body=body, content_type="text/plain")
            await engine().fetch(request, timeout=5, marks=marks)
            got = server.requests[-1]
            assert (got.method, got.body) == (method, body or b"")
            assert ("content-type" in got.headers) == (body is not None)
            assert got.headers.get("authorization") == dict(headers).get("Authorization")
            assert got.headers.get("x-a") == {**dict(marks), **dict(headers)}.get("X-A")
            assert got.headers.get("traceparent") == dict(marks).get("traceparent")
        assert sum(len(free) for free in engine()._free.values()) == 1
        http.close()

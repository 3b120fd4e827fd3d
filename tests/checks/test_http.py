from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import ValidationError

from heartbeat import Answer, Check, CheckFailed, Probe
from heartbeat.backing import Backing
from heartbeat.core.model import Result, Run
from heartbeat.core.trace import traceparent
from heartbeat.lag import LagMeter
from heartbeat.pool import Pool
from heartbeat.runner import Workshop, run_check
from heartbeat.testing.http import Server, answer, head, receive, redirect, refusing_port, routes, serve, silent

SOURCE = Path(__file__).parents[2] / "checks" / "http.py"


@pytest.fixture(scope="session")
def kind() -> Any:
    spec = spec_from_file_location("heartbeat_checks.tested.http", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.Http


async def run(check: Check, seconds: float = 5.0) -> Probe:
    probe = Probe(timeout=seconds)
    await check.run(probe)
    assert not probe.refused
    return probe


async def fail(check: Check, seconds: float = 5.0) -> tuple[Probe, CheckFailed]:
    probe = Probe(timeout=seconds)
    with pytest.raises(CheckFailed) as caught:
        await check.run(probe)
    assert not probe.refused
    return probe, caught.value


def evidence(probe: Probe) -> Mapping[str, str]:
    return {name: str(note() if callable(note) else note) for name, note in probe.evidence.items()}


async def test_a_good_answer_is_measured_without_evidence(kind: Any) -> None:
    async with serve(answer(body=b"hello")) as server:
        probe = await run(kind(url=server.url))
    assert probe.measurements == {"status_code": 200, "body_bytes": 5, "redirects": 0, "tls": 0, "http_version": 1.1}
    assert probe.phases.keys() == {"connect", "processing", "transfer"}
    assert probe.evidence == {}


async def test_a_bad_status_fails_with_evidence(kind: Any) -> None:
    async with serve(answer(503, body=b"sorry")) as server:
        probe, failed = await fail(kind(url=server.url))
    assert (failed.reason, failed.sentence) == ("status", "the status is 503, not 200-299")
    assert probe.measurements["status_code"] == 503
    assert evidence(probe)["body"] == "sorry"
    assert evidence(probe)["curl"].endswith(server.url)


async def test_what_was_not_reached_is_absent(kind: Any) -> None:
    with refusing_port() as port:
        probe, failed = await fail(kind(url=f"http://127.0.0.1:{port}/"))
    assert failed.reason == "connect"
    assert probe.measurements.keys() == {"redirects", "tls"}
    assert probe.phases.keys() == {"connect"}


async def test_our_sentence_comes_before_the_deadline(kind: Any) -> None:
    async with serve(silent) as server:
        probe, failed = await fail(kind(url=server.url), 0.3)
    assert failed.reason == "timeout"
    assert "did not answer" in failed.sentence
    assert probe.remaining > 0


async def test_bodies_are_sent_as_post(kind: Any) -> None:
    async with serve(answer()) as server:
        await run(kind.model_validate({"url": server.url, "json": {"a": "å"}}))
        await run(kind(url=server.url, form={"a": "b c", "n": 1, "t": True}))
        await run(kind(url=server.url, body="text", method="PUT"))
        await run(kind(url=server.url, body="<a/>", headers={"Content-Type": "text/xml"}))
        await run(kind.model_validate({"url": server.url, "json": None}))
    first, second, third, fourth, fifth = server.requests
    assert (first.method, first.body.decode(), first.headers["content-type"]) == (
        "POST",
        '{"a": "å"}',
        "application/json",
    )
    assert (second.body, second.headers["content-type"]) == (
        b"a=b+c&n=1&t=true",
        "application/x-www-form-urlencoded",
    )
    assert (third.method, third.body) == ("PUT", b"text")
    assert fourth.headers["content-type"] == "text/xml"
    assert fifth.body == b"null"


async def test_credentials_are_sent_and_never_shown(kind: Any) -> None:
    async with serve(answer(401)) as server:
        basic = {"basic": {"user": "me", "password": "s3cret"}}
        probe, _ = await fail(kind.model_validate({"url": server.url, "auth": basic}))
        other, _ = await fail(kind.model_validate({"url": server.url, "auth": {"bearer": "s3cret"}}))
    assert server.requests[0].headers["authorization"] == "Basic bWU6czNjcmV0"
    assert server.requests[1].headers["authorization"] == "Bearer s3cret"
    shown = str(evidence(probe)) + str(evidence(other))
    assert "s3cret" not in shown
    assert "bWU6czNjcmV0" not in shown


async def test_redirects_are_followed_and_counted(kind: Any) -> None:
    async with serve(answer(body=b"final")) as goal, serve(redirect(goal.url)) as start:
        probe = await run(kind(url=start.url))
        await run(kind.model_validate({"url": start.url, "follow_redirects": False, "expect": {"status": 302}}))
        _, failed = await fail(kind(url=start.url, max_redirects=0))
    assert (probe.measurements["redirects"], probe.measurements["body_bytes"]) == (1, 5)
    assert "more than 0 times" in failed.sentence


async def test_a_truncated_body_is_no_failure_by_itself(kind: Any) -> None:
    async with serve(answer(body=b"x" * 1000)) as server:
        probe = await run(kind(url=server.url, body_limit=10))
        assert probe.measurements["body_bytes"] == 10
        options = {"url": server.url, "body_limit": 10, "expect": {"body": {"contains": "y"}}}
        _, failed = await fail(kind.model_validate(options))
    assert "its first 10 bytes" in failed.sentence


async def test_a_path_that_is_long_in_finding_nothing_holds_nobody_up(kind: Any) -> None:
    nested = "[" + "0," * 50_000 + "0]"
    for _ in range(90):
        nested = '{"a":' + nested + "}"
    turns, pool = 0, Pool()

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.02)
            turns += 1

    async with serve(answer(200, {"Content-Type": "application/json"}, nested.encode())) as server:
        check = kind(url=server.url, expect={"json": {"$..a..token": {"exists": True}}})
        turning = asyncio.create_task(turn())
        workshop = Workshop(pool, LagMeter(), str, Backing(in_thread=pool.run))
        finished = await run_check(check, Run("run_1", "shop", 0.0, 0, 0.0, 0.5), workshop)
        turning.cancel()
    assert finished.result.reason == "timeout"
    assert finished.leftover is not None
    assert turns > 5


async def test_the_expiry_is_known_also_when_the_certificate_fails(kind: Any, tmp_path: Path) -> None:
    authority, ca_file, ends = trustme.CA(), tmp_path / "ca.pem", datetime(2020, 1, 1, tzinfo=UTC)
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", not_after=ends).configure_cert(context)
    async with serve(answer(), tls=context) as server:
        failing, failed = await fail(kind(url=server.url, ca_file=str(ca_file)))
        passing = await run(kind(url=server.url, verify=False))
    assert failed.reason == "certificate"
    for probe in (failing, passing):
        assert probe.measurements["certificate_expiry_timestamp_seconds"] == ends.timestamp()
        assert probe.measurements["tls"] == 1
    assert len(passing.measurements) <= 8


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "ftp://a/"}, "begins with http"),
        ({"url": "a.example"}, "begins with http"),
        ({"url": "http://"}, "names no host"),
        ({"url": "http://a:b/"}, "URL"),
        ({"url": "http://user:s3cret@a/"}, "under auth"),
        ({"url": "http://a/b c"}, "%20"),
        ({"body": "a", "form": {}}, "only one of"),
        ({"json": 1, "body": "a"}, "only one of"),
        ({"auth": {}}, "either basic or bearer"),
        ({"auth": {"bearer": "a"}, "headers": {"authorization": "b"}}, "cannot both"),
        ({"headers": {"a b": "c"}}, "headers"),
        ({"headers": {"a": "c\r\nd: e"}}, "line breaks"),
        ({"method": "GET /"}, "method"),
        ({"key_file": "k"}, "needs cert_file"),
        ({"url": "http://[::1]/", "family": "ip4"}, "not of the family"),
        ({"url": "http://127.0.0.1/", "family": "ip6"}, "not of the family"),
        ({"proxy": "socks5://a"}, "a proxy is"),
        ({"http_version": "3"}, "HTTP/3 needs"),
        ({"http_version": "1.0"}, "http_version"),
        ({"expect": {"json": {"$.a[": 1}}}, "no JSONPath"),
        ({"json": float("nan")}, "JSON"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_mistakes_are_errors_at_load(kind: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        kind.model_validate({"url": "http://a/", **options})
    assert "s3cret" not in str(caught.value)


def test_a_host_beyond_ascii_and_a_fragment_are_put_right(kind: Any) -> None:
    assert kind(url="http://bücher.example/a#b").url == "http://xn--bcher-kva.example/a"


def test_every_option_is_described(kind: Any) -> None:
    properties = kind.model_json_schema()["properties"]
    assert [name for name, field in properties.items() if not field.get("description")] == []


def test_credentials_are_not_in_the_text_of_a_check(kind: Any) -> None:
    check = kind.model_validate({"url": "http://a/", "auth": {"basic": {"user": "me", "password": "s3cret"}}})
    assert "s3cret" not in repr(check)


@pytest.mark.parametrize(
    ("expected", "reason"), [({}, "auth"), ({"status": 403}, "auth"), ({"status": [200, 401]}, "")]
)
async def test_an_unexpected_401_is_a_refused_account(kind: Any, expected: dict[str, Any], reason: str) -> None:
    async with serve(answer(401)) as server:
        check = kind.model_validate({"url": server.url, "expect": expected})
        if not reason:
            await run(check)
            return
        probe, failed = await fail(check)
    assert (failed.reason, failed.observed) == (reason, "401")
    assert probe.measurements["status_code"] == 401


class Story(Check):
    """Runs other checks as its steps, and keeps what they heard."""

    steps: tuple[tuple[str, Any], ...]
    answers: list[Any]

    async def run(self, probe: Probe) -> None:
        for name, check in self.steps:
            self.answers.append(await probe.step(name, check))


def story(*steps: tuple[str, Check]) -> Story:
    return Story(steps=steps, answers=[])


async def run_as_daemon(check: Check, *, marks: bool = True) -> Result:
    workshop = Workshop(Pool(), LagMeter(), str, Backing(marks=lambda: marks))
    return (await run_check(check, Run("run_1", "shop", 0.0, 0, 0.0, 5.0), workshop)).result


async def test_requests_are_marked_with_the_run_and_the_step(kind: Any) -> None:
    async with serve(answer()) as server:
        alone = await run_as_daemon(kind(url=server.url))
        steps = await run_as_daemon(story(("login", kind(url=server.url)), ("order", kind(url=server.url))))
        off = await run_as_daemon(kind(url=server.url), marks=False)
    names = ("", "/login", "/order")
    assert [request.headers.get("traceparent") for request in server.requests] == [
        *(traceparent("run_1", name) for name in names),
        None,
    ]
    assert server.requests[0].headers["x-synthetic-check"] == "shop; run=run_1"
    assert [result.marked for result in (alone, steps, off)] == [True, True, False]


async def test_steps_share_cookies_and_checks_alone_have_none(kind: Any) -> None:
    login = answer(302, {"Set-Cookie": "sid=s3cret-of-this-run; Path=/", "Location": "/home"}, b"")
    async with serve(routes({"/login": login, "/home": answer(), "/bye": answer(403, body=b"no")})) as server:
        post = kind.model_validate({"url": f"{server.url}login", "form": {"password": "x"}})
        home = kind(url=f"{server.url}home")
        whole = story(("login", post), ("home", home))
        result = await run_as_daemon(whole)
        await run_as_daemon(home)
    assert (result.outcome, result.measurements["login_redirects"]) == ("ok", 1)
    assert [request.headers.get("cookie") for request in server.requests] == [
        None,
        "sid=s3cret-of-this-run",
        "sid=s3cret-of-this-run",
        None,
    ]
    first, second = whole.answers
    assert ("Set-Cookie", "sid=s3cret-of-this-run; Path=/") in first.headers
    assert "set-cookie" not in {name.lower() for name, _ in second.headers}


async def test_cookies_are_in_no_evidence(kind: Any) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
        body = (await receive(reader, server)).headers.get("cookie", "none").encode()
        writer.write(head(500, {"Content-Length": str(len(body)), "Set-Cookie": "other=s3cret-too; Path=/"}) + body)

    async with serve(
        routes({"/login": answer(200, {"Set-Cookie": "sid=s3cret-of-this-run"}), "/echo": echo})
    ) as server:
        asked = kind.model_validate({"url": f"{server.url}echo", "expect": {"status": 500, "body": "well"}})
        result = await run_as_daemon(story(("login", kind(url=f"{server.url}login")), ("page", asked)))
    assert server.requests[1].headers["cookie"] == "sid=s3cret-of-this-run"
    assert "s3cret" not in str(result)
    assert result.evidence["page body"] == "sid=<redacted:cookie>"
    assert """-H 'Cookie: '"$COOKIE" """ in result.evidence["page curl"]


@pytest.mark.parametrize("status", [200, 500])
async def test_a_step_offers_its_answer_also_when_it_is_not_as_expected(kind: Any, status: int) -> None:
    class Looks(Check):
        async def run(self, probe: Probe) -> None:
            try:
                await probe.step("page", kind(url=server.url))
            finally:
                heard.append(probe.heard)

    heard: list[Answer] = []
    said = answer(status, {"Content-Type": "text/plain; charset=iso-8859-1", "X-Id": "7"}, b"\xe5" * 10)
    async with serve(said) as server:
        await run_as_daemon(Looks())
    assert heard[0].text == "å" * 10
    assert dict(heard[0].headers)["X-Id"] == "7"


async def test_an_answer_is_no_longer_than_the_limit(kind: Any) -> None:
    async with serve(answer(body=b"x" * 1000)) as server:
        whole = story(("page", kind(url=server.url, body_limit=10)))
        await run_as_daemon(whole)
    assert whole.answers[0].text == "x" * 10

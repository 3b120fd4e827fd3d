from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Message, Receive, Scope, Send

from heartbeat.core.model import Outcome, Reason, Result
from heartbeat.core.status import Incident, Status
from heartbeat.web.app import Streamed, View, _checks, create_app
from heartbeat.web.serve import open_port, serving

Serve = Callable[[Any], Awaitable[httpx.AsyncClient]]
Make = Callable[..., Any]


async def test_metrics_show_the_checks_and_the_daemon(serve: Serve, view: Make, make: Make, ok: Result) -> None:
    client = await serve(create_app(view(make("shop", ok))))

    answer = await client.get("/metrics")

    names = [family.name for family in text_string_to_metric_families(answer.text)]
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert {"heartbeat_check_up", "heartbeat_probe_body_bytes", "heartbeat_build_info"} <= set(names)
    assert len(names) == len(set(names))
    assert 'location="eu"' in answer.text


async def test_metrics_are_packed_for_who_wants_them_so(serve: Serve, view: Make, make: Make, ok: Result) -> None:
    client = await serve(create_app(view(*(make(f"shop-{i}", ok) for i in range(300)))))

    packed = await client.get("/metrics")
    plain = await client.get("/metrics", headers={"Accept-Encoding": "identity"})

    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    checks = [line for line in plain.text.splitlines() if "check=" in line]
    assert checks == [line for line in packed.text.splitlines() if "check=" in line]


@pytest.mark.system("prometheus")
async def test_promtool_accepts_what_is_served(serve: Serve, view: Make, make: Make, ok: Result) -> None:
    client = await serve(create_app(view(make("shop", ok))))
    program = shutil.which("promtool")
    assert program

    page = (await client.get("/metrics")).content
    run = subprocess.run
    done = run([program, "check", "metrics"], input=page, capture_output=True, timeout=50, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize(("path", "what"), [("/-/healthy", "unhealthy"), ("/-/ready", "unready")])
async def test_health_is_a_sentence(serve: Serve, view: Make, path: str, what: str) -> None:
    good = await serve(create_app(view()))
    bad = await serve(create_app(view(**{what: "the scheduler stands still (hunter2-hunter2)"})))

    well, unwell = await good.get(path), await bad.get(path)

    assert (well.status_code, well.text) == (200, "ok\n")
    assert (unwell.status_code, unwell.text) == (503, "the scheduler stands still (<redacted:TOKEN>)\n")


async def test_the_api_tells_all_of_a_check(serve: Serve, view: Make, make: Make) -> None:
    result = Result(
        Outcome.FAIL,
        0.5,
        Reason.STATUS,
        "it said hunter2-hunter2",
        "200",
        "500 hunter2-hunter2",
        {"size": 2.0},
        {"w": 1},
    )
    live = make("shop", result, {"team": "hunter2-hunter2"})
    live.status = Status(fail=True, since=900.0, incident=Incident("inc_1", 900.0, 1, 900.0))
    client = await serve(create_app(view(live)))

    answer = await client.get("/api/v1/checks/shop")
    listed = await client.get("/api/v1/checks")

    told = answer.json()
    assert "hunter2" not in answer.text
    assert listed.json() == {"checks": [told]}
    assert told["name"] == "shop"
    assert (told["severity"], told["up"], told["broken"], told["since"]) == ("fail", False, False, 900.0)
    assert (told["outcome"], told["reason"], told["sentence"]) == ("fail", "status", "it said <redacted:TOKEN>")
    assert (told["expected"], told["observed"]) == ("200", "500 <redacted:TOKEN>")
    assert (told["last_run"], told["next_run"], told["duration"]) == (1000.5, 1234.5, 0.5)
    assert (told["phases"], told["measurements"]) == ({"w": 1}, {"size": 2.0})
    assert told["incident"] == {"id": "inc_1", "since": 900.0}
    assert told["findings"][0]["observed"] == "<redacted:TOKEN>"
    assert told["labels"] == {"team": "<redacted:TOKEN>"}
    assert told["runs"] == {"ok": 0, "fail": 1, "error": 0, "missed": 0}


async def test_a_check_that_has_not_run_says_so(serve: Serve, view: Make, make: Make) -> None:
    client = await serve(create_app(view(make("new"))))

    told = (await client.get("/api/v1/checks/new")).json()

    assert (told["severity"], told["up"], told["outcome"], told["last_run"]) == (None, None, None, None)
    assert told["next_run"] is None


async def test_the_list_is_valid_without_and_with_many_checks(serve: Serve, view: Make, make: Make, ok: Result) -> None:
    empty = await serve(create_app(view()))
    many = await serve(create_app(view(*(make(f"check-{i}", ok) for i in range(101)))))

    assert (await empty.get("/api/v1/checks")).json() == {"checks": []}
    assert [told["name"] for told in (await many.get("/api/v1/checks")).json()["checks"]] == [
        f"check-{i}" for i in range(101)
    ]


def test_checks_that_go_while_they_are_listed_are_left_out(view: Make, make: Make) -> None:
    seen: View = view(*(make(f"check-{i}") for i in range(50)))
    pieces = _checks(seen)

    first = next(pieces)
    seen.state.checks.clear()

    assert len(json.loads(first + b"".join(pieces))["checks"]) == 20


async def test_an_unknown_check_is_a_404_with_a_sentence(serve: Serve, view: Make) -> None:
    client = await serve(create_app(view()))

    answer = await client.get("/api/v1/checks/hunter2-hunter2%22<b>")

    assert answer.status_code == 404
    assert answer.json() == {"error": "no check is named '<redacted:TOKEN>\"<b>'"}
    assert answer.headers["content-type"] == "application/json"


async def test_the_index_links_what_there_is(serve: Serve, view: Make, make: Make) -> None:
    client = await serve(create_app(view(make("shop"))))

    answer = await client.get("/")

    assert "Keeps 1 checks going in eu" in answer.text
    assert '<a href="/metrics">' in answer.text
    assert "<script" not in answer.text


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/api/v1/checks", "/nowhere"])
async def test_every_answer_has_safe_headers(serve: Serve, view: Make, path: str) -> None:
    client = await serve(create_app(view()))

    headers = (await client.get(path)).headers

    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/metrics", "/api/v1/checks", "/api/v1/checks/x", "/-/healthy"])
async def test_nothing_can_be_written(serve: Serve, view: Make, path: str, method: str) -> None:
    client = await serve(create_app(view()))

    assert (await client.request(method, path)).status_code == 405


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/checks", "/-/healthy", "/"])
async def test_head_has_no_body(serve: Serve, view: Make, path: str) -> None:
    client = await serve(create_app(view()))

    answer = await client.head(path)

    assert (answer.status_code, answer.content) == (200, b"")


async def test_a_slash_too_many_is_no_redirect(serve: Serve, view: Make) -> None:
    client = await serve(create_app(view()))

    assert (await client.get("/metrics/")).status_code == 404


async def test_the_loop_goes_on_while_a_large_answer_is_made() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]  # it never comes

    task = asyncio.create_task(other())
    await Streamed(iter([b"", b"page"] * 50), {})({}, receive, send)
    task.cancel()

    assert turns >= 99
    assert [message.get("body") for message in sent] == [None, *[b"page"] * 50, b""]
    assert [message.get("more_body") for message in sent] == [None, *[True] * 50, False]


@dataclass
class Endless:
    """An app whose answer never ends. It counts the pieces that were made; ``over`` tells that no more will be."""

    made: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Streamed(self.slices(), {})(scope, receive, send)

    def slices(self) -> Iterator[bytes]:
        try:
            while True:
                self.made += 1
                yield bytes(128 * 1024)
        finally:
            self.over.set()

    async def stall(self) -> int:
        """Wait until nothing is made any more, as what was made before is not taken; return how much there is."""
        before = -1
        while before != self.made:
            before = self.made
            for _ in range(50):
                await asyncio.sleep(0)
        return self.made


@asynccontextmanager
async def reading(body: Endless) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Ask for the body on a connection that takes in little unasked."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    async with serving(body, open_port("127.0.0.1", 0), grace=1) as address:
        client.connect(("127.0.0.1", int(address.rpartition(":")[2])))
        reader, writer = await asyncio.open_connection(sock=client, limit=16 * 1024)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readline()
        yield reader, writer
        writer.close()
        await asyncio.wait_for(body.over.wait(), 10)


async def test_a_page_is_made_no_faster_than_it_is_read() -> None:
    body = Endless()
    async with reading(body) as (reader, _):
        stalled = await body.stall()
        await reader.readexactly(4 * 1024 * 1024)
        taken = await body.stall()

    assert stalled * 128 / 1024 < 16, "MB; what the kernel takes, and one piece"
    assert 16 <= taken - stalled <= 48, "4 MB are 32 pieces"


async def test_a_page_is_made_no_further_when_its_reader_is_gone() -> None:
    body = Endless()
    async with reading(body) as (_, writer):
        await body.stall()
        assert not body.over.is_set()
        writer.transport.abort()
        await asyncio.wait_for(body.over.wait(), 10)


def test_the_first_page_loads_nothing_that_would_hold_the_loop() -> None:
    program = """
import asyncio, sys
from heartbeat.web.app import Streamed

async def send(message): pass
async def receive(): await asyncio.Event().wait()

before = set(sys.modules)
asyncio.run(Streamed(iter([b"page"]), {})({}, receive, send))
print(sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True)

    assert done.stdout == "[]\n"


def test_ten_thousand_checks_are_described_in_small_steps(view: Make, make: Make, ok: Result) -> None:
    seen = view(*(make(f"check-{i}", ok) for i in range(500)))
    started = perf_counter()

    pieces = list(_checks(seen))

    assert len(pieces) == 26
    assert (perf_counter() - started) / 500 < 0.002

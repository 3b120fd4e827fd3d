from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from time import time
from typing import Any
from urllib.parse import quote

import pytest

from heartbeat import CheckBroken, http
from heartbeat.backing import Backing, Conceal, Memory, tell_nobody
from heartbeat.core.model import Reason, Result, Run
from heartbeat.lag import LagMeter
from heartbeat.plugins import discover, load_type
from heartbeat.pool import Pool
from heartbeat.runner import Workshop, run_check
from heartbeat.testing.http import Server, head, receive, serve

Flow: Any = load_type(discover().sources["flow"])
TOKEN = "token-of-this-session-4711"
PASSWORD = "correct horse battery"


@dataclass
class Shop:
    """A shop with a login by token, and orders that can be made, read and taken back."""

    url: str = ""
    orders: dict[int, dict[str, Any]] = field(default_factory=dict)
    passwords: tuple[str, ...] = (PASSWORD,)
    broken: dict[str, tuple[int, Any]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    shown_after: int = 0
    asked: list[str] = field(default_factory=list)
    made: int = 0
    before: Callable[[str], None] = lambda _: None

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
        got = await receive(reader, server)
        what = f"{got.method} {got.path}"
        self.asked.append(what)
        self.before(what)
        if what in self.silent:
            await asyncio.Event().wait()
        headers: dict[str, str] = {}
        status, value = self.broken.get(what) or self.serve(what, got.headers, json.loads(got.body or b"null"), headers)
        body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        writer.write(head(status, {"Content-Length": str(len(body)), **headers}) + body)
        await writer.drain()

    def serve(self, what: str, given: Any, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
        method, path = what.split(" ")
        if path == "/login":
            if body["password"] not in self.passwords:
                return 401, {"error": f"no user with the password {body['password']}"}
            headers |= {"Set-Cookie": 'sid="abcdefgh-1"; HttpOnly', "X-Version": "17"}
            return 200, {"token": TOKEN, "plan": "basic"}
        if path == "/open":
            return 200, {"csrf": "csrf=abc123def;", "cookie": given.get("cookie")}
        if given.get("authorization") != f"Bearer {TOKEN}":
            return 401, {"error": "who are you?"}
        return self.serve_orders(method, path.removeprefix("/orders").strip("/"), body)

    def serve_orders(self, method: str, number: str, body: Any) -> tuple[int, Any]:
        if method == "POST":
            self.made += 1
            self.orders[self.made] = {"id": self.made, "reference": body["reference"], "created_at": time()}
            return 201, self.orders[self.made]
        if not number:
            return 200, {"orders": list(self.orders.values())}
        if int(number) not in self.orders or self.shown_after > 0:
            self.shown_after -= 1
            return 404, {}
        return 200, self.orders.pop(int(number)) if method == "DELETE" else self.orders[int(number)]


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    made = Shop()
    async with serve(made) as server:
        made.url = server.url.rstrip("/")
        yield made
        http.close()
        await asyncio.sleep(0)


class Desk:
    """Accounts as the daemon leases them: credentials that are tried in turn."""

    def __init__(self, *passwords: str) -> None:
        self.passwords = list(passwords)
        self.log: list[str] = []
        self.conceal: Conceal = tell_nobody

    def __getitem__(self, what: str) -> str:
        value = {"user": "synthetic", "password": self.passwords[0]}[what]
        if what != "user":
            self.conceal(f"accounts.shopper.{what}", value)
        return value

    async def refuse(self) -> bool:
        self.log.append("refused")
        self.passwords.pop(0)
        return bool(self.passwords)

    def accept(self) -> None:
        self.log.append("accepted")

    @asynccontextmanager
    async def lease(self, name: str, _within: float, conceal: Conceal = tell_nobody) -> AsyncIterator[Desk]:
        self.conceal = conceal
        self.log.append(f"leased {name}")
        try:
            yield self
        finally:
            self.log.append(f"returned {name}")


def leasing(desk: Desk) -> Any:
    return desk.lease


@dataclass
class Written:
    """What a check remembers, as it is on disk."""

    text: str = ""
    memory: Memory = field(init=False)
    saved: list[Any] = field(default_factory=list)
    noted: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Start as after a kill: only what was written is there."""
        self.memory = Memory(self.text, self._write)

    async def _write(self, text: str) -> None:
        self.text = text
        self.saved.append(json.loads(text))
        if any(entry["values"] for entry in self.saved[-1].get("left", ())):
            self.noted.set()


async def run(flow: Any, kept: Written | None = None, desk: Desk | None = None, seconds: float = 5.0) -> Result:
    kept = kept or Written()
    backing = Backing(memory=lambda _: kept.memory, lease=leasing(desk or Desk(PASSWORD)), marks=lambda: False)
    workshop = Workshop(Pool(), LagMeter(), str, backing)
    finished = await run_check(flow, Run("run_1", "shop", 0.0, 0, 0.0, seconds), workshop)
    assert finished.leftover is None
    return finished.result


def login(shop: Shop, **more: Any) -> dict[str, Any]:
    body = {"user": "${accounts.shopper.user}", "password": "${accounts.shopper.password}"}
    return {
        "name": "login",
        "http": {"url": f"{shop.url}/login", "json": body},
        "take": {"token": "$.token", "sid": {"cookie": "sid"}},
        **more,
    }


def asking(shop: Shop, name: str, path: str, **more: Any) -> dict[str, Any]:
    options = more.pop("http", {})
    return {"name": name, "http": {"url": f"{shop.url}{path}", **BEARER, **options}, **more}


BEARER = {"headers": {"Authorization": "Bearer ${steps.login.token}"}}
POST = {"json": {"reference": "${run.tag}"}, "expect": {"status": 201}}
DELETE = {"method": "DELETE", "expect": {"status": [200, 404]}}


def order(shop: Shop, **more: Any) -> dict[str, Any]:
    return asking(shop, "order", "/orders", http=POST, creates=True, take={"id": "$.id"}, **more)


def shopping(shop: Shop, *between: dict[str, Any], **more: Any) -> Any:
    remove = asking(shop, "remove", "/orders/${steps.order.id}", http=DELETE)
    return Flow.model_validate({"steps": [login(shop), order(shop), *between], "cleanup": [remove], **more})


def sweeping(shop: Shop, older_than: str = "1s") -> dict[str, Any]:
    return {
        "list": {"http": {"url": f"{shop.url}/orders", **BEARER}},
        "each": "$.orders[*]",
        "tag": "$.reference",
        "created": "$.created_at",
        "older_than": older_than,
        "remove": {"http": {"url": f"{shop.url}/orders/${{item.id}}", **BEARER, **DELETE}},
    }


def left_by(shop: Shop, tag: str, age: float = 60.0) -> int:
    shop.made += 1
    shop.orders[shop.made] = {"id": shop.made, "reference": tag, "created_at": time() - age}
    return shop.made


async def test_a_round_trip_that_is_well_is_cleaned_up(shop: Shop) -> None:
    kept = Written()
    result = await run(shopping(shop, asking(shop, "look", "/orders/${steps.order.id}")), kept)
    assert (result.outcome, result.evidence) == ("ok", {})
    assert shop.asked == ["POST /login", "POST /orders", "GET /orders/1", "DELETE /orders/1"]
    assert shop.orders == {}
    assert {"login", "order", "look", "login.connect"} <= result.phases.keys()
    assert result.measurements["leftovers"] == 0
    assert result.measurements["order_status_code"] == 201
    assert result.duration == pytest.approx(sum(result.phases[name] for name in ("login", "order", "look")))


async def test_what_is_created_is_noted_before_and_forgotten_when_it_is_gone(shop: Shop) -> None:
    kept = Written()
    noted: list[tuple[str, Any]] = []
    shop.before = lambda what: noted.append((what, json.loads(kept.text or "{}").get("left")))
    await run(shopping(shop), kept)
    before = dict(noted)
    tag = before["POST /orders"][0]["tag"]
    assert before["POST /login"] is None
    assert (before["POST /orders"][0]["begun"], before["POST /orders"][0]["values"]) == (["order"], {})
    assert before["DELETE /orders/1"][0]["values"] == {"order.id": 1}
    assert tag.startswith("heartbeat-")
    assert len(tag) == 26
    assert json.loads(kept.text) == {"left": []}
    assert not any(secret in json.dumps(kept.saved) for secret in (TOKEN, PASSWORD, "synthetic", "abcdefgh"))


async def test_a_failing_step_ends_the_flow_with_its_own_evidence_and_the_cleanup_done(shop: Shop) -> None:
    shop.broken["GET /orders/1"] = 500, "sorry"
    look = asking(shop, "look", "/orders/${steps.order.id}")
    result = await run(shopping(shop, look, asking(shop, "again", "/orders")))
    assert (result.sentence, result.reason) == ("look: the status is 500, not 200-299", Reason.STATUS)
    assert shop.orders == {}
    assert {name.partition(" ")[0] for name in result.evidence} == {"steps", "look"}
    assert result.evidence["look body"] == "sorry"
    lines = result.evidence["steps"].splitlines()
    assert [line.partition(",")[0] for line in lines] == [
        "login: ok",
        "order: ok",
        "look: failed",
        "again: not reached",
        "cleanup remove: ok",
    ]
    assert lines[0].endswith(f"took token (text of {len(TOKEN)} characters), sid (text of 10 characters)")


async def test_no_value_of_an_account_or_of_a_step_is_in_the_evidence(shop: Shop) -> None:
    echo = asking(shop, "echo", "/orders/7?t=${steps.login.token|quote}&p=${accounts.shopper.password|quote}")
    echo["http"]["body"] = "${accounts.shopper.password} ${steps.login.token} ${steps.login.sid}"
    shop.broken[f"GET /orders/7?t={TOKEN}&p=correct%20horse%20battery"] = 500, f"{PASSWORD} {TOKEN} abcdefgh-1 sorry"
    echo["http"]["method"] = "GET"
    result = await run(shopping(shop, echo))
    assert result.sentence.startswith("echo: the status is 500")
    told = json.dumps([result.sentence, result.observed, dict(result.evidence)])
    assert "sorry" in told
    for secret in (TOKEN, PASSWORD, "correct%20horse", "abcdefgh"):
        assert secret not in told


async def test_a_login_that_fails_does_not_show_the_token_that_it_got(shop: Shop) -> None:
    first = login(shop)
    first["http"]["expect"] = {"json": {"$.plan": "gold"}}
    result = await run(Flow.model_validate({"steps": [first]}))
    assert result.sentence == "login: $.plan in the JSON body is another value"
    assert TOKEN not in json.dumps(dict(result.evidence))
    assert "basic" in result.evidence["login body"]


@pytest.mark.parametrize(
    ("take", "said", "reason"),
    [
        ({"id": "$.idd"}, "id cannot be taken: there is no $.idd in the answer", Reason.ABSENT),
        ({"id": "$.*"}, "id cannot be taken: there are 2 values at $.*", Reason.CONTENT),
        (
            {"id": {"re2": "zzz+"}},
            "id cannot be taken: there is no text in the answer that matches zzz+",
            Reason.ABSENT,
        ),
        ({"id": {"header": "x-no"}}, "id cannot be taken: there is no header x-no", Reason.ABSENT),
        ({"id": {"cookie": "no"}}, "id cannot be taken: there is no cookie no", Reason.ABSENT),
        ({"id": {"measurement": "no"}}, "id cannot be taken: there is no measurement no", Reason.ABSENT),
    ],
)
async def test_a_value_that_is_not_there_is_a_failure_of_its_step(
    shop: Shop, take: Any, said: str, reason: Reason
) -> None:
    result = await run(Flow.model_validate({"steps": [login(shop, take=take)]}))
    assert result.sentence.startswith(f"login: {said}")
    assert result.reason is reason
    assert TOKEN not in json.dumps([result.observed, result.expected, dict(result.evidence)])
    if take == {"id": "$.idd"}:
        assert result.observed == f"{{token: text of {len(TOKEN)} characters, plan: text of 5 characters}}"


async def test_values_are_taken_from_everywhere_and_used(shop: Shop) -> None:
    takes = {
        "token": "$.token",
        "sid": {"cookie": "sid"},
        "version": {"header": "x-version"},
        "status": {"measurement": "status_code"},
        "plan": {"re2": '"plan": "([a-z]+)"'},
        "all": {"json": "$.*", "all": True},
        "none": {"json": "$.none", "default": "without"},
        "body": "$",
    }
    url = (
        "/orders/0?sid=${steps.login.sid}&v=${steps.login.version}&s=${steps.login.status}&p=${steps.login.plan}"
        "&a=${steps.login.all.1}&n=${steps.login.none}&b=${steps.login.body.plan}"
    )
    shop.broken["GET /orders/0?sid=abcdefgh-1&v=17&s=200&p=basic&a=basic&n=without&b=basic"] = 200, "yes"
    steps = [login(shop, take=takes), asking(shop, "use", url, http={"expect": {"body": "yes"}})]
    result = await run(Flow.model_validate({"steps": steps}))
    assert (result.sentence, result.outcome) == ("", "ok")


async def test_a_part_of_a_value_that_is_not_there_fails_the_step_that_needs_it(shop: Shop) -> None:
    first = login(shop, take={"token": "$.token", "body": "$"})
    result = await run(Flow.model_validate({"steps": [first, asking(shop, "use", "/${steps.login.body.items.0.id}")]}))
    assert result.sentence == "use: ${steps.login.body.items.0.id}: there is no items"
    assert result.reason is Reason.ABSENT
    assert shop.asked == ["POST /login"]


async def test_a_value_that_does_not_fit_makes_the_check_broken(shop: Shop) -> None:
    shop.broken["POST /login"] = 200, {"token": "a\r\nb", "sid": 1}
    first = login(shop, take={"token": "$.token"})
    result = await run(Flow.model_validate({"steps": [first, asking(shop, "use", "/orders")]}))
    assert (result.outcome, result.reason) == ("error", Reason.CONFIG)
    assert result.sentence.startswith("use: http.headers.Authorization: a header holds no line breaks")


async def test_a_step_is_tried_until_it_is_well(shop: Shop) -> None:
    shop.shown_after = 3
    look = asking(shop, "look", "/orders/${steps.order.id}", until="5s", every="20ms")
    result = await run(shopping(shop, look))
    assert (result.outcome, result.sentence, result.evidence) == ("ok", "", {})
    assert shop.asked.count("GET /orders/1") == 4
    assert 0.06 < result.phases["look"] < 1.0
    assert result.duration == pytest.approx(sum(result.phases[name] for name in ("login", "order", "look")))


async def test_a_step_that_does_not_become_well_says_how_often_it_was_tried(shop: Shop) -> None:
    shop.shown_after = 1000
    look = asking(shop, "look", "/orders/${steps.order.id}", until="100ms", every="30ms")
    result = await run(shopping(shop, look))
    tries = shop.asked.count("GET /orders/1")
    assert tries > 1
    assert result.sentence.startswith(f"look: the status is 404, not 200-299 (tried {tries} times in 0.")
    assert (result.reason, result.expected, result.observed) == (Reason.STATUS, "200-299", "404")
    assert shop.orders == {} or "DELETE /orders/1" in shop.asked


async def test_trying_ends_before_the_run_does(shop: Shop) -> None:
    shop.shown_after = 1000
    look = asking(shop, "look", "/orders/${steps.order.id}", until="1m", every="50ms")
    result = await run(shopping(shop, look), seconds=0.5)
    assert "times in 0." in result.sentence
    assert result.reason is Reason.STATUS


async def test_a_step_that_hangs_while_it_is_tried_is_given_up_in_time(shop: Shop) -> None:
    shop.silent.add("GET /orders/1")
    look = asking(shop, "look", "/orders/${steps.order.id}", until="10s", timeout="50ms", every="10ms")
    result = await run(shopping(shop, look), seconds=0.6)
    assert shop.asked.count("GET /orders/1") > 2
    assert result.reason is Reason.TIMEOUT
    assert "times in 0." in result.sentence


async def test_a_value_that_cannot_be_taken_yet_is_waited_for(shop: Shop) -> None:
    shop.orders[1] = {"id": 1, "reference": "x", "created_at": 0}
    shop.before = lambda what: shop.orders[1].update(state="sent") if len(shop.asked) > 4 else None
    look = asking(shop, "look", "/orders/1", until="5s", every="10ms", take={"state": "$.state"})
    result = await run(Flow.model_validate({"steps": [login(shop), look]}))
    assert result.outcome == "ok"
    assert shop.asked.count("GET /orders/1") == 4


async def test_a_check_that_is_broken_is_not_tried_again(shop: Shop) -> None:
    shop.broken["POST /login"] = 200, {"token": "a\nb"}
    steps = [login(shop, take={"token": "$.token"}), asking(shop, "look", "/orders", until="5s")]
    result = await run(Flow.model_validate({"steps": steps}))
    assert result.outcome == "error"
    assert shop.asked == ["POST /login"]


async def test_a_pause_is_a_step(shop: Shop) -> None:
    result = await run(Flow.model_validate({"steps": [{"wait": "100ms"}, {"name": "rest", "wait": "50ms"}]}))
    assert result.outcome == "ok"
    assert result.phases["wait1"] >= 0.1
    assert result.phases["rest"] >= 0.05
    assert 0.15 <= result.duration < 1.0


async def test_a_step_has_a_deadline_of_its_own(shop: Shop) -> None:
    shop.silent.add("GET /orders/1")
    result = await run(shopping(shop, asking(shop, "look", "/orders/${steps.order.id}", timeout="100ms")))
    assert result.reason is Reason.TIMEOUT
    assert result.sentence.startswith("look: ")
    assert shop.orders == {}


async def test_a_run_that_ends_at_its_deadline_is_cleaned_up(shop: Shop) -> None:
    result = await run(shopping(shop, {"name": "rest", "wait": "10s"}), seconds=0.4)
    assert (result.sentence, result.reason) == ("rest: no result within 400 ms", Reason.TIMEOUT)
    assert shop.orders == {}
    assert "rest: failed, not over at the end of the run" in result.evidence["steps"]


async def test_cleanup_steps_with_nothing_to_clean_up_are_left_out(shop: Shop) -> None:
    shop.broken["POST /login"] = 503, ""
    result = await run(shopping(shop))
    assert shop.asked == ["POST /login"]
    assert "cleanup remove: left out: ${steps.order.id}: the step order has not run" in result.evidence["steps"]
    assert result.measurements["leftovers"] == 0


async def test_each_cleanup_step_is_tried_and_what_is_left_is_counted_and_kept(shop: Shop) -> None:
    shop.broken["DELETE /orders/1"] = 500, ""
    flow = shopping(shop)
    steps = [*flow.cleanup, Flow.model_validate({"steps": [asking_open(shop, "bye")]}).steps[0]]
    flow = Flow.model_validate({"steps": flow.steps, "cleanup": steps})
    kept = Written()
    result = await run(flow, kept)
    assert result.outcome == "ok"
    assert result.caution is not None
    assert result.caution.sentence == "the cleanup step remove failed: the status is 500, not 200, 404"
    assert result.measurements["leftovers"] == 1
    assert result.evidence["steps"].splitlines()[-2:] == [
        "cleanup remove: failed: the status is 500, not 200, 404",
        "cleanup bye: ok",
    ]
    assert "remove request" in result.evidence
    assert [entry["values"] for entry in json.loads(kept.text)["left"]] == [{"order.id": 1}]


def asking_open(shop: Shop, name: str) -> dict[str, Any]:
    return {"name": name, "http": {"url": f"{shop.url}/open"}}


async def test_what_a_run_left_the_next_one_cleans_up(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    kept = Written()
    shop.broken["DELETE /orders/1"] = 500, ""
    await run(shopping(shop), kept)
    del shop.broken["DELETE /orders/1"]
    with caplog.at_level(logging.INFO):
        result = await run(shopping(shop), kept)
    assert shop.orders == {}
    assert result.measurements["leftovers"] == 0
    assert "is cleaned up now" in caplog.text
    assert json.loads(kept.text) == {"left": []}


async def test_a_cleanup_that_hangs_ends_in_time_and_the_others_are_tried(shop: Shop) -> None:
    shop.silent.add("DELETE /orders/1")
    flow = shopping(shop, cleanup_timeout="300ms")
    bye = Flow.model_validate({"steps": [asking_open(shop, "bye")]}).steps[0]
    flow = Flow.model_validate({"steps": flow.steps, "cleanup": [*flow.cleanup, bye], "cleanup_timeout": "300ms"})
    result = await run(flow)
    assert "GET /open" in shop.asked
    assert result.measurements["leftovers"] == 1
    assert result.caution is not None
    assert result.caution.reason is Reason.TIMEOUT


@contextmanager
def killed_at(shop: Shop, what: str, *, after: bool) -> Iterator[asyncio.Event]:
    """Be told when a request has come, which is then not answered."""
    came = asyncio.Event()
    serve = shop.serve

    def serve_and_hang(asked: str, *rest: Any) -> Any:
        answer = serve(asked, *rest) if after or asked != what else None
        if asked == what:
            came.set()
            raise ConnectionResetError
        return answer

    shop.__dict__["serve"] = serve_and_hang
    yield came
    del shop.__dict__["serve"]


async def kill(flow: Any, kept: Written, came: asyncio.Event) -> None:
    """Run until the moment has come, and go on as after a kill."""
    task = asyncio.create_task(run(flow, kept))
    await came.wait()
    text = kept.text
    task.cancel()
    await asyncio.wait([task])
    kept.text = text
    kept.start()


async def test_what_a_killed_run_had_created_is_gone_after_the_next(shop: Shop) -> None:
    kept = Written()
    flow = shopping(shop, {"name": "rest", "wait": "30s"})
    await kill(flow, kept, kept.noted)
    assert len(shop.orders) == 1
    result = await run(shopping(shop), kept)
    assert shop.orders == {}
    assert result.measurements["leftovers"] == 0


async def test_what_nothing_known_leads_to_is_swept_up_when_it_is_old_enough(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Written()
    with killed_at(shop, "POST /orders", after=True) as came:
        await kill(shopping(shop, sweep=sweeping(shop)), kept, came)
    assert len(shop.orders) == 1
    result = await run(shopping(shop, sweep=sweeping(shop)), kept)
    assert result.measurements["leftovers"] == 1  # too young: nobody knows yet that its run is over
    assert len(shop.orders) == 1
    for one in shop.orders.values():
        one["created_at"] -= 60
    with caplog.at_level(logging.INFO):
        result = await run(shopping(shop, sweep=sweeping(shop)), kept)
    assert shop.orders == {}
    assert (result.measurements["leftovers"], result.measurements["swept"]) == (0, 1)
    assert "swept up 1 of what earlier runs left behind: heartbeat-" in caplog.text


async def test_after_a_start_it_sweeps_once_and_takes_only_what_is_ours_and_old(shop: Shop) -> None:
    kept = Written()
    old, young = left_by(shop, "heartbeat-1"), left_by(shop, "heartbeat-2", age=0)
    others = left_by(shop, "order of a customer")
    shop.orders[others]["created_at"] = "no time"
    result = await run(shopping(shop, sweep=sweeping(shop, "30s")), kept)
    assert result.measurements["swept"] == 1
    assert old not in shop.orders
    assert {young, others} == shop.orders.keys()
    shop.orders.pop(young)
    await run(shopping(shop, sweep=sweeping(shop)), kept)
    shop.asked.clear()
    await run(shopping(shop, sweep=sweeping(shop)), kept)
    assert "GET /orders" not in shop.asked


@pytest.mark.parametrize("created", ["2026-01-01T10:00:00Z", "2026-01-01T10:00:00", "1767261600", 1767261600000])
async def test_the_time_of_a_thing_may_be_written_in_several_ways(shop: Shop, created: Any) -> None:
    shop.orders[left_by(shop, "heartbeat-1")]["created_at"] = created
    result = await run(shopping(shop, sweep=sweeping(shop)))
    assert result.measurements["swept"] == 1
    assert shop.orders == {}


async def test_a_sweep_removes_a_bounded_number_and_goes_on_next_time(shop: Shop) -> None:
    kept = Written()
    for number in range(120):
        left_by(shop, f"heartbeat-{number}")
    flow = shopping(shop, sweep=sweeping(shop), cleanup_timeout="20s")
    assert (await run(flow, kept)).measurements["swept"] == 100
    assert (await run(flow, kept)).measurements["swept"] == 20
    assert shop.orders == {}


@pytest.mark.parametrize(
    ("what", "answer", "said"),
    [
        ("GET /orders", (500, ""), "the sweep for what earlier runs left behind failed: the status is 500"),
        ("GET /orders", (200, "<html>"), "failed: the answer is no JSON"),
        (
            "GET /orders",
            (200, {"orders": [{"reference": "heartbeat-1", "created_at": "soon"}]}),
            "$.created_at leads to no time",
        ),
        ("DELETE /orders/1", (500, ""), "what earlier runs left behind cannot be removed: the status is 500"),
    ],
)
async def test_a_sweep_that_fails_warns_and_is_done_again(shop: Shop, what: str, answer: Any, said: str) -> None:
    kept = Written()
    left_by(shop, "heartbeat-1")
    shop.broken[what] = answer
    flow = shopping(shop, sweep=sweeping(shop))
    result = await run(flow, kept)
    assert result.outcome == "ok"
    assert result.caution is not None
    assert said in result.caution.sentence
    assert not [name for name in result.measurements if name.startswith("sweep_")]
    shop.broken.clear()
    assert (await run(flow, kept)).measurements["swept"] == 1


async def test_what_a_run_under_way_made_is_never_swept(shop: Shop) -> None:
    kept = Written()
    rest = {"name": "rest", "wait": "1s"}
    first = asyncio.create_task(run(shopping(shop, rest, sweep=sweeping(shop)), kept))
    await kept.noted.wait()
    shop.orders[1]["created_at"] -= 3600
    await run(shopping(shop, sweep=sweeping(shop)), kept)
    assert 1 in shop.orders
    assert "DELETE /orders/1" not in shop.asked
    assert (await first).outcome == "ok"
    assert shop.orders == {}


async def test_what_failed_to_be_created_is_looked_for_by_the_sweep_only_so_long(shop: Shop) -> None:
    kept = Written()
    shop.broken["POST /orders"] = 500, ""
    result = await run(shopping(shop, sweep=sweeping(shop, "30s")), kept)
    assert result.measurements["leftovers"] == 1
    kept.memory["left"][0]["at"] -= 60
    result = await run(shopping(shop, sweep=sweeping(shop, "30s")), kept)
    assert result.measurements["leftovers"] == 1  # the new one; of the old one there was nothing
    assert len(json.loads(kept.text)["left"]) == 1


async def test_without_a_sweep_what_failed_to_be_created_is_not_kept(shop: Shop) -> None:
    kept = Written()
    shop.broken["POST /orders"] = 500, ""
    result = await run(shopping(shop), kept)
    assert result.measurements["leftovers"] == 0
    assert json.loads(kept.text) == {"left": []}


async def test_what_cannot_be_cleaned_up_is_bounded_and_the_oldest_is_given_up_aloud(shop: Shop) -> None:
    old = [
        {"tag": f"heartbeat-{number}", "run": "run_0", "at": 0, "begun": ["order"], "values": {"order.id": 9}}
        for number in range(200)
    ]
    kept = Written(json.dumps({"left": old}))
    shop.broken["DELETE /orders/9"] = 500, ""
    result = await run(shopping(shop), kept)
    assert result.caution is not None
    assert result.caution.sentence.startswith("1 of the oldest things that could not be cleaned up are given up")
    assert result.measurements["leftovers"] == 199
    assert shop.asked.count("DELETE /orders/9") == 3  # and no more: it may be down


async def test_a_large_value_is_not_kept_for_later_runs(shop: Shop) -> None:
    kept = Written()
    shop.broken["POST /orders"] = 201, {"id": "x" * 5000}
    result = await run(shopping(shop), kept)
    assert f"DELETE /orders/{'x' * 5000}" in shop.asked
    assert all(entry["values"] == {} for saved in kept.saved for entry in saved["left"])
    assert result.outcome == "ok"


async def test_a_value_is_bounded(shop: Shop) -> None:
    shop.broken["POST /orders"] = 201, {"id": "x" * 70_000}
    result = await run(shopping(shop))
    assert result.sentence == "order: id cannot be taken: it has 70000 bytes, more than 65536"


async def test_accounts_are_leased_for_the_whole_run_and_its_cleanup(shop: Shop) -> None:
    desk = Desk(PASSWORD)
    remove = {
        "name": "remove",
        "http": {"url": f"{shop.url}/login", "json": {"password": "${accounts.admin.password}"}},
    }
    events = desk.log
    shop.before = events.append
    await run(Flow.model_validate({"steps": [login(shop)], "cleanup": [remove]}), desk=desk)
    assert events == [
        "leased admin",
        "leased shopper",
        "POST /login",
        "accepted",
        "POST /login",
        "returned shopper",
        "returned admin",
    ]


async def test_an_account_that_cannot_be_had_makes_the_check_broken(shop: Shop) -> None:
    def lease(_name: str, _within: float, _conceal: Conceal = tell_nobody) -> Any:
        raise CheckBroken("others keep it", reason="account")

    backing = Backing(lease=lease)
    flow = Flow.model_validate({"steps": [login(shop)]})
    finished = await run_check(flow, Run("run_1", "shop", 0.0, 0, 0.0, 5.0), Workshop(Pool(), LagMeter(), str, backing))
    assert (finished.result.outcome, finished.result.reason) == ("error", Reason.ACCOUNT)


async def test_a_refused_credential_is_followed_by_the_next_one_from_the_start(shop: Shop) -> None:
    desk = Desk("old password", PASSWORD)
    flow = Flow.model_validate({"steps": [asking_open(shop, "open"), login(shop)]})
    result = await run(flow, desk=desk)
    assert (result.outcome, result.sentence, result.evidence) == ("ok", "", {})
    assert shop.asked == ["GET /open", "POST /login", "GET /open", "POST /login"]
    assert desk.log == ["leased shopper", "refused", "accepted", "returned shopper"]


async def test_when_all_credentials_are_refused_the_run_fails(shop: Shop) -> None:
    desk = Desk("old password", "older password")
    result = await run(Flow.model_validate({"steps": [login(shop)]}), desk=desk)
    assert result.reason is Reason.AUTH
    assert result.sentence.endswith("; no other credential of the account shopper is left to try")
    assert shop.asked == ["POST /login"] * 2
    told = json.dumps([result.sentence, result.observed, dict(result.evidence)])
    assert "old password" not in told
    assert "older password" not in told
    assert "again from the start, with another credential of the account shopper" in result.evidence["steps"]


async def test_a_refused_token_is_no_refused_account(shop: Shop) -> None:
    desk = Desk(PASSWORD, "next")
    wrong = asking(shop, "look", "/orders", http={"headers": {"Authorization": "Bearer x${steps.login.token}"}})
    result = await run(Flow.model_validate({"steps": [login(shop), wrong]}), desk=desk)
    assert (result.reason, result.sentence[:16]) == (Reason.AUTH, "look: the status")
    assert "refused" not in desk.log


async def test_after_a_refused_credential_nothing_of_its_session_is_sent(shop: Shop) -> None:
    desk = Desk("old password", PASSWORD)
    cookies: list[str | None] = []
    serve = shop.serve

    def note(what: str, given: Any, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
        cookies.append(given.get("cookie"))
        answer = serve(what, given, body, headers)
        headers["Set-Cookie"] = f"n={len(cookies)}"
        return answer

    shop.__dict__["serve"] = note
    await run(Flow.model_validate({"steps": [asking_open(shop, "open"), login(shop, take={})]}), desk=desk)
    assert cookies == [None, "n=1", None, "n=3"]


async def test_the_evidence_of_steps_that_are_well_is_left_out(shop: Shop) -> None:
    port = int(shop.url.rpartition(":")[2])
    steps = [
        {"tcp": {"host": "127.0.0.1", "port": port}},
        asking_open(shop, "look"),
        {"name": "last", "tcp": {"host": "127.0.0.1", "port": 1}},
    ]
    result = await run(Flow.model_validate({"steps": steps}))
    assert result.evidence.keys() == {"steps", "last target"}


async def test_what_cannot_be_cleaned_up_does_not_keep_the_rest_from_it(shop: Shop) -> None:
    shop.orders[9] = {"id": 9}
    kept = Written(
        json.dumps(
            {
                "left": [
                    {"tag": f"heartbeat-{n}", "run": "run_0", "at": 0, "begun": ["order"], "values": {"order.id": n}}
                    for n in (101, 102, 103, 9)
                ]
            }
        )
    )
    for number in (101, 102, 103):
        shop.broken[f"DELETE /orders/{number}"] = 500, ""
    assert (await run(shopping(shop), kept)).measurements["leftovers"] == 4
    assert (await run(shopping(shop), kept)).measurements["leftovers"] == 3
    assert 9 not in shop.orders


async def test_of_several_accounts_in_a_step_none_is_blamed(shop: Shop) -> None:
    desk = Desk("old password", PASSWORD)
    first = login(shop)
    first["http"]["json"]["admin"] = "${accounts.admin.user}"
    result = await run(Flow.model_validate({"steps": [first]}), desk=desk)
    assert (result.reason, "refused" in desk.log) == (Reason.AUTH, False)


async def test_a_one_time_code_is_waited_for_and_asked_for_once(shop: Shop) -> None:
    class Codes(Desk):
        async def fresh(self) -> None:
            self.log.append("waited")

        def __getitem__(self, what: str) -> str:
            self.log.append(what)
            return PASSWORD

    desk = Codes()
    code = "${accounts.shopper.totp}"
    first = login(shop)
    first["http"]["json"] = {"password": code, "again": code}
    assert (await run(Flow.model_validate({"steps": [first]}), desk=desk)).outcome == "ok"
    assert desk.log == ["leased shopper", "waited", "totp", "accepted", "returned shopper"]


async def test_a_login_is_not_tried_again_and_again(shop: Shop) -> None:
    desk = Desk("old password")
    await run(Flow.model_validate({"steps": [login(shop, until="2s", every="10ms")]}), desk=desk)
    assert shop.asked == ["POST /login"]


async def test_what_was_created_before_a_credential_was_refused_is_cleaned_up_too(shop: Shop) -> None:
    desk = Desk("old password", PASSWORD)
    shop.passwords = ("old password", PASSWORD)
    later = asking(shop, "confirm", "/login", http={"json": {"password": "${accounts.shopper.password}"}})
    shop.before = lambda what: setattr(shop, "passwords", (PASSWORD,)) if what == "POST /orders" else None
    result = await run(shopping(shop, later), desk=desk)
    assert result.outcome == "ok"
    assert shop.made == 2
    assert shop.orders == {}
    assert result.measurements["leftovers"] == 0


async def test_steps_share_cookies(shop: Shop) -> None:
    look = {**asking_open(shop, "look"), "take": {"cookie": "$.cookie"}}
    look["http"]["expect"] = {"json": {"$.cookie": {"contains": "sid="}}}
    assert (await run(Flow.model_validate({"steps": [login(shop), look]}))).sentence == ""


async def test_a_flow_that_creates_nothing_remembers_nothing(shop: Shop) -> None:
    kept = Written()
    result = await run(Flow.model_validate({"steps": [asking_open(shop, "look")]}), kept)
    assert kept.saved == []
    assert "leftovers" not in result.measurements


async def test_many_steps_are_measured(shop: Shop) -> None:
    steps = [asking_open(shop, f"step{number}") for number in range(20)]
    result = await run(Flow.model_validate({"steps": steps}))
    assert result.outcome == "ok"
    assert {f"step{number}" for number in range(20)} <= result.phases.keys()


async def test_what_was_created_is_taken_back_although_its_step_failed(shop: Shop) -> None:
    kept = Written()
    wrong = order(shop)
    wrong["http"]["expect"] = {"status": 201, "json": {"$.total": 5}}
    remove = asking(shop, "remove", "/orders/${steps.order.id}", http=DELETE)
    result = await run(Flow.model_validate({"steps": [login(shop), wrong], "cleanup": [remove]}), kept)
    assert (result.outcome, result.sentence) == ("fail", "order: $.total in the JSON body is missing")
    assert shop.orders == {}
    assert "cleanup remove: ok" in result.evidence["steps"]
    assert json.loads(kept.text) == {"left": []}


async def test_what_was_created_is_taken_back_although_another_value_is_not_there(shop: Shop) -> None:
    wrong = {**order(shop), "take": {"id": "$.id", "number": "$.number"}}
    remove = asking(shop, "remove", "/orders/${steps.order.id}", http=DELETE)
    result = await run(Flow.model_validate({"steps": [login(shop), wrong], "cleanup": [remove]}))
    assert result.sentence == "order: number cannot be taken: there is no $.number in the answer"
    assert shop.orders == {}


async def test_what_a_refusal_names_is_not_taken_for_what_was_created(shop: Shop) -> None:
    others = left_by(shop, "order of a customer")
    shop.broken["POST /orders"] = 409, {"error": "there is one already", "id": others}
    result = await run(shopping(shop))
    assert (result.reason, list(shop.orders)) == (Reason.STATUS, [others])
    said = "cleanup remove: left out: ${steps.order.id}: the step order has not run, or failed"
    assert said in result.evidence["steps"]


LEFT: dict[str, Any] = {
    "tag": "heartbeat-0011223344556677",
    "run": "run_0",
    "at": 0,
    "begun": ["buy"],
    "values": {"buy.id": 9},
}


async def test_what_a_step_left_that_has_another_name_now_is_not_said_to_be_cleaned_up(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await run(shopping(shop), Written(json.dumps({"left": [LEFT]})))
    assert "is cleaned up now" not in caplog.text
    assert "may have left something that only its tag leads to (heartbeat-0011223344556677)" in caplog.text
    assert "WARNING" in caplog.text
    kept = Written(json.dumps({"left": [{**LEFT, "at": time()}]}))
    result = await run(shopping(shop, sweep=sweeping(shop, "30s")), kept)
    assert result.measurements["leftovers"] == 1  # the sweep may find it yet


async def test_what_is_left_is_named_when_no_step_creates_anything_any_more(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Written(json.dumps({"left": [LEFT]}))
    for _ in range(2):
        await run(Flow.model_validate({"steps": [asking_open(shop, "look")]}), kept)
    assert caplog.text.count("heartbeat-0011223344556677") == 1
    assert json.loads(kept.text) == {}


async def test_one_thing_without_a_time_keeps_no_other_from_being_swept_up(shop: Shop) -> None:
    kept = Written()
    bad, old = left_by(shop, "heartbeat-1"), left_by(shop, "heartbeat-2")
    shop.orders[bad]["created_at"] = "soon"
    result = await run(shopping(shop, sweep=sweeping(shop)), kept)
    assert (list(shop.orders), old, result.measurements["swept"]) == ([bad], 2, 1)
    assert result.caution is not None
    assert "$.created_at leads to no time" in result.caution.sentence


async def test_what_is_beyond_the_things_that_are_looked_at_is_not_taken_as_gone(shop: Shop) -> None:
    kept = Written(json.dumps({"left": [{**LEFT, "begun": ["order"], "values": {}}]}))
    for _ in range(1001):
        left_by(shop, "order of a customer")
    left_by(shop, LEFT["tag"])
    result = await run(shopping(shop, sweep=sweeping(shop)), kept)
    assert result.measurements["leftovers"] == 1


async def test_why_something_stays_left_over_is_logged(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    kept = Written(json.dumps({"left": [{**LEFT, "begun": ["order"], "values": {"order.id": 9}}]}))
    shop.broken["DELETE /orders/9"] = 500, ""
    await run(shopping(shop), kept)
    said = "what a flow left behind cannot be cleaned up yet: run_0 (heartbeat-0011223344556677): remove failed, status"
    assert said in caplog.text


async def test_requests_of_the_cleanup_alone_are_marked_too(shop: Shop) -> None:
    flow = Flow.model_validate({"steps": [{"wait": "1ms"}], "cleanup": [asking_open(shop, "bye")]})
    finished = await run_check(flow, Run("run_1", "shop", 0.0, 0, 0.0, 5.0), Workshop(Pool(), LagMeter(), str))
    assert finished.result.marked


@pytest.mark.parametrize("depth", [90, 600, 900, 940, 970, 990, 5000])
@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_that_nests_deeply_is_a_matter_of_the_target(shop: Shop, depth: int, status: int) -> None:
    shop.broken["POST /login"] = status, "[" * depth + '"abcdefghij"' + "]" * depth
    send = asking_open(shop, "send")
    send["http"] |= {"json": "${steps.login.body}", "url": f"{shop.url}/orders"}
    first = login(shop, take={"body": "$"})
    result = await run(Flow.model_validate({"steps": [first, send]}))
    assert result.outcome == "fail", result.sentence
    assert depth > 900 or "abcdefghij" not in json.dumps(dict(result.evidence))  # more than that nobody can read


async def test_an_answer_that_was_cut_says_so(shop: Shop) -> None:
    shop.broken["POST /login"] = 200, {"token": TOKEN, "more": "x" * 10_000_000}
    result = await run(Flow.model_validate({"steps": [login(shop)]}))
    assert result.sentence.startswith("login: token cannot be taken: the answer ends in the middle of its JSON")
    assert result.observed == "text of 1048576 characters"


async def test_a_path_that_is_long_in_finding_nothing_holds_nobody_up(shop: Shop) -> None:
    nested = "[" + "0," * 50_000 + "0]"
    for _ in range(90):
        nested = '{"a":' + nested + "}"
    shop.broken["POST /login"] = 200, nested
    flow = Flow.model_validate({"steps": [login(shop, take={"token": "$..a..token"})]})
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.02)
            turns += 1

    turning, pool = asyncio.create_task(turn()), Pool()
    backing = Backing(in_thread=pool.run, lease=leasing(Desk(PASSWORD)))
    finished = await run_check(flow, Run("run_1", "shop", 0.0, 0, 0.0, 0.5), Workshop(pool, LagMeter(), str, backing))
    turning.cancel()
    assert finished.result.reason is Reason.TIMEOUT
    assert turns > 5


HOSTILE = ("${accounts.shopper.password}", "$${steps.login.token}", "a\x1b[31mb\r\nX: 1", "../admin", "%0d%0aX: 1", "é")


@pytest.mark.parametrize("value", HOSTILE)
async def test_what_was_taken_is_sent_as_it_is_and_never_read_again(shop: Shop, value: str) -> None:
    shop.broken["POST /login"] = 200, json.dumps({"token": value})
    got, serve = list[Any](), shop.serve

    def note(what: str, given: Any, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
        got.append(body)
        return serve(what.partition("?")[0], given, body, headers)

    shop.__dict__["serve"] = note
    first = login(shop, take={"token": "$.token"})
    use = asking_open(shop, "use")
    use["http"]["url"] += "?a=${steps.login.token|quote}"
    use["http"]["json"] = {"value": "${steps.login.token}", "in": "<${steps.login.token}>"}
    result = await run(Flow.model_validate({"steps": [first, use]}))
    assert result.sentence == ""
    assert shop.asked[-1] == f"POST /open?a={quote(value, safe='')}"
    assert got[-1] == {"value": value, "in": f"<{value}>"}


async def test_half_a_character_is_a_fault_of_the_target(shop: Shop) -> None:
    shop.broken["POST /login"] = 200, {"token": "\ud800"}
    result = await run(Flow.model_validate({"steps": [login(shop), asking(shop, "use", "/orders")]}))
    assert result.outcome == "fail"
    assert result.sentence == "login: token cannot be taken: it holds half a character, which nobody can be sent"


async def test_one_thing_that_cannot_be_named_keeps_no_other_from_being_swept_up(shop: Shop) -> None:
    bad, _ = left_by(shop, "heartbeat-1"), left_by(shop, "heartbeat-2")
    shop.orders[bad]["id"] = "\ud800"
    how = sweeping(shop)
    how["remove"]["http"]["url"] = f"{shop.url}/orders/${{item.id|quote}}"
    result = await run(shopping(shop, sweep=how))
    assert (list(shop.orders), result.measurements["swept"]) == ([bad], 1)
    assert result.caution is not None
    assert "http: a value that was filled in does not fit" in result.caution.sentence


async def test_the_daemon_can_say_what_is_left_when_the_check_is_gone(shop: Shop) -> None:
    kept = Written()
    shop.broken["DELETE /orders/1"] = 500, ""
    await run(shopping(shop), kept)
    (entry,) = json.loads(kept.text)["left"]
    assert kept.memory.owed == f"of 1 runs something may be left that is to be removed by hand: {entry['tag']}"
    del shop.broken["DELETE /orders/1"]
    await run(shopping(shop), kept)
    assert kept.memory.owed == ""


async def test_what_cannot_be_cleaned_up_is_said_once_in_a_run(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    left = [{**LEFT, "tag": f"heartbeat-{n}", "begun": ["order"], "values": {"order.id": 9}} for n in range(5)]
    shop.broken["DELETE /orders/9"] = 500, ""
    await run(shopping(shop), Written(json.dumps({"left": left})))
    assert caplog.text.count("cannot be cleaned up yet") == 1


async def test_a_step_at_another_host_gets_no_cookies_of_the_first(shop: Shop) -> None:
    other = Shop()
    async with serve(other, host="127.0.0.2") as server:
        look = asking_open(shop, "look")
        look["http"] = {"url": f"{server.url}open", "expect": {"json": {"$.cookie": None}}}
        again = asking_open(shop, "again")
        again["http"]["expect"] = {"json": {"$.cookie": {"contains": "sid="}}}
        result = await run(Flow.model_validate({"steps": [login(shop), look, again]}))
    assert result.sentence == ""
    assert other.asked == ["GET /open"]


async def test_a_number_that_json_cannot_say_is_a_fault_of_the_target(shop: Shop) -> None:
    shop.broken["POST /login"] = 200, '{"token": 1e999}'
    result = await run(Flow.model_validate({"steps": [login(shop, take={"token": "$.token"})]}))
    assert result.sentence == "login: token cannot be taken: it is no value that JSON knows: float"

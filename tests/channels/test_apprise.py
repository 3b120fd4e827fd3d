from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvloop
from pydantic import ValidationError

from heartbeat.channels import DeliveryFailed, apprise
from heartbeat.channels.apprise import Apprise, in_thread, inert, library
from heartbeat.core.batch import Batch, single
from heartbeat.core.model import Delivery, Kind, Severity
from heartbeat.testing.webhook import Answer, Misbehaviour, Receiver, webhook_receiver

Deliver = Callable[..., Delivery]
AT = 1_795_269_732.0


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def channel(receiver: Receiver, **options: Any) -> Apprise:
    url = f"json://127.0.0.1:{receiver.port}/CANARY-token"
    return Apprise.model_validate({"url": url, "timeout": "10s"} | options)


def batch(delivery: Delivery) -> Batch:
    return single(delivery)


async def send(way: Apprise, delivery: Delivery) -> str:
    return await way.send(batch(delivery), way.render(batch(delivery), AT))


async def failing(way: Apprise, delivery: Delivery) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        await send(way, delivery)
    assert "CANARY" not in caught.value.sentence
    assert not caught.value.permanent
    return caught.value


async def test_a_message_arrives_by_a_plugin_of_the_library(deliver: Deliver) -> None:
    async with webhook_receiver() as receiver:
        assert await send(channel(receiver), deliver()) == "taken"
    (request,) = receiver.requests
    whole = json.loads(request.body)
    assert request.path == "/CANARY-token"
    assert whole["title"] == "heartbeat: shop-login (incident fedcba98)"
    assert whole["message"].startswith("FAILING: shop-login: the answer was 500")
    assert whole["type"] == "failure"


@pytest.mark.parametrize(
    ("kind", "severity", "word"),
    [
        (Kind.RAISED, Severity.WARN, "warning"),
        (Kind.CHECK_BROKEN, Severity.OK, "warning"),
        (Kind.RESOLVED, Severity.OK, "success"),
        (Kind.WITHDRAWN, Severity.FAIL, "info"),
    ],
)
def test_the_state_is_told_in_the_words_of_the_library(
    deliver: Deliver, kind: Kind, severity: Severity, word: str
) -> None:
    way = Apprise.model_validate({"url": "json://127.0.0.1/"})
    assert json.loads(way.render(batch(deliver(kind=kind, severity=severity)), AT).body)["type"] == word


def test_it_is_for_people_and_the_same_bytes_every_time(deliver: Deliver) -> None:
    way = Apprise.model_validate({"url": "json://127.0.0.1/"})
    assert way.group_wait == 10
    assert way.render(batch(deliver()), AT) == way.render(batch(deliver()), AT)


def test_what_a_target_says_calls_nobody() -> None:
    assert inert("<!channel> <@U1> @everyone [x](http://evil.test) <b>") == (
        "\u2039!channel\u203a \u2039@\u200bU1\u203a @\u200beveryone [x] (http://evil.test) \u2039b\u203a"
    )


async def test_what_is_refused_is_tried_again_and_its_status_is_told(deliver: Deliver) -> None:
    async with webhook_receiver() as receiver:
        receiver.script(Answer(401, body=b"CANARY is unknown"), Answer(503))
        assert (await failing(channel(receiver), deliver())).sentence == "the service refused the message with 401"
        assert "503" in (await failing(channel(receiver), deliver())).sentence
        await send(channel(receiver), deliver())


async def test_a_service_that_is_away_is_tried_again(deliver: Deliver) -> None:
    async with webhook_receiver() as receiver:
        way = channel(receiver)
    assert (await failing(way, deliver())).sentence == "the service could not be told"


async def test_a_service_that_is_silent_is_left_when_the_time_is_up(deliver: Deliver) -> None:
    async with webhook_receiver() as receiver:
        receiver.script(Misbehaviour.HANG)
        assert (await failing(channel(receiver, timeout="300ms"), deliver())).ambiguous


class Heard(logging.Handler):
    """Stands where our own log takes over the lines of libraries."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name}: {record.getMessage()}")


@pytest.fixture
def heard() -> Iterator[Heard]:
    root, handler = logging.getLogger(), Heard()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler
    root.setLevel(level)
    root.removeHandler(handler)


async def test_nothing_of_the_library_is_logged_as_it_may_name_the_url(deliver: Deliver, heard: Heard) -> None:
    logging.getLogger("heard").warning("this is")
    async with webhook_receiver() as receiver:
        receiver.script(Answer(500), Misbehaviour.RESET)
        await failing(channel(receiver), deliver())
        await failing(channel(receiver), deliver())
    assert heard.lines == ["heard: this is"]
    assert "CANARY" not in repr(channel(receiver))


@pytest.fixture
def stuck() -> Iterator[Callable[[], str]]:
    """Give work that does not end before the test does."""
    release = threading.Event()

    def work() -> str:
        release.wait(30)
        return ""

    yield work
    release.set()
    for thread in list(apprise._threads):
        thread.join(10)
    apprise._threads.clear()


async def test_attempts_that_never_end_are_bounded_and_end_with_the_process(stuck: Callable[[], str]) -> None:
    calls = [asyncio.ensure_future(in_thread(stuck)) for _ in range(apprise.THREADS)]
    await asyncio.sleep(0)
    with pytest.raises(DeliveryFailed, match="8 earlier messages"):
        await in_thread(stuck)
    assert all(thread.daemon for thread in apprise._threads)
    for call in calls:
        call.cancel()


async def test_a_fault_in_a_plugin_reaches_those_who_wait() -> None:
    def work() -> str:
        raise KeyError("no")

    with pytest.raises(KeyError):
        await in_thread(work)
    assert await in_thread(lambda: "fine") == "fine"


def test_a_library_that_is_missing_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    library.cache_clear()
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ValidationError, match=r"pip install 'heartbeat\[apprise\]'"):
        Apprise.model_validate({"url": "json://127.0.0.1/"})
    monkeypatch.undo()
    library.cache_clear()


@pytest.mark.parametrize("url", ["nonsense://CANARY", "CANARY", "", "json://"])
def test_a_url_that_the_library_does_not_know_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValidationError, match="apprise understands") as caught:
        Apprise.model_validate({"url": url})
    assert "CANARY" not in str(caught.value)


def test_it_works_on_uvloop(deliver: Deliver) -> None:
    async def story() -> int:
        async with webhook_receiver() as receiver:
            receiver.script(Answer(500))
            await failing(channel(receiver), deliver())
            await send(channel(receiver), deliver())
        return len(receiver.requests)

    assert uvloop.run(story()) == 2

from __future__ import annotations

import asyncio
import io
from email.message import EmailMessage
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from heartbeat.demo import story
from heartbeat.demo.arrivals import Arrivals, NeverArrived
from heartbeat.demo.mail import Mail
from heartbeat.demo.narrator import Narrator
from heartbeat.demo.shop import Fault, Shop
from heartbeat.demo.stage import Stage
from heartbeat.demo.story import CHAPTERS, PRODUCTS, enact, first_of, interrupt, opening, watch
from heartbeat.demo.webhook import Post


@pytest.fixture
def page() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def here(page: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(story, "PATIENCE_SECONDS", 0.05)
    narrator = Narrator(Console(file=page, highlight=False))
    process = SimpleNamespace(wait=asyncio.Event().wait)
    nowhere = "http://127.0.0.1:1"
    return Stage(narrator, Shop(), Arrivals[Mail](), Arrivals[Post](), nowhere, nowhere, cast("Any", process))


def mail(kind: str) -> Mail:
    message = EmailMessage()
    message["X-Heartbeat-Kind"], message["X-Heartbeat-Check"] = kind, PRODUCTS
    return Mail("a@example.com", ("b@example.com",), bytes(message))


async def test_a_daemon_that_asks_the_shop_nothing_is_noticed(here: Stage) -> None:
    with pytest.raises(NeverArrived, match="no login arrived"):
        await opening(here)


async def test_an_alert_mail_that_does_not_come_ends_the_story(here: Stage) -> None:
    here.mails.add(mail("raised"))  # of before: it does not count
    with pytest.raises(NeverArrived, match="no mail that says raised"):
        await enact(here, CHAPTERS[0])
    assert here.shop.fault is Fault.ERROR


async def test_a_webhook_that_is_not_signed_right_does_not_count(here: Stage) -> None:
    task = asyncio.create_task(enact(here, CHAPTERS[0]))
    await asyncio.sleep(0)
    here.mails.add(mail("raised"))
    here.posts.add(Post({}, b'{"data": {"kind": "raised", "check": "%s"}}' % PRODUCTS.encode(), verified=False))
    with pytest.raises(NeverArrived, match="no signed webhook that says raised"):
        await task


async def test_a_daemon_that_ends_by_itself_ends_the_story(here: Stage) -> None:
    async def die() -> int:
        return 70

    here.process.wait = die  # type: ignore[method-assign]  # the last hop is faked: no process
    with pytest.raises(NeverArrived, match="exit code 70"):
        await first_of(watch(here), interrupt(asyncio.Event()))


async def test_the_first_to_end_decides_and_the_others_are_cancelled() -> None:
    stopped = asyncio.Event()
    stopped.set()
    forever = asyncio.Event()
    assert await first_of(interrupt(stopped), interrupt(forever)) is False
    assert asyncio.all_tasks() == {asyncio.current_task()}

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from email.utils import formatdate
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr

from heartbeat.channels import SLOW_RETRY, DeliveryFailed, Rendered
from heartbeat.channels.hidden import secrets_of
from heartbeat.channels.posting import (
    Letter,
    OverHTTP,
    SecretURL,
    check_header,
    patience,
    post,
    retry_after,
    said,
    verdict,
)
from heartbeat.core.batch import Batch, single
from heartbeat.core.model import Delivery
from heartbeat.http import engine
from heartbeat.http.message import TLS, Response
from heartbeat.testing.webhook import Answer, Misbehaviour, webhook_receiver

Deliver = Callable[..., Delivery]
NOW = 1_795_269_731.0


class Plain(OverHTTP):
    """The least that a channel over HTTP can be."""

    kind: ClassVar[str] = "plain"
    url: SecretURL

    def render(self, batch: Batch, at: float) -> Rendered:
        return Rendered(b'{"long":1}', (), "application/json")

    def letter(self, batch: Batch, message: Rendered) -> Letter:
        return Letter(self.url, message.body, (("X-Token", "CANARY-header"),), message.content_type)

    def shorten(self, body: bytes) -> bytes:
        return b"{}"


@pytest.fixture(autouse=True)
async def _closed_engine() -> AsyncIterator[None]:
    yield
    engine().close()


def answer(status: int, body: bytes = b"", *headers: tuple[str, str]) -> Response:
    return Response("http://x.test/", status, headers, body, truncated=False, http_version="1.1")


async def failing(channel: Plain, delivery: Delivery) -> DeliveryFailed:
    batch = single(delivery)
    with pytest.raises(DeliveryFailed) as caught:
        await channel.send(batch, channel.render(batch, 0.0))
    return caught.value


# The table of results

SLOWLY = {401, 403}
AGAIN = {408, 409, 421, 423, 424, 425, 429} | set(range(500, 600))


STATUSES = [200, 201, 202, 204, 299, *range(300, 309), *range(400, 452), 500, 502, 503, 504, 507, 599]


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_has_its_row_in_the_table(status: int) -> None:
    found = verdict(answer(status), "x.test", NOW)
    if 200 <= status < 300:
        assert found == str(status)
        return
    assert isinstance(found, DeliveryFailed)
    assert f"x.test answers {status}" in found.sentence
    assert found.permanent == (status not in SLOWLY | AGAIN)
    assert found.retry_after == (SLOW_RETRY if status in SLOWLY else None)
    assert found.ambiguous == (status == 504)


def test_what_the_receiver_says_is_passed_on_in_one_line_but_a_page_is_not() -> None:
    assert said(answer(422, b"no\r\n such \x1b[31mfield")) == "422 no such [31mfield"
    assert said(answer(502, b"<html><body>Bad gateway</body></html>")) == "502"
    assert said(answer(500, b"oops", ("content-type", "text/html; charset=utf-8"))) == "500"
    assert len(said(answer(400, b"x" * 4096))) == 200


# How long to wait


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        (b'{"message": "You are being rate limited.", "retry_after": 0.65, "global": false}', 0.65),
        (b'{"ok":false,"error_code":429,"parameters":{"retry_after":35}}', 35.0),
        (b'{"retry_after": 1e30}', 3600.0),
        (b'{"retry_after": -4}', 0.0),
        (b'{"retry_after": "soon"}', None),
        (b'{"retry_after": true}', None),
        (b'{"retry_after": NaN}', None),
        (b'{"parameters": [1]}', None),
        (b"[" * 4000, None),
        (b"null", None),
        (b"", None),
    ],
)
def test_a_wait_in_the_body_is_understood_and_clamped(body: bytes, seconds: float | None) -> None:
    assert patience(answer(429, body), NOW) == seconds


def test_of_two_waits_the_longer_counts() -> None:
    assert patience(answer(429, b'{"retry_after": 2}', ("Retry-After", "9")), NOW) == 9
    assert patience(answer(429, b'{"retry_after": 12}', ("Retry-After", "9")), NOW) == 12


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        ("315360000", 3600.0),
        (formatdate(NOW + 315_360_000, usegmt=True), 3600.0),
        ("-5", None),
        ("soon", None),
        ("1e9", None),
        ("", None),
        (None, None),
        ("Sat, 99 Nov 99999 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_understood_and_clamped(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


# What is ambiguous


@pytest.mark.parametrize("how", [Misbehaviour.HANG, Misbehaviour.DRIP, Misbehaviour.RESET])
async def test_a_request_that_was_taken_and_not_answered_is_ambiguous(deliver: Deliver, how: Misbehaviour) -> None:
    async with webhook_receiver() as receiver:
        receiver.script(how)
        channel = Plain.model_validate({"url": receiver.url, "timeout": "500ms"})
        error = await failing(channel, deliver())
        await receiver.wait(1)
    assert error.ambiguous
    assert not error.permanent


async def test_what_never_left_is_not_ambiguous(deliver: Deliver) -> None:
    async with webhook_receiver() as receiver:
        url = receiver.url
    channel = Plain.model_validate({"url": url, "timeout": "2s"})
    assert not (await failing(channel, deliver())).ambiguous
    nowhere = Plain.model_validate({"url": "http://nowhere.invalid/CANARY-path", "timeout": "2s"})
    error = await failing(nowhere, deliver())
    assert not error.ambiguous
    assert "CANARY" not in error.sentence
    forbidden = Plain.model_validate({"url": "http://169.254.169.254/CANARY-path", "timeout": "2s"})
    error = await failing(forbidden, deliver())
    assert not error.ambiguous
    assert error.retry_after == SLOW_RETRY


async def test_a_tls_handshake_that_hangs_is_not_ambiguous(deliver: Deliver) -> None:
    async with webhook_receiver() as receiver:  # it takes the greeting for the head of a request, and waits for its end
        url = receiver.url.replace("http:", "https:")
        error = await failing(Plain.model_validate({"url": url, "timeout": "300ms"}), deliver())
    assert "TLS" in error.sentence
    assert not error.ambiguous


# Shorter bodies, and secrets


@pytest.mark.parametrize("status", [400, 413])
async def test_what_is_refused_as_too_much_is_sent_once_more_shorter(deliver: Deliver, status: int) -> None:
    async with webhook_receiver() as receiver:
        receiver.script(Answer(status), Answer(status))
        channel = Plain.model_validate({"url": receiver.url})
        assert (await failing(channel, deliver())).permanent
    assert [request.body for request in receiver.requests] == [b'{"long":1}', b"{}"]


@pytest.mark.parametrize("status", [200, 404, 500])
async def test_a_receiver_that_repeats_the_path_does_not_bring_it_into_a_note(deliver: Deliver, status: int) -> None:
    async with webhook_receiver() as receiver:
        receiver.script(Answer(status, body=b"The requested URL /hook/CANARY-path was not understood"))
        channel = Plain.model_validate({"url": receiver.url})
        batch = single(deliver())
        try:
            told = await channel.send(batch, channel.render(batch, 0.0))
        except DeliveryFailed as error:
            told = f"{error} {error.sentence} {error!r}"
    assert "was not understood" in told
    assert "CANARY" not in told


def test_the_text_of_a_letter_shows_neither_its_url_nor_its_body_nor_its_headers() -> None:
    letter = Letter(SecretStr("https://x.test/CANARY"), b"CANARY", (("A", "CANARY"),))
    assert "CANARY" not in repr(letter)
    assert letter.host == "x.test"


def test_all_secrets_of_a_channel_are_found() -> None:
    class Many(Plain):
        headers: dict[str, SecretStr]
        keys: tuple[SecretStr, ...]

    many = Many.model_validate({"url": "http://x.test/a", "headers": {"A": "b"}, "keys": ["c", "d"]})
    assert sorted(secrets_of(many)) == ["b", "c", "d", "http://x.test/a"]


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("X-A", "1\r\nX-B: 2", "one line"),
        ("X A", "1", "one line"),
        ("X-A", "ü", "one line"),
        ("Webhook-Id", "1", "set by the channel"),
        ("Content-Length", "1", "set by the channel"),
    ],
)
def test_a_header_that_cannot_be_is_refused(name: str, value: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        check_header(name, SecretStr(value))


@pytest.mark.parametrize("url", ["http://x.test:CANARY/", "http://[CANARY/", "http://x.test:99999/CANARY"])
def test_a_url_that_cannot_be_read_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ValueError, match="https://host/path") as caught:
        Plain.model_validate({"url": url})
    assert "CANARY" not in str(caught.value)


async def test_a_slow_answer_of_any_length_is_judged_by_its_status() -> None:
    async with webhook_receiver() as receiver:
        receiver.script(Answer(200, body=b"x" * 5_000_000), Misbehaviour.DRIP_BODY)
        letter = Letter(SecretStr(receiver.url), b"{}")
        long: Any = await post(letter, timeout=5, tls=TLS())
        slow = await post(letter, timeout=0.3, tls=TLS())
    assert (long.status, len(long.body)) == (200, 4096)
    assert slow.status == 200

"""Telegram, ntfy, Discord and Teams: their options, and what is special about each."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from heartbeat.channels.discord import Discord
from heartbeat.channels.ntfy import Ntfy
from heartbeat.channels.teams import Teams
from heartbeat.channels.telegram import Telegram
from heartbeat.core.batch import single
from heartbeat.core.model import Delivery, Kind, Outcome, Result, Severity
from heartbeat.http.message import Response

Deliver = Callable[..., Delivery]
TOKEN = "123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11"


def answer(status: int, body: bytes) -> Response:
    return Response("http://x.test/", status, (), body, truncated=False, http_version="1.1")


def ntfy(delivery: Delivery, **options: Any) -> dict[str, Any]:
    channel = Ntfy.model_validate({"url": "https://ntfy.test/mytopic", **options})
    whole: dict[str, Any] = json.loads(channel.render(single(delivery), 0.0).body)
    return whole


@pytest.mark.parametrize(("chat", "kept"), [(-1001234567890, "-1001234567890"), ("42", "42"), ("@channel", "@channel")])
def test_a_chat_is_a_number_or_a_name(chat: object, kept: str) -> None:
    assert Telegram.model_validate({"token": TOKEN, "chat_id": chat}).chat_id == kept


@pytest.mark.parametrize(
    "change", [{"chat_id": "a b"}, {"chat_id": True}, {"token": "123"}, {"token": f"{TOKEN}/../x"}, {"topic": -1}]
)
def test_what_is_no_chat_token_or_topic_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Telegram.model_validate({"token": TOKEN, "chat_id": 1} | change)


def test_a_bot_that_nobody_knows_is_for_a_person_to_mend() -> None:
    telegram = Telegram.model_validate({"token": TOKEN, "chat_id": 1})
    found = telegram.accepts(answer(404, b'{"ok":false,"error_code":404,"description":"Not Found"}'), "api.test")
    assert not isinstance(found, str)
    assert (found.permanent, found.retry_after) == (False, 600.0)
    assert "check the token" in found.sentence
    found = telegram.accepts(answer(400, b'{"ok":false,"description":"Bad Request: chat not found"}'), "api.test")
    assert not isinstance(found, str)
    assert found.permanent
    assert "chat not found" in found.sentence


def test_a_topic_is_named_only_where_there_is_one(deliver: Deliver) -> None:
    for topic in (0, 7):
        telegram = Telegram.model_validate({"token": TOKEN, "chat_id": 1, "topic": topic})
        whole = json.loads(telegram.render(single(deliver()), 0.0).body)
        assert whole.get("message_thread_id", 0) == topic


@pytest.mark.parametrize(
    ("kind", "severity", "urgent", "low"),
    [
        (Kind.RAISED, Severity.FAIL, 5, 2),
        (Kind.RAISED, Severity.WARN, 4, 1),
        (Kind.CHECK_BROKEN, Severity.OK, 4, 1),
        (Kind.MISSED, Severity.OK, 4, 1),
        (Kind.FLAPPING, Severity.OK, 4, 1),
        (Kind.BUDGET_BURNING, Severity.FAIL, 5, 2),
        (Kind.ESCALATED, Severity.FAIL, 5, 2),
        (Kind.RESUMED, Severity.OK, 3, 1),
        (Kind.SETTLED, Severity.FAIL, 3, 1),
        (Kind.RESOLVED, Severity.OK, 3, 1),
    ],
)
def test_a_push_rings_as_loud_as_it_is_bad(
    deliver: Deliver, kind: Kind, severity: Severity, urgent: int, low: int
) -> None:
    delivery = deliver(kind=kind, severity=severity)
    assert ntfy(delivery)["priority"] == urgent
    assert ntfy(delivery, priority="low")["priority"] == low


def test_the_topic_is_in_the_body_and_the_token_in_a_header(deliver: Deliver) -> None:
    channel = Ntfy.model_validate({"url": "https://ntfy.test:8443/my%20topic", "token": "tk_x"})
    batch = single(deliver())
    letter = channel.letter(batch, channel.render(batch, 0.0))
    assert letter.url.get_secret_value() == "https://ntfy.test:8443/"
    assert json.loads(letter.body)["topic"] == "my topic"
    assert letter.headers == (("Authorization", "Bearer tk_x"),)


@pytest.mark.parametrize("url", ["https://ntfy.test/", "https://ntfy.test/a/b", "https://ntfy.test"])
def test_a_url_without_a_topic_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="that of a topic"):
        Ntfy.model_validate({"url": url})


@pytest.mark.parametrize("token", ["tk_x\n", "tk x", "tk_ü"])
def test_a_token_with_something_odd_in_it_is_refused_without_being_quoted(token: str) -> None:
    with pytest.raises(ValidationError, match="one word of ASCII") as caught:
        Ntfy.model_validate({"url": "https://ntfy.test/t", "token": token})
    assert "tk" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://discord.test/api/webhooks/1/x", "https://discord.test/api/webhooks/1/x?wait=true"),
        ("https://discord.test/w?thread_id=7", "https://discord.test/w?thread_id=7&wait=true"),
        ("https://discord.test/w?wait=false", "https://discord.test/w?wait=false"),
    ],
)
def test_discord_is_asked_to_answer_when_it_has_the_message(deliver: Deliver, url: str, sent: str) -> None:
    channel = Discord.model_validate({"url": url})
    batch = single(deliver())
    assert channel.letter(batch, channel.render(batch, 0.0)).url.get_secret_value() == sent


def test_discord_answers_with_the_id_of_the_message() -> None:
    channel = Discord.model_validate({"url": "https://discord.test/w"})
    assert channel.accepts(answer(200, b'{"id":"123","content":"x"}'), "discord.test") == "200 message 123"
    assert channel.accepts(answer(204, b""), "discord.test") == "204"


@pytest.mark.parametrize(
    ("body", "permanent"),
    [
        (b"Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 413 with id", True),
        (
            b"Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with id",
            False,
        ),
        (b"Webhook message delivery failed with error: something", False),
    ],
)
def test_teams_says_200_and_means_a_failure(body: bytes, permanent: bool) -> None:
    channel = Teams.model_validate({"url": "https://teams.test/w"})
    found = channel.accepts(answer(200, body), "teams.test")
    assert not isinstance(found, str)
    assert found.permanent == permanent


@pytest.mark.parametrize("body", [b"", b"1", b'{"status":"Accepted"}'])
def test_teams_takes_a_card(body: bytes) -> None:
    channel = Teams.model_validate({"url": "https://teams.test/w"})
    assert isinstance(channel.accepts(answer(202, body), "teams.test"), str)


def test_a_card_of_many_lines_says_how_many_are_missing(deliver: Deliver) -> None:
    found = Result(Outcome.FAIL, 0.1, None, "x", evidence={"body": "\n".join("abcdefgh"[n % 8] for n in range(200))})
    channel = Teams.model_validate({"url": "https://teams.test/w"})
    body = channel.render(single(deliver(result=found)), 0.0).body
    assert b"[cut here: 120 more lines]" in body or b"left out" in body
    assert len(body) <= 14_000

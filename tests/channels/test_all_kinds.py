"""What holds for every kind of channel: secrets stay inside, foreign text is inert, messages are pure and bounded."""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
import structlog
from pydantic import BaseModel, ValidationError

from heartbeat.channels import Channel, DeliveryFailed, ForPeople, Rendered
from heartbeat.channels.hidden import secrets_of
from heartbeat.channels.posting import OverHTTP
from heartbeat.channels.registry import KINDS, load_kind
from heartbeat.core.batch import Batch, single
from heartbeat.core.model import Address, Delivery, Event, Finding, Kind, Severity, Track
from heartbeat.http import engine
from heartbeat.testing.webhook import Answer, Misbehaviour, Receiver, webhook_receiver

KEY = "CANARY7890abcdef0123456789abcdef"
AT = 1_795_269_731.25
Options = Callable[[str], dict[str, Any]]

SAMPLES: dict[str, Options] = {
    "email": lambda _: {
        "to": ["a@x.test"], "from": "hb@x.test", "server": "smtp://127.0.0.1:9", "username": "hb", "password": KEY,
    },
    "webhook": lambda url: {
        "url": f"{url}/hook/{KEY}", "secret": [KEY, f"old-{KEY}"], "headers": {"X-Key": f"h-{KEY}"},
    },
    "alertmanager": lambda url: {"urls": [url], "headers": {"Authorization": f"Bearer {KEY}"}},
    "command": lambda _: {"command": ["false"], "environment": {"TOKEN": KEY}},
    "apprise": lambda url: {"url": f"{url.replace('http', 'json')}/{KEY}"},
    "slack": lambda url: {"url": f"{url}/services/T0/B0/{KEY}"},
    "teams": lambda url: {"url": f"{url}/workflows/x?sig={KEY}"},
    "discord": lambda url: {"url": f"{url}/api/webhooks/1/{KEY}?thread_id=7"},
    "telegram": lambda url: {"token": f"12345:{KEY}", "chat_id": -100_123, "topic": 5, "base_url": url},
    "ntfy": lambda url: {"url": f"{url}/{KEY}", "token": f"tk_{KEY}", "tags": ["shop"]},
    "pagerduty": lambda url: {"routing_key": KEY, "url": f"{url}/v2/enqueue"},
    "opsgenie": lambda url: {"api_key": KEY, "base_url": url, "teams": ["ops"], "tags": ["heartbeat"]},
}  # fmt: skip
TAKEN: dict[str, bytes] = {
    "slack": b"ok",
    "telegram": b'{"ok":true,"result":{"message_id":42}}',
    "pagerduty": b'{"status":"success","message":"Event processed","dedup_key":"x"}',
}
"""What the service answers when it took a message, where 200 alone does not say so."""
MOST = {
    "email": 100_000, "webhook": 20_000, "alertmanager": 40_000, "command": 20_000, "apprise": 64_000,
    "slack": 40_000, "teams": 28_000, "discord": 20_000, "telegram": 22_000, "ntfy": 8000, "pagerduty": 30_000,
    "opsgenie": 40_000,
}  # fmt: skip
"""Bytes that no message of a kind exceeds, whatever a target sent."""
OVER_HTTP = [kind for kind in KINDS if issubclass(load_kind(kind), OverHTTP)]
FOR_PEOPLE = [kind for kind in KINDS if issubclass(load_kind(kind), ForPeople)]
PRESETS = ["slack", "teams", "discord", "telegram", "ntfy", "pagerduty", "opsgenie"]

HOSTILE = (
    "<!channel> <!here> <@U123> @everyone @here @admin [click](http://evil.test/a) http://evil.test/b **bold** _i_ "
    "~s~ `code` ``` <b>x</b> <script>alert(1)</script> &amp; {{ 7*7 }} {% raw %} ${x} <https://evil.test|Login> "
    "<at>All</at> /start #tag\r\nBcc: evil@x.test\r\n\r\nX: 1 \x00\x07\x1b[31m\u202e\u2028\ud800 end"
)
ODD = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.fixture(autouse=True)
async def _closed_engine() -> AsyncIterator[None]:
    yield
    engine().close()


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def channel_of(kind: str, url: str = "http://127.0.0.1:9", **more: Any) -> Channel:
    return load_kind(kind).model_validate(SAMPLES[kind](url) | more)


def origin(receiver: Receiver) -> str:
    return f"http://{receiver.host}:{receiver.port}"


def batch_of(channel: Channel, *events: Event) -> Batch:
    """Return the batch of events as this channel gets it."""
    address = Address("oncall", f"oncall/{channel.kind}", channel.recipients()[0])
    deliveries = tuple(Delivery(f"dlv_{n}", event, address) for n, event in enumerate(events))
    return single(deliveries[0]) if len(events) == 1 else Batch("bat_1", address, deliveries)


def hostile(event: Event, text: str = HOSTILE) -> Event:
    assert event.result is not None
    result = replace(
        event.result,
        sentence=text,
        expected=text,
        observed=text,
        evidence={"body": text, text: text},
        measurements={text: 1.0},
        phases={text: 1.0},
    )
    context = {"type": text, "labels": {"team": text}, "runbook": "javascript:alert(1)", "location": text}
    finding = Finding(text, Severity.FAIL, text, text)
    return replace(event, sentence=text, result=result, findings=(finding,), context=context)


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from (key, *strings(one))
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)


def test_every_kind_has_its_sample_here() -> None:
    assert set(KINDS) <= set(SAMPLES) & set(MOST)


# Secrets


def test_no_text_of_a_channel_holds_a_secret(kind: str, event: Event) -> None:
    channel = channel_of(kind)
    assert any(KEY in secret for secret in secrets_of(channel)), "the sample must give every secret"
    batch = batch_of(channel, event)
    rendered = channel.render(batch, AT)
    for text in (repr(channel), str(channel), f"{channel}", repr(rendered), channel.model_dump_json()):
        assert "CANARY" not in text
    if isinstance(channel, OverHTTP):
        assert "CANARY" not in repr(channel.letter(batch, rendered))


def test_an_option_that_is_refused_is_not_quoted(kind: str) -> None:
    for name, value in SAMPLES[kind]("http://127.0.0.1:9").items():
        for wrong in (value, [value], {"x": value}, f"ftp://CANARY {value}\n"):
            try:
                load_kind(kind).model_validate({**SAMPLES[kind]("http://127.0.0.1:9"), name: wrong})
            except ValidationError as error:
                told = str(error) if "CANARY" not in name else ""
                assert KEY not in told, name


ECHO = f"no such path /hook/{KEY} and bearer {KEY} with key h-{KEY}, token 12345:{KEY}".encode()
FAILURES: list[Answer | Misbehaviour] = [
    *(Answer(status, body=ECHO) for status in (301, 400, 401, 403, 404, 410, 413, 429, 500, 503)),
    Answer(302, (("location", f"http://elsewhere.test/{KEY}"),)),
    Answer(200, body=ECHO),
    Misbehaviour.RESET,
    Misbehaviour.HANG,
]


@pytest.mark.parametrize("answer", FAILURES, ids=str)
@pytest.mark.parametrize("name", OVER_HTTP)
async def test_nothing_that_a_receiver_does_brings_a_secret_out(
    name: str, event: Event, answer: Answer | Misbehaviour, caplog: pytest.LogCaptureFixture
) -> None:
    async with webhook_receiver() as receiver:
        receiver.script(answer, answer)
        channel = channel_of(name, origin(receiver), timeout="500ms")
        batch = batch_of(channel, event)
        with structlog.testing.capture_logs() as logged:
            try:
                told = await channel.send(batch, channel.render(batch, AT))
            except DeliveryFailed as error:
                told = "".join(traceback.format_exception(error)) + error.sentence + repr(error.args)
        await receiver.wait(1)
    assert "CANARY" not in told
    assert "CANARY" not in caplog.text + repr(logged)


@pytest.mark.parametrize("name", OVER_HTTP)
async def test_a_receiver_that_is_not_there_is_named_by_its_host_alone(name: str, event: Event) -> None:
    async with webhook_receiver() as receiver:
        url = origin(receiver)
    channel = channel_of(name, url, timeout="2s")
    batch = batch_of(channel, event)
    with pytest.raises(DeliveryFailed) as caught:
        await channel.send(batch, channel.render(batch, AT))
    assert "127.0.0.1" in caught.value.sentence
    assert "CANARY" not in caught.value.sentence


# Messages


def test_a_message_is_pure(kind: str, event: Event) -> None:
    one, other = channel_of(kind), channel_of(kind)
    assert one == other
    assert one.render(batch_of(one, event), AT) == other.render(batch_of(other, event), AT)


@pytest.mark.parametrize("character", ["x", "<", "&", "ü", "\U0001f4a5", "\n", "`", '"', "\\"])
def test_a_message_is_bounded_whatever_a_target_sent(kind: str, event: Event, character: str) -> None:
    channel = channel_of(kind)
    assert event.result is not None
    many = {f"name_{n}_{character * 50}": float(n) for n in range(3000)}
    texts = {f"text {n}": character * 200_000 for n in range(20)}
    result = replace(event.result, measurements=many, phases=many, evidence=texts, expected=character * 10**6)
    findings = (Finding(character * 5000, Severity.FAIL, character * 5000, character * 5000),) * 200
    labels = {f"l{n}": character * 1000 for n in range(20)}
    huge = replace(
        event, sentence=character * 10**6, result=result, findings=findings, context={"labels": labels, "type": "x"}
    )
    assert len(channel.render(batch_of(channel, huge), AT).body) <= MOST[kind]


@pytest.mark.parametrize("name", FOR_PEOPLE)
def test_a_message_of_many_incidents_is_bounded_and_says_that_it_is_cut(name: str, event: Event) -> None:
    channel = channel_of(name)
    events = [replace(event, check=f"check-{n}", incident=f"inc_{n:030}", id=f"evt_{n}") for n in range(300)]
    body = channel.render(batch_of(channel, *events), AT + 3600).body
    assert len(body) <= MOST[name]
    assert b"300 FAILING" in body
    assert b"cut here" in body or b" more" in body


@pytest.mark.parametrize("what", [*Kind])
def test_every_kind_of_event_has_a_message(kind: str, event: Event, what: Kind) -> None:
    channel = channel_of(kind)
    assert channel.render(batch_of(channel, replace(event, kind=what)), AT).body


def test_no_control_character_and_no_turning_of_text_gets_into_a_message(kind: str, event: Event) -> None:
    channel = channel_of(kind)
    rendered = channel.render(batch_of(channel, hostile(event)), AT)
    if "json" not in rendered.content_type:
        assert not ODD.search(rendered.body.decode().replace("\r\n", "\n"))
        return
    for text in strings(json.loads(rendered.body)):
        assert not ODD.search(text), text
    for name, value in rendered.headers:
        assert re.fullmatch(r"[ -~]*", name + value)


class Tags(HTMLParser):
    """Collects the text of each element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert not attrs
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))


def document(kind: str, *events: Event) -> Any:
    channel = channel_of(kind)
    return json.loads(channel.render(batch_of(channel, *events), AT).body)


def both(event: Event) -> list[tuple[Event, ...]]:
    """Return a hostile event alone, and two of them together."""
    bad = hostile(event)
    return [(bad,), (bad, replace(bad, incident="inc_2", id="evt_2", check="@everyone <!here> `x`"))]


def test_slack_calls_nobody_and_links_nowhere(event: Event) -> None:
    for events in both(event):
        whole = document("slack", *events)
        assert (whole["parse"], whole["link_names"], whole["mrkdwn"]) == ("none", False, False)
        assert "<" not in whole["text"]
        texts = [one for block in whole["blocks"] for one in [block.get("text"), *block.get("elements", [])] if one]
        assert texts
        for one in texts:
            assert "<" not in one["text"]
            assert one["type"] == "plain_text" or (one["verbatim"] is True and one["text"].count("`") == 6)


def test_slack_links_only_to_what_our_configuration_names(event: Event) -> None:
    texts = list(strings(document("slack", event)))
    assert [text for text in texts if "<" in text] == ["<https://wiki.test/shop|Runbook>"]


def test_teams_has_no_markdown_no_mentions_and_no_foreign_links(event: Event) -> None:
    for events in both(event):
        card = document("teams", *events)["attachments"][0]["content"]
        assert card["msteams"] == {"width": "Full"}
        assert "actions" not in card
        kinds = {one["type"] for one in _dicts(card) if "type" in one}
        assert kinds == {"AdaptiveCard", "Container", "RichTextBlock", "TextRun"}
    links = document("teams", event)["attachments"][0]["content"]["actions"]
    assert [link["url"] for link in links] == ["https://wiki.test/shop"]


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for one in value.values():
            yield from _dicts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _dicts(one)


def test_discord_shows_foreign_text_as_code_and_pings_nobody(event: Event) -> None:
    for events in both(event):
        whole = document("discord", *events)
        assert whole["allowed_mentions"] == {"parse": []}
        (embed,) = whole["embeds"]
        assert set(embed) == {"title", "description", "color"}
        assert re.fullmatch(r"\*\*[A-Z ]+\*\* `[^`]+`", whole["content"])
        assert re.fullmatch(r"```\n[^`]+\n```", embed["description"])
        assert re.fullmatch(r"[A-Z ]+", embed["title"])
        assert len(embed["description"]) <= 4096
        assert len(whole["content"]) <= 2000


def test_telegram_shows_foreign_text_as_code(event: Event) -> None:
    for events in both(event):
        whole = document("telegram", *events)
        assert whole["link_preview_options"] == {"is_disabled": True}
        tags = Tags(whole["text"])
        assert not tags.open
        assert {tag for tag, text in tags.texts if text.strip()} == {"b", "code", "pre"}
        assert all(re.fullmatch(r"[A-Z ]+", text) for tag, text in tags.texts if tag == "b")
        assert sum(len(text.encode("utf-16-le")) // 2 for _, text in tags.texts) <= 4096


def test_ntfy_is_plain_text_and_leads_nowhere(event: Event) -> None:
    for events in both(event):
        whole = document("ntfy", *events)
        assert set(whole) == {"title", "message", "priority", "tags"}
        assert whole["tags"] == ["rotating_light", "shop"]
        assert len(whole["message"].encode()) <= 4096
        assert "\n" not in whole["title"]


@pytest.mark.parametrize("name", ["pagerduty", "opsgenie"])
def test_paging_has_no_foreign_links_and_a_title_of_one_line(event: Event, name: str) -> None:
    whole = document(name, hostile(event))
    assert "links" not in whole
    assert "images" not in whole
    title = whole["payload"]["summary"] if name == "pagerduty" else whole["message"]
    assert "\n" not in title
    assert len(title) <= (1024 if name == "pagerduty" else 130)


# What goes over the wire


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(
    ("case", "changes"),
    [
        ("raised", {}),
        ("resolved", {"kind": Kind.RESOLVED, "sequence": 2, "was": Severity.FAIL, "severity": Severity.OK}),
        ("broken", {"kind": Kind.CHECK_BROKEN, "severity": Severity.OK, "sentence": "KeyError: 'user'"}),
        ("missed", {"kind": Kind.MISSED, "track": Track.RUNS, "severity": Severity.OK, "sentence": "3 slots passed"}),
        ("flapping", {"kind": Kind.FLAPPING, "track": Track.FLAPPING, "sentence": "its state changed 14 times"}),
        ("escalated", {"kind": Kind.ESCALATED, "sequence": 2, "was": Severity.FAIL}),
        (
            "resumed",
            {"kind": Kind.RESUMED, "track": Track.RUNS, "sequence": 2, "severity": Severity.OK, "sentence": ""},
        ),
    ],
)
async def test_what_arrives_is_as_in_its_file(
    name: str, event: Event, case: str, changes: dict[str, Any], golden: Callable[[str, Any], None]
) -> None:
    await _compare(name, case, golden, replace(event, **changes))


@pytest.mark.parametrize("name", [name for name in PRESETS if issubclass(load_kind(name), ForPeople)])
async def test_what_arrives_of_several_is_as_in_its_file(
    name: str, event: Event, golden: Callable[[str, Any], None]
) -> None:
    other = replace(event, check="shop-search", incident="inc_2", id="evt_2", severity=Severity.WARN)
    over = replace(event, kind=Kind.RESOLVED, sequence=2, was=Severity.FAIL, severity=Severity.OK, at=AT + 1740)
    await _compare(name, "batch", golden, event, other, over)


async def _compare(name: str, case: str, golden: Callable[[str, Any], None], *events: Event) -> None:
    async with webhook_receiver() as receiver:
        receiver.script(Answer(202, body=TAKEN.get(name, b"")))
        channel = channel_of(name, origin(receiver))
        batch = batch_of(channel, *events)
        await channel.send(batch, channel.render(batch, AT + 1800))
    (request,) = receiver.requests
    kept = {key: value for key, value in request.headers.items() if key in ("authorization", "content-type")}
    found = {
        "request": f"{request.method} {request.path}",
        "headers": kept,
        "body": json.loads(request.body),
    }
    golden(f"{name}/{case}", found)


AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)
FINAL = (301, 302, 400, 405, 410, 413, 422)


@pytest.mark.parametrize("status", [200, 201, 202, 401, 403, 404, *AGAIN, *FINAL])
@pytest.mark.parametrize("name", PRESETS)
async def test_every_status_means_the_same_for_all(name: str, event: Event, status: int) -> None:
    async with webhook_receiver() as receiver:
        answer = Answer(status, body=TAKEN.get(name, b"") if status < 300 else b"no")
        receiver.script(answer, answer)
        channel = channel_of(name, origin(receiver))
        batch = batch_of(channel, event)
        if status < 300:
            assert (await channel.send(batch, channel.render(batch, AT))).startswith(str(status))
            assert len(receiver.requests) == 1
            return
        with pytest.raises(DeliveryFailed) as caught:
            await channel.send(batch, channel.render(batch, AT))
    slowly = (401, 403, 404) if name == "telegram" else (401, 403)
    assert caught.value.permanent == (status not in (*slowly, *AGAIN))
    assert caught.value.retry_after == (600 if status in slowly else None)
    assert str(status) in caught.value.sentence
    assert len(receiver.requests) == (2 if status in (400, 413) else 1)
    if len(receiver.requests) == 2:
        assert len(receiver.requests[1].body) < len(receiver.requests[0].body)
        assert set(json.loads(receiver.requests[1].body)) <= set(json.loads(receiver.requests[0].body))


@pytest.mark.parametrize("name", OVER_HTTP)
async def test_a_wait_that_is_asked_for_is_passed_on(name: str, event: Event) -> None:
    async with webhook_receiver() as receiver:
        receiver.script(Answer(429, (("Retry-After", "30"),)), Answer(429, body=b'{"retry_after":1.5}'))
        channel = channel_of(name, origin(receiver))
        batch = batch_of(channel, event)
        for seconds in (30, 1.5):
            with pytest.raises(DeliveryFailed) as caught:
                await channel.send(batch, channel.render(batch, AT))
            assert caught.value.retry_after == seconds


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("slack", b"invalid_payload"),
        ("slack", b"<html>log in</html>"),
        ("slack", b'{"ok":false,"error":"no_text"}'),
        ("teams", b"Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429"),
        ("telegram", b'{"ok":false,"description":"chat not found"}'),
        ("telegram", b""),
        ("pagerduty", b'{"status":"throttled"}'),
        ("pagerduty", b"<html>log in</html>"),
    ],
)
async def test_an_answer_of_200_that_means_a_failure_is_one(name: str, event: Event, body: bytes) -> None:
    async with webhook_receiver() as receiver:
        receiver.script(Answer(200, body=body))
        channel = channel_of(name, origin(receiver))
        batch = batch_of(channel, event)
        with pytest.raises(DeliveryFailed) as caught:
            await channel.send(batch, channel.render(batch, AT))
    assert not caught.value.permanent


# Options


def test_every_option_and_every_kind_says_what_it_is_for(kind: str) -> None:
    assert (inspect.getdoc(load_kind(kind)) or "").strip() != (inspect.getdoc(Channel) or "").strip()
    described = {
        name for model in load_kind(kind).__mro__ if issubclass(model, BaseModel) for name in _described(model)
    }
    silent = set(load_kind(kind).model_fields) - described
    assert silent <= {"username", "password"}


def _described(model: type[BaseModel]) -> Iterator[str]:
    """Yield the fields of a model below which a docstring stands."""
    if model.__module__.startswith("heartbeat."):
        (body,) = (
            node.body
            for node in ast.parse(inspect.getsource(sys.modules[model.__module__])).body
            if isinstance(node, ast.ClassDef) and node.name == model.__name__
        )
        for field, after in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(field.target, ast.Name):
                yield field.target.id


def test_people_are_told_together_and_machines_one_by_one() -> None:
    people = set(FOR_PEOPLE)
    assert people >= {"email", "slack", "teams", "discord", "telegram", "ntfy"}
    assert not people & {"webhook", "alertmanager", "command", "pagerduty", "opsgenie"}
    for kind in people:
        assert load_kind(kind).model_fields["group_wait"].default == 10.0


def test_a_rendered_message_is_what_it_was_told(kind: str, event: Event) -> None:
    channel = channel_of(kind)
    rendered = channel.render(batch_of(channel, event), AT)
    assert isinstance(rendered, Rendered)
    assert event.check.encode() in rendered.body or b"alias" in rendered.body

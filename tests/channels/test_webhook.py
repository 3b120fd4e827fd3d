from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from pydantic import ValidationError
from standardwebhooks.webhooks import Webhook as Verifier

from heartbeat.channels import DeliveryFailed
from heartbeat.channels.webhook import Webhook, key_of, sign
from heartbeat.core.batch import single
from heartbeat.core.model import Delivery
from heartbeat.http import engine
from heartbeat.testing.webhook import Answer, Misbehaviour, Receiver, webhook_receiver

Deliver = Callable[..., Delivery]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(autouse=True)
async def _closed_engine() -> AsyncIterator[None]:
    yield
    engine().close()


def channel(receiver: Receiver, **options: Any) -> Webhook:
    return Webhook.model_validate({"url": receiver.url, "timeout": "5s"} | options)


async def send(hook: Webhook, delivery: Delivery) -> str:
    return await hook.send(single(delivery), hook.render(single(delivery), 0.0))


async def failing(hook: Webhook, delivery: Delivery) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        await send(hook, delivery)
    assert "CANARY" not in caught.value.sentence
    return caught.value


async def test_an_event_arrives_as_json_with_its_id(deliver: Deliver) -> None:
    delivery = deliver()
    async with webhook_receiver() as receiver:
        receiver.script(Answer(202, body=b"taken"))
        assert await send(channel(receiver, headers={"Authorization": "Bearer token"}), delivery) == "202 taken"
    (request,) = receiver.requests
    assert request.method == "POST"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == delivery.event.id
    assert request.headers["idempotency-key"] == f'"{delivery.event.id}"'
    assert request.headers["authorization"] == "Bearer token"
    assert "webhook-signature" not in request.headers
    whole = json.loads(request.body)
    assert whole["type"] == "heartbeat.check.raised"
    assert whole["data"]["result"]["evidence"] == {"body": "<b>oops</b>"}


def test_the_signature_is_that_of_the_known_vector() -> None:
    signature = sign(key_of(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secret", [SECRET, "a raw secret of more than 24 bytes"])
async def test_another_library_accepts_the_signature(deliver: Deliver, secret: str) -> None:
    async with webhook_receiver() as receiver:
        await send(channel(receiver, secret=secret), deliver())
    (request,) = receiver.requests
    Verifier(secret if secret.startswith("whsec_") else secret.encode()).verify(request.body, request.headers)


async def test_five_refusals_and_a_success_share_id_and_body_and_are_each_signed_anew(
    deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(range(1_614_265_330, 1_614_265_399))
    monkeypatch.setattr("heartbeat.channels.posting.time.time", lambda: next(times))
    delivery = deliver()
    async with webhook_receiver() as receiver:
        hook = channel(receiver, secret=SECRET)
        receiver.script(*[Answer(500)] * 5)
        for _ in range(5):
            assert not (await failing(hook, delivery)).permanent
        await send(hook, delivery)
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    assert len({request.body for request in receiver.requests}) == 1
    assert len({request.headers["webhook-timestamp"] for request in receiver.requests}) == 6
    for request in receiver.requests:
        at = int(request.headers["webhook-timestamp"])
        assert request.headers["webhook-signature"] == sign(key_of(SECRET), delivery.event.id, at, request.body)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504])
async def test_trouble_of_the_receiver_is_tried_again(deliver: Deliver, status: int) -> None:
    async with webhook_receiver() as receiver:
        receiver.script(Answer(status))
        error = await failing(channel(receiver), deliver())
    assert not error.permanent
    assert error.retry_after is None
    assert str(status) in error.sentence


@pytest.mark.parametrize("status", [400, 404, 405, 410, 413, 422])
async def test_what_is_said_about_the_request_is_final(deliver: Deliver, status: int) -> None:
    async with webhook_receiver() as receiver:
        receiver.script(Answer(status), Answer(status))
        assert (await failing(channel(receiver), deliver())).permanent


@pytest.mark.parametrize("status", [400, 413])
async def test_what_is_too_much_is_sent_once_more_without_evidence(deliver: Deliver, status: int) -> None:
    async with webhook_receiver() as receiver:
        receiver.script(Answer(status))
        await send(channel(receiver, secret=SECRET), deliver())
    full, shorter = receiver.requests
    assert json.loads(full.body)["data"]["result"]["evidence"]
    assert json.loads(shorter.body)["data"]["result"]["evidence"] == {}
    assert full.headers["webhook-id"] == shorter.headers["webhook-id"]
    Verifier(SECRET).verify(shorter.body, shorter.headers)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_login_is_tried_again_slowly(deliver: Deliver, status: int) -> None:
    async with webhook_receiver() as receiver:
        receiver.script(Answer(status))
        error = await failing(channel(receiver), deliver())
    assert not error.permanent
    assert error.retry_after is not None
    assert error.retry_after >= 600


async def test_a_redirect_is_not_followed_and_only_its_origin_is_named(deliver: Deliver) -> None:
    async with webhook_receiver() as elsewhere, webhook_receiver() as receiver:
        location = f"http://user:CANARY-word@{elsewhere.host}:{elsewhere.port}/CANARY-path"
        receiver.script(Answer(301, (("location", location),)))
        error = await failing(channel(receiver), deliver())
    assert error.permanent
    assert "http://127.0.0.1" in error.sentence
    assert not elsewhere.requests


async def test_retry_after_is_passed_on(deliver: Deliver) -> None:
    async with webhook_receiver() as receiver:
        receiver.script(Answer(429, (("Retry-After", "120"),)))
        assert (await failing(channel(receiver), deliver())).retry_after == 120


@pytest.mark.parametrize("how", [Misbehaviour.HANG, Misbehaviour.DRIP])
async def test_a_receiver_without_an_answer_is_left_when_the_time_is_up(deliver: Deliver, how: Misbehaviour) -> None:
    async with webhook_receiver() as receiver:
        receiver.script(how)
        error = await failing(channel(receiver, timeout="300ms"), deliver())
    assert not error.permanent


async def test_the_status_decides_although_the_body_never_ends(deliver: Deliver) -> None:
    async with webhook_receiver() as receiver:
        receiver.script(Misbehaviour.DRIP_BODY)
        assert (await send(channel(receiver, timeout="300ms"), deliver())).startswith("200")


async def test_an_answer_of_any_length_is_read_only_so_far(deliver: Deliver) -> None:
    async with webhook_receiver() as receiver:
        receiver.script(Answer(200, body=b"x" * 10_000_000))
        assert len(await send(channel(receiver), deliver())) <= 200


async def test_a_reset_and_a_closed_port_are_tried_again(deliver: Deliver) -> None:
    async with webhook_receiver() as receiver:
        receiver.script(Misbehaviour.RESET)
        assert not (await failing(channel(receiver), deliver())).permanent
    assert not (await failing(channel(receiver), deliver())).permanent


async def test_a_certificate_is_verified(deliver: Deliver, server_tls: ssl.SSLContext, ca_file: Path) -> None:
    async with webhook_receiver(tls=server_tls) as receiver:
        error = await failing(channel(receiver), deliver())
        assert not error.permanent
        assert not receiver.requests
        await send(channel(receiver, ca_file=str(ca_file)), deliver())
        await send(channel(receiver, verify=False), deliver())
    assert len(receiver.requests) == 2


async def test_a_metadata_address_is_refused_at_the_socket(deliver: Deliver) -> None:
    hook = Webhook.model_validate({"url": "http://169.254.169.254/CANARY-path", "timeout": "2s"})
    error = await failing(hook, deliver())
    assert "metadata" in error.sentence
    assert error.retry_after is not None


async def test_proxies_of_the_environment_are_not_used(deliver: Deliver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with webhook_receiver() as receiver:
        await send(channel(receiver), deliver())
    assert len(receiver.requests) == 1


def test_a_body_is_the_same_bytes_every_time(deliver: Deliver) -> None:
    hook = Webhook.model_validate({"url": "https://hooks.test/x"})
    assert hook.render(single(deliver()), 0.0) == hook.render(single(deliver()), 0.0)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"url": "ftp://hooks.test/"}, "https://host/path"),
        ({"url": "https:///path"}, "https://host/path"),
        ({"url": "https://user:pw@hooks.test/"}, "user name"),
        ({"url": "https://hooks.test/a b"}, "spaces"),
        ({"secret": "short"}, "at least 24"),
        ({"secret": "whsec_!!!"}, "base64"),
        ({"secret": "whsec_c2hvcnQ="}, "at least 24"),
        ({"headers": {"X-A": "1\r\nX-B: 2"}}, "one line"),
        ({"headers": {"Webhook-Id": "1"}}, "set by the channel"),
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file /nowhere/ca.pem"),
    ],
)
def test_a_wrong_option_is_refused_and_says_what_to_change(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Webhook.model_validate({"url": "https://hooks.test/x"} | change)


def test_neither_url_nor_secret_nor_header_is_in_the_text_of_the_channel() -> None:
    hook = Webhook.model_validate(
        {
            "url": "https://hooks.test/CANARY-path",
            "secret": "CANARY-secret-that-is-long-enough",
            "headers": {"Authorization": "CANARY-token"},
        }
    )
    assert "CANARY" not in repr(hook)


def test_it_works_on_uvloop(deliver: Deliver, server_tls: ssl.SSLContext, ca_file: Path) -> None:
    async def story() -> int:
        async with webhook_receiver(tls=server_tls) as receiver:
            hook = channel(receiver, ca_file=str(ca_file), secret=SECRET)
            receiver.script(Answer(500), Misbehaviour.RESET)
            await failing(hook, deliver())
            await failing(hook, deliver())
            await send(hook, deliver())
        engine().close()
        return len(receiver.requests)

    assert uvloop.run(story()) == 3


# Formats, templates, methods, rotation

OLD = "whsec_b2xkIGtleSBvZiBtb3JlIHRoYW4gdHdlbnR5Zm91cg=="


async def test_two_secrets_sign_twice_and_either_key_verifies(deliver: Deliver) -> None:
    async with webhook_receiver() as receiver:
        await send(channel(receiver, secret=[SECRET, OLD]), deliver())
    (request,) = receiver.requests
    assert len(request.headers["webhook-signature"].split(" ")) == 2
    for key in (SECRET, OLD):
        Verifier(key).verify(request.body, request.headers)


@pytest.mark.parametrize(
    ("format_", "content_type", "key"),
    [
        ("native", "application/json", "data"),
        ("alertmanager", "application/json", "groupKey"),
        ("cloudevents", "application/cloudevents+json", "specversion"),
    ],
)
async def test_each_format_arrives_with_its_type_and_a_signature(
    deliver: Deliver, format_: str, content_type: str, key: str
) -> None:
    async with webhook_receiver() as receiver:
        await send(channel(receiver, format=format_, secret=SECRET), deliver())
    (request,) = receiver.requests
    assert request.headers["content-type"] == content_type
    assert key in json.loads(request.body)
    Verifier(SECRET).verify(request.body, request.headers)


async def test_the_method_can_be_put(deliver: Deliver) -> None:
    async with webhook_receiver() as receiver:
        await send(channel(receiver, method="PUT"), deliver())
    assert receiver.requests[0].method == "PUT"


async def test_a_body_of_ones_own_is_sent_and_signed(deliver: Deliver) -> None:
    template = '{"text": {{ headline | tojson }}, "state": "{{ status }}", "to": {{ receiver | tojson }}}'
    async with webhook_receiver() as receiver:
        await send(channel(receiver, body=template, secret=SECRET), deliver())
    (request,) = receiver.requests
    assert json.loads(request.body) == {
        "text": "shop-login: the answer was 500",
        "state": "firing",
        "to": "oncall",
    }
    assert "heartbeat-template-error" not in request.headers
    Verifier(SECRET).verify(request.body, request.headers)


async def test_a_body_can_be_any_text(deliver: Deliver) -> None:
    async with webhook_receiver() as receiver:
        options = {"body": "{{ type }} {{ event.check }}", "content_type": "text/plain; charset=utf-8"}
        await send(channel(receiver, **options), deliver())
    (request,) = receiver.requests
    assert request.headers["content-type"] == "text/plain; charset=utf-8"
    assert request.body == b"heartbeat.check.raised shop-login"


@pytest.mark.parametrize("template", ["{{ event.absent }}", '{"a": {{ event.check }}}', "{{ event.sequence / 0 }}"])
async def test_a_template_that_fails_still_lets_the_alert_out_and_says_so(deliver: Deliver, template: str) -> None:
    async with webhook_receiver() as receiver:
        await send(channel(receiver, body=template, format="cloudevents"), deliver())
    (request,) = receiver.requests
    whole = json.loads(request.body)
    assert request.headers["content-type"] == "application/cloudevents+json"
    assert whole["data"]["check"] == "shop-login"
    assert whole["template_error"].startswith("the template failed")
    assert request.headers["heartbeat-template-error"] == whole["template_error"]


async def test_a_body_of_ones_own_is_never_shortened(deliver: Deliver) -> None:
    async with webhook_receiver() as receiver:
        receiver.script(Answer(400))
        hook = channel(receiver, body='{"data": {"result": {"evidence": {"a": 1}}}}')
        assert (await failing(hook, deliver())).permanent
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"body": "{{ oops"}, "line 1"),
        ({"body": "{% include 'x' %}"}, "include is not allowed"),
        ({"content_type": "text/plain"}, "needs body"),
        ({"body": "x", "content_type": "text/plain\r\nX: 1"}, "content_type"),
        ({"format": "xml"}, "native"),
        ({"method": "GET"}, "POST"),
        ({"secret": [SECRET, OLD, SECRET]}, "at most 2"),
        ({"secret": [SECRET, "short"]}, "at least 24"),
    ],
)
def test_a_wrong_choice_is_refused_and_says_what_to_change(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Webhook.model_validate({"url": "https://hooks.test/x"} | change)


def test_a_channel_with_a_template_equals_itself_after_a_reload() -> None:
    options = {"url": "https://hooks.test/x", "body": "{{ event.check }}", "secret": [SECRET, OLD]}
    assert Webhook.model_validate(options) == Webhook.model_validate(options)

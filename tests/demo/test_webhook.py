from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from heartbeat.demo.arrivals import Arrivals
from heartbeat.demo.stage import SIGNING_SECRET
from heartbeat.demo.webhook import Post, receiver

BODY = json.dumps({"type": "heartbeat.check.raised", "data": {"kind": "raised", "check": "shop"}})


def signed(at: datetime, secret: str = SIGNING_SECRET, body: str = BODY) -> dict[str, str]:
    return {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign("evt_1", at, body),
    }


async def post(headers: dict[str, str]) -> tuple[int, Post]:
    posts = Arrivals[Post]()
    transport = httpx.ASGITransport(receiver(posts, SIGNING_SECRET))
    async with httpx.AsyncClient(transport=transport, base_url="http://receiver") as client:
        answer = await client.post("/alerts", content=BODY, headers=headers)
    return answer.status_code, posts.all[0]


async def test_a_post_signed_by_the_reference_implementation_is_taken() -> None:
    status, taken = await post(signed(datetime.now(UTC)))
    assert (status, taken.verified) == (200, True)
    assert taken.tells("raised", "shop")
    assert not taken.tells("resolved", "shop")
    assert "the signature is right" in str(taken)


@pytest.mark.parametrize(
    "headers",
    [
        dict,
        lambda: signed(datetime.now(UTC), secret="whsec_b3RoZXI="),
        lambda: signed(datetime.now(UTC), body="{}"),
        lambda: signed(datetime.now(UTC) - timedelta(minutes=6)),
        lambda: {**signed(datetime.now(UTC)), "webhook-timestamp": "soon"},
    ],
    ids=["unsigned", "another secret", "another body", "too old", "no time"],
)
async def test_a_post_that_is_not_signed_right_is_refused_and_shown_as_such(
    headers: Callable[[], dict[str, str]],
) -> None:
    status, refused = await post(headers())
    assert (status, refused.verified) == (401, False)
    assert not refused.tells("raised", "shop")
    assert "THE SIGNATURE IS WRONG" in str(refused)


def test_a_body_that_is_no_object_tells_nothing() -> None:
    assert not Post({}, b"[1]", verified=True).tells("raised", "shop")
    assert not Post({}, b"\xff", verified=True).tells("raised", "shop")
    assert not Post({}, b'{"data": 1}', verified=True).tells("raised", "shop")

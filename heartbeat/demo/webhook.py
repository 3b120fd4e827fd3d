"""The demo's webhook receiver: checks the signature as the Standard Webhooks specification tells a receiver to."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac
from time import time
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from heartbeat.demo.arrivals import Arrivals

TOLERANCE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Post:
    """A webhook as it arrived; ``verified`` says whether it was signed with the secret that both sides know."""

    headers: Mapping[str, str]
    body: bytes
    verified: bool

    @property
    def document(self) -> Mapping[str, Any]:
        """The body, parsed; empty where it is no JSON object."""
        try:
            document = json.loads(self.body)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}

    def tells(self, kind: str, check: str) -> bool:
        """Say whether it is signed, and about this kind of event of this check."""
        data = self.document.get("data")
        return self.verified and isinstance(data, dict) and (data.get("kind"), data.get("check")) == (kind, check)

    def __str__(self) -> str:
        head = [f"{name}: {value}" for name, value in self.headers.items() if name.startswith("webhook-")]
        trust = "the signature is right" if self.verified else "THE SIGNATURE IS WRONG"
        return "\n".join([*head, f"({trust})", json.dumps(self.document, indent=2, ensure_ascii=False)])


def verifies(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """Say whether one of the signatures is ours and the time stamp is near (Standard Webhooks 1.0, symmetric).

    The signed text is ``id.timestamp.body``; the header holds ``v1,BASE64`` once per key, parted by spaces.
    """
    stamp, identity = headers.get("webhook-timestamp", ""), headers.get("webhook-id", "")
    if not (identity and stamp.isdecimal() and abs(now - int(stamp)) <= TOLERANCE_SECONDS):
        return False
    try:
        key = b64decode(secret.removeprefix("whsec_"), validate=True)
    except BadBase64:
        return False
    right = "v1," + b64encode(hmac(key, f"{identity}.{stamp}.".encode() + body, sha256)).decode()
    return any(compare_digest(each.encode(), right.encode()) for each in headers.get("webhook-signature", "").split())


def receiver(posts: Arrivals[Post], secret: str) -> Starlette:
    """Return the receiver as an ASGI application: it takes posts to ``/alerts`` and refuses unsigned ones with 401."""

    async def take(request: Request) -> Response:
        body = await request.body()
        post = Post(dict(request.headers), body, verifies(secret, request.headers, body, time()))
        posts.add(post)
        return JSONResponse({"taken": post.verified}, 200 if post.verified else 401)

    return Starlette(routes=[Route("/alerts", take, methods=["POST"])])

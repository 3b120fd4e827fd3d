"""How near a receiver can be come without telling anybody: each step that was made, in words, or why one failed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import urlsplit

from heartbeat.channels import DeliveryFailed
from heartbeat.check import CheckBroken, CheckFailed
from heartbeat.core.limits import show
from heartbeat.http.engine import fetch
from heartbeat.http.guard import guard_webhook_target
from heartbeat.http.message import TLS, Request, Trace, target

Steps = tuple[str, ...]


async def reach_server(url: str, *, timeout: float, tls: TLS) -> Steps:  # noqa: ASYNC109 - libcurl keeps it, and says so
    """Resolve the host of a URL, connect, and do the TLS handshake; nothing is sent. Raises ``DeliveryFailed``.

    It goes by libcurl, with the same trust, resolver and guarded addresses as a message that is posted there.
    """
    parts, trace = urlsplit(url), Trace()
    request = Request(
        url=f"{parts.scheme}://{parts.netloc}/", tls=tls, address_guard=guard_webhook_target, connect_only=True
    )
    try:
        await fetch(request, timeout=timeout, trace=trace)
    except CheckFailed as error:
        raise DeliveryFailed(error.sentence, permanent=isinstance(error, CheckBroken)) from None
    return tuple(_steps(request, trace))


def _steps(request: Request, trace: Trace) -> Iterator[str]:
    there = target(request.url)
    if not there.literal:
        yield f"{there.host} resolves to {', '.join(trace.addresses[:3])}"
    yield f"connected to {trace.address or there.host} port {there.port} in {show(trace.phases.get('connect', 0), 's')}"
    if there.scheme != "https":
        yield "no TLS: the URL is http"
    elif request.tls.verify:
        yield f"TLS in {show(trace.phases.get('tls', 0), 's')}, its certificate is trusted"
    else:
        yield f"TLS in {show(trace.phases.get('tls', 0), 's')}; its certificate is not verified (verify: false)"


async def reach_all(*doors: asyncio.Future[Steps]) -> Steps:
    """Return all steps of several ways, or raise what went wrong with all those that failed."""
    found = await asyncio.gather(*doors, return_exceptions=True)
    failed = [one for one in found if isinstance(one, BaseException)]
    if other := next((one for one in failed if not isinstance(one, DeliveryFailed)), None):
        raise other
    if failed:
        raise DeliveryFailed("; ".join(map(str, failed)))
    return tuple(step for steps in found if not isinstance(steps, BaseException) for step in steps)

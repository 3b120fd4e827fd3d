"""Quiet times as the API tells them: what keeps messages back, by whom, why and until when."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from heartbeat.core.quiet import Matcher, Order, QuietKind, Recurring
from heartbeat.core.text import plain
from heartbeat.quiet.maintenance import Window, next_span
from heartbeat.quiet.times import Quiet
from heartbeat.store import StoreFailed
from heartbeat.store.quiet import past
from heartbeat.web.deliveries import Ask, Redact

PAST = 500
"""How many that have ended are told of at most."""
LISTS = {
    QuietKind.SILENCE: "silences",
    QuietKind.MAINTENANCE: "maintenance",
    QuietKind.DISABLED: "disabled",
    QuietKind.ACKNOWLEDGEMENT: "acknowledgements",
}


def quiet_routes(quiet: Quiet, now: Callable[[], float], ask: Ask, redact: Redact) -> list[Route]:
    """Return the route ``/api/v1/quiet``."""

    async def get(request: Request) -> Response:
        try:
            ended = await ask(partial(past, limit=PAST)) if wants_all(request) else ()
        except StoreFailed as error:
            return JSONResponse({"error": redact(str(error))}, 503)
        return JSONResponse(describe_quiet(quiet, now(), redact, ended))

    return [Route("/api/v1/quiet", get)]


def wants_all(request: Request) -> bool:
    """Say whether what has ended is asked for, too."""
    return request.query_params.get("all", "") not in ("", "0", "false")


def describe_quiet(quiet: Quiet, now: float, redact: Redact, ended: Iterable[Order] = ()) -> dict[str, Any]:
    """Return all that keeps messages back, or will, by its kind; times in seconds since the epoch."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in LISTS.values()}
    found["maintenance"] += [describe_window(window, now, redact) for window in quiet.windows]
    found["disabled"] += describe_switched(quiet, redact)
    for order in (*quiet.orders.values(), *ended):
        found[LISTS[order.kind]].append(describe_order(order, now, redact))
    return found


def describe_order(order: Order, now: float, redact: Redact) -> dict[str, Any]:
    """Return what somebody asked for at run time."""
    return {
        "id": order.id,
        "kind": order.kind,
        "name": order.name,
        **_describe_matcher(order.matcher, redact),
        "owner": plain(redact(order.owner), 100),
        "reason": plain(redact(order.reason), 500),
        "start": order.start,
        "end": order.end,
        "until_recovered": order.until_recovered,
        "incidents": list(order.incidents),
        "open": order.ended is None and (order.end is None or now < order.end),
        "ended": order.ended,
        "why_ended": plain(redact(order.why_ended), 700),
        "configured": False,
    }


def describe_switched(quiet: Quiet, redact: Redact) -> list[dict[str, Any]]:
    """Return what is off because of its switch (``enabled``), all that one source switches together."""
    checks: dict[str, list[str]] = {}
    for name, off in quiet.switched.items():
        checks.setdefault(off.say(), []).append(name)
    nothing = dict.fromkeys(("id", "owner", "start", "end", "next_start", "next_end", "cron", "timezone", "duration"))
    return [
        {"kind": QuietKind.DISABLED, "name": "", **_describe_matcher(Matcher(tuple(names)), redact), **nothing,
         "reason": plain(redact(sentence), 700), "open": True, "configured": True}
        for sentence, names in checks.items()
    ]  # fmt: skip


def describe_window(window: Window, now: float, redact: Redact) -> dict[str, Any]:
    """Return a window of the configuration: when it is open, now or next."""
    entry, span = window.entry, window.span(now)
    upcoming = next_span(entry.when, now)
    shown = span or upcoming
    again = entry.when if isinstance(entry.when, Recurring) else None
    return {
        "id": None,
        "kind": window.kind,
        "name": entry.name,
        **_describe_matcher(entry.matcher, redact),
        "owner": None,
        "reason": plain(redact(entry.reason), 500),
        "start": shown.start if shown else None,
        "end": shown.end if shown else None,
        "open": span is not None,
        "next_start": upcoming.start if upcoming else None,
        "next_end": upcoming.end if upcoming else None,
        "cron": again.cron.expression if again else None,
        "timezone": again.cron.timezone if again else None,
        "duration": again.duration if again else None,
        "configured": True,
    }


def _describe_matcher(matcher: Matcher, redact: Redact) -> dict[str, Any]:
    labels = {name: redact(pattern) for name, pattern in matcher.labels}
    return {"checks": list(matcher.checks), "types": list(matcher.types), "labels": labels}

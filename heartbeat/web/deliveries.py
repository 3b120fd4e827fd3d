"""The delivery log as the API tells it: who was told what, when, with what answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from heartbeat.core.model import Delivery, DeliveryState, Event
from heartbeat.core.sentences import sentence_of, track_of
from heartbeat.core.text import plain
from heartbeat.store import StoreFailed, ledger

LIMIT = 100
LIMIT_MOST = 500
ON_ITS_WAY = frozenset({DeliveryState.PENDING, DeliveryState.LEASED})

T = TypeVar("T")
Redact = Callable[[str], str]
Ask = Callable[[Callable[[Connection], Any]], Awaitable[Any]]
"""Answers a query on the store, as ``Store.ask`` does; raises ``StoreFailed``."""


class BadQuery(ValueError):  # noqa: N818 - what is wrong is the query, and the sentence says why
    """The query asks for what cannot be; the sentence says what can."""


async def nobody(_: Callable[[Connection], Any]) -> Any:
    """Answer for a store that is not there."""
    raise StoreFailed("there is no store")


def delivery_routes(ask: Ask, redact: Redact) -> list[Route]:
    """Return the routes ``/api/v1/deliveries`` and ``/api/v1/incidents/ID``."""

    async def deliveries(request: Request) -> Response:
        try:
            query = read_query(request.query_params)
            found = await ask(partial(ledger.deliveries, **query))
        except BadQuery as error:
            return JSONResponse({"error": redact(str(error))}, 400)
        except StoreFailed as error:
            return JSONResponse({"error": redact(str(error))}, 503)
        return JSONResponse({"deliveries": [describe(one, redact) for one in found]})

    async def incident(request: Request) -> Response:
        name = request.path_params["id"][:100]
        try:
            ids = await ask(partial(ledger.incidents, beginning=name))
            if len(ids) != 1:
                many = "several incidents begin with" if ids else "there is no incident"
                return JSONResponse({"error": redact(f"{many} {plain(name, 100)!r}")}, 404)
            events = await ask(partial(ledger.events_of, incident=ids[0]))
            told = await ask(partial(ledger.deliveries, incident=ids[0], limit=LIMIT_MOST))
        except StoreFailed as error:
            return JSONResponse({"error": redact(str(error))}, 503)
        return JSONResponse(describe_incident(ids[0], events, told, redact))

    return [Route("/api/v1/deliveries", deliveries), Route("/api/v1/incidents/{id}", incident)]


def read_query(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of ``ledger.deliveries``. Raises ``BadQuery``."""
    known = ("incident", "check", "state", "limit")
    if unknown := sorted(set(given) - set(known)):
        raise BadQuery(f"there is no parameter {plain(unknown[0], 40)!r}, only {', '.join(known)}")
    state, limit = given.get("state", ""), given.get("limit", str(LIMIT))
    if state and state not in set(DeliveryState):
        raise BadQuery(f"the state must be one of {', '.join(DeliveryState)}")
    if not (limit.isascii() and limit.isdecimal() and len(limit) < 6 and 1 <= int(limit) <= LIMIT_MOST):
        raise BadQuery(f"the limit must be a whole number from 1 to {LIMIT_MOST}")
    return {
        "incident": given.get("incident", "")[:100],
        "check": given.get("check", ""),
        "state": DeliveryState(state) if state else None,
        "limit": int(limit),
    }


def describe(delivery: Delivery, redact: Redact) -> dict[str, Any]:
    """Return all that the API tells of one delivery; times in seconds since the epoch. Texts are redacted and bounded.

    ``at`` is when the event happened, ``sealed_at`` when its message was made, ``done_at`` when it was acknowledged or
    given up, ``next_at`` when the next attempt is due.
    """
    event, to = delivery.event, delivery.address
    return {
        "id": delivery.id,
        "event": event.id,
        "incident": event.incident,
        "sequence": event.sequence,
        "check": event.check,
        "kind": event.kind,
        "track": track_of(event),
        "severity": event.severity.word,
        "sentence": _text(sentence_of(event), redact),
        "at": event.at,
        "receiver": to.receiver,
        "channel": to.channel,
        "recipient": _text(to.recipient, redact),
        "state": delivery.state,
        "attempts": delivery.attempts,
        "sealed_at": delivery.sealed_at or None,
        "done_at": delivery.done_at or None,
        "next_at": delivery.next_at if delivery.state in ON_ITS_WAY else None,
        "answer": _text(delivery.note, redact),
        "why": _text(delivery.why, redact),
        "batch": delivery.batch or None,
    }


def describe_incident(identity: str, events: list[Event], deliveries: list[Delivery], redact: Redact) -> dict[str, Any]:
    """Return an incident: its events in order, and who was told of them, the latest first."""
    return {
        "id": identity,
        "check": events[-1].check if events else None,
        "events": [describe_event(event, redact) for event in events],
        "deliveries": [describe(one, redact) for one in deliveries],
    }


def describe_event(event: Event, redact: Redact) -> dict[str, Any]:
    """Return one event of an incident."""
    return {
        "id": event.id,
        "sequence": event.sequence,
        "kind": event.kind,
        "track": track_of(event),
        "at": event.at,
        "since": event.since,
        "was": event.was.word,
        "severity": event.severity.word,
        "reason": event.reason,
        "sentence": _text(sentence_of(event), redact),
        "why": _text(event.why, redact),
        "run": event.run.id if event.run else None,
    }


def _text(text: str, redact: Redact) -> str:
    return plain(redact(text), 1000)

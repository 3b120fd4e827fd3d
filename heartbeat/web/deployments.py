"""Deployments over HTTP: shown to everyone, marked by who has a token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from hmac import compare_digest
from typing import Any

import structlog
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from heartbeat.core.deployment import Deployment
from heartbeat.core.text import plain
from heartbeat.quiet.deployments import Deployments
from heartbeat.web.body import BadBody, read_json

log = structlog.get_logger()

PATH = "/api/v1/deployments"
Redact = Callable[[str], str]
Mark = Callable[[str, str, object, str], Awaitable[tuple[int, Mapping[str, Any]]]]
"""Marks: the word (``start_deployment``, ``finish_deployment``), the name, the body, and whose token it is."""


async def unmarked(_word: str, _name: str, _body: object, _by: str) -> tuple[int, Mapping[str, Any]]:
    """Mark nothing: where there is no daemon."""
    return 503, {"error": "nothing can be marked here", "problems": []}


def deployment_routes(
    deployments: Deployments, tokens: Callable[[], Mapping[str, SecretStr]], mark: Mark, redact: Redact
) -> list[Route]:
    """Return the routes: GET and POST ``/api/v1/deployments``, and POST ``/api/v1/deployments/NAME/finish``."""

    async def listed(_: Request) -> Response:
        known = sorted(deployments.known.values(), key=lambda one: -one.start)
        return JSONResponse({"deployments": [describe_deployment(one, redact) for one in known]})

    async def start(request: Request) -> Response:
        return await _write(request, tokens(), mark, redact, "start_deployment")

    async def finish(request: Request) -> Response:
        return await _write(request, tokens(), mark, redact, "finish_deployment")

    return [
        Route(PATH, listed),
        Route(PATH, start, methods=["POST"]),
        Route(f"{PATH}/{{name}}/finish", finish, methods=["POST"]),
    ]


async def _write(
    request: Request, tokens: Mapping[str, SecretStr], mark: Mark, redact: Redact, word: str
) -> JSONResponse:
    """Let who has a token write. Nothing of the body is read before that is known."""
    if not tokens:
        sentence = "nothing can be written here without a token, and none is configured: api: {tokens: {NAME: ...}}"
        return JSONResponse({"error": sentence}, 403)
    name = owner_of(request.headers.get("authorization", ""), tokens)
    if name is None:
        log.warning("a request without a valid token was refused", path=request.url.path[:200])
        sentence = "this needs a token of the configuration: Authorization: Bearer TOKEN"
        return JSONResponse({"error": sentence}, 401, {"WWW-Authenticate": "Bearer"})
    try:
        body = await read_json(request)
    except BadBody as error:
        return JSONResponse({"error": error.sentence}, error.status)
    status, answer = await mark(word, request.path_params.get("name", ""), body, name)
    clean = {key: redact(value) if isinstance(value, str) else value for key, value in answer.items()}
    return JSONResponse(clean, status)


def owner_of(header: str, tokens: Mapping[str, SecretStr]) -> str | None:
    """Return the name of the token in an Authorization header (RFC 6750), None where there is no such token.

    How long that takes says nothing of how much of a token was right: digests are compared, with all of them.
    """
    scheme, _, given = header.partition(" ")
    digest = sha256(given.strip().encode()).digest()
    found = None
    for name, token in tokens.items():
        if compare_digest(digest, sha256(token.get_secret_value().encode()).digest()):
            found = name
    return found if scheme.lower() == "bearer" and given.strip() else None


def describe_deployment(deployment: Deployment, redact: Redact) -> dict[str, Any]:
    """Return all that the API tells of a deployment; times in seconds since the epoch."""
    matcher = deployment.matcher
    return {
        "id": deployment.id,
        "name": deployment.name,
        "version": plain(redact(deployment.version), 100),
        "by": plain(redact(deployment.owner), 200),
        "state": deployment.state,
        "start": deployment.start,
        "ended": deployment.ended,
        "hold": deployment.hold,
        "released": deployment.released,
        "checks": list(matcher.checks),
        "labels": {name: redact(value) for name, value in matcher.labels},
        "tags": list(matcher.tags),
    }

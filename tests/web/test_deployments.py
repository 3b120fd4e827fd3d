from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from structlog.testing import capture_logs

from heartbeat.core.deployment import Deployment, DeploymentState, finish
from heartbeat.core.quiet import Matcher
from heartbeat.quiet.deployments import Deployments
from heartbeat.redaction import Redactor
from heartbeat.web.body import BODY_BYTES
from heartbeat.web.deployments import deployment_routes, owner_of, unmarked

NOON = 1_800_000_000.0
REDACT = Redactor({"TOKEN": "hunter2-hunter2"})
TOKEN = "0123456789abcdef0123456789abcdef"
TOKENS = {"ci": SecretStr(TOKEN), "other": SecretStr("fedcba9876543210")}
PATH = "/api/v1/deployments"


@asynccontextmanager
async def client_of(
    tokens: Mapping[str, SecretStr] = TOKENS, deployments: Deployments | None = None
) -> AsyncIterator[tuple[httpx.AsyncClient, list[Any]]]:
    marks: list[Any] = []

    async def mark(word: str, name: str, body: object, by: str) -> tuple[int, Mapping[str, Any]]:
        marks.append((word, name, body, by))
        return 200, {"message": "hunter2-hunter2 began"}

    routes = deployment_routes(deployments or Deployments(), lambda: tokens, mark, REDACT)
    transport = httpx.ASGITransport(Starlette(routes=routes))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client, marks


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_who_has_a_token_marks_start_and_end_and_is_known_by_it() -> None:
    async with client_of() as (client, marks):
        answer = await client.post(PATH, json={"name": "shop"}, headers=bearer(TOKEN))
        assert (answer.status_code, answer.json()) == (200, {"message": "<redacted:TOKEN> began"})
        await client.post(f"{PATH}/shop/finish", headers=bearer("fedcba9876543210"))
    assert marks == [
        ("start_deployment", "", {"name": "shop"}, "ci"),
        ("finish_deployment", "shop", {}, "other"),
    ]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer(""),
        bearer(TOKEN[:-1]),
        bearer(TOKEN + "0"),
        {"Authorization": TOKEN},
        {"Authorization": f"Basic {TOKEN}"},
        {"X-Token": TOKEN},
    ],
    ids=["none", "empty", "shorter", "longer", "bare", "basic", "elsewhere"],
)
async def test_without_a_valid_token_nothing_is_marked_and_no_token_is_logged(headers: dict[str, str]) -> None:
    async with client_of() as (client, marks):
        with capture_logs() as lines:
            answer = await client.post(PATH, content=b"x" * (2 * BODY_BYTES), headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert marks == []
    assert TOKEN[:-1] not in json.dumps(lines) + answer.text


async def test_where_no_token_is_configured_nothing_can_be_written() -> None:
    async with client_of({}) as (client, marks):
        answer = await client.post(PATH, json={"name": "shop"}, headers=bearer(TOKEN))
    assert (answer.status_code, marks) == (403, [])
    assert "api: {tokens:" in answer.json()["error"]


@pytest.mark.parametrize(("content", "status"), [(b"x" * (BODY_BYTES + 1), 413), (b"{", 400), (b"[" * 60_000, 400)])
async def test_a_body_that_is_too_large_or_no_json_is_refused(content: bytes, status: int) -> None:
    async with client_of() as (client, marks):
        answer = await client.post(PATH, content=content, headers=bearer(TOKEN))
    assert (answer.status_code, marks) == (status, [])


def test_the_scheme_is_written_as_one_likes() -> None:
    assert owner_of(f"bearer  {TOKEN} ", TOKENS) == "ci"
    assert owner_of(f"BEARER {TOKEN}", TOKENS) == "ci"
    assert owner_of("Bearer ü", TOKENS) is None


async def test_deployments_are_shown_to_everyone_latest_first_without_secrets() -> None:
    known = Deployments()
    first = Deployment("dep_1", "shop", "hunter2-hunter2", "ci", Matcher(tags=("post-deploy",)), NOON)
    known.put(finish(first, DeploymentState.FINISHED, NOON + 60))
    known.put(Deployment("dep_2", "till", "", "ci", Matcher(("*",)), NOON + 5, NOON + 65))
    async with client_of(deployments=known) as (client, _):
        later, earlier = (await client.get(PATH)).json()["deployments"]
    assert (later["id"], later["state"], later["hold"]) == ("dep_2", "running", NOON + 65)
    assert earlier == {
        "id": "dep_1",
        "name": "shop",
        "version": "<redacted:TOKEN>",
        "by": "ci",
        "state": "finished",
        "start": NOON,
        "ended": NOON + 60,
        "hold": None,
        "released": None,
        "checks": [],
        "labels": {},
        "tags": ["post-deploy"],
    }


async def test_where_there_is_no_daemon_nothing_is_marked() -> None:
    assert (await unmarked("start_deployment", "", {}, "ci"))[0] == 503

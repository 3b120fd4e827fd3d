from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from heartbeat.demo import job
from heartbeat.demo.arrivals import Arrivals
from heartbeat.demo.serving import http_server, listen, port_of


async def test_the_job_says_when_it_begins_and_when_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "EVERY", 0.01)
    monkeypatch.setattr(job, "TAKES", 0.0)
    pings: Arrivals[str] = Arrivals()

    async def ping(request: Request) -> Response:
        pings.add(f"{request.url.path}?{request.url.query}")
        return PlainTextResponse("OK")

    app = Starlette(routes=[Route("/ping/{rest:path}", ping, methods=["POST"])])
    door = listen(0)
    async with http_server(app, door):
        task = asyncio.create_task(
            job.work(f"http://127.0.0.1:{port_of(door)}/ping/token", lambda: len(pings.all) >= 4)
        )
        start = await pings.first("start", lambda ping: ping.startswith("/ping/token/start?rid="))
        await pings.first("end", lambda ping: ping == start.replace("/start", ""))
        await pings.first("second start", lambda ping: "/start" in ping, after=2)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

"""What the daemon shows over HTTP: metrics, health, the checks as JSON. Who has a token may mark deployments, too."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from json import dumps

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from heartbeat import __version__
from heartbeat.config.model import Config
from heartbeat.metrics.instruments import Instruments
from heartbeat.metrics.page import CONTENT_TYPE, Page
from heartbeat.quiet.surroundings import Surroundings
from heartbeat.reports import Reports
from heartbeat.state import State
from heartbeat.web.checks import describe, look_around, suppressed_by
from heartbeat.web.deliveries import Ask, delivery_routes, nobody
from heartbeat.web.deployments import Mark, deployment_routes, unmarked
from heartbeat.web.guard import Guard
from heartbeat.web.inbound import Inbound
from heartbeat.web.quiet import quiet_routes

CHECKS_AT_ONCE = 20
"""Checks described between two breathing points, about a millisecond of work."""

NextRun = Callable[[str], float | None]


@dataclass(frozen=True, slots=True)
class View:
    """What the web app reads.

    ``surroundings`` say why nobody is told of a check ``now``, in seconds since the epoch. ``config`` returns the
    configuration in use. The two sentences are empty when all is well: ``unhealthy`` says why the loop or the scheduler
    no longer works, ``unready`` why there is nothing to serve yet. ``next_run`` says when a check is due, if that is
    known. ``ask`` answers queries on the store; ``mark`` marks deployments; ``reports`` takes what others report.
    """

    state: State
    instruments: Instruments
    surroundings: Surroundings
    config: Callable[[], Config]
    unhealthy: Callable[[], str]
    unready: Callable[[], str]
    now: Callable[[], float]
    next_run: NextRun = lambda _: None
    ask: Ask = nobody
    mark: Mark = unmarked
    reports: Reports | None = None

    def redact(self, text: str) -> str:
        """Return a text without the secrets of the configuration in use."""
        return self.config().redactor(text)


def create_app(view: View) -> Starlette:
    """Return the app: GET and HEAD, and POST for who has a token; and what checks are reported to on.

    On a loopback address only for requests that name one.
    """
    page = _page_of(view)

    async def metrics(request: Request) -> Response:
        return _stream(request, _page(page, view.instruments), CONTENT_TYPE)

    async def healthy(_: Request) -> Response:
        return _sentence(view.unhealthy(), view)

    async def ready(_: Request) -> Response:
        return _sentence(view.unready(), view)

    async def checks(request: Request) -> Response:
        return _stream(request, _checks(view), "application/json")

    async def check(request: Request) -> Response:
        live = view.state.checks.get(name := request.path_params["name"])
        if live is None:
            return JSONResponse({"error": f"no check is named {view.redact(name[:200])!r}"}, 404)
        return Response(_described(view, name), media_type="application/json")

    async def index(_: Request) -> Response:
        return HTMLResponse(_index(view))

    routes = [
        Route("/", index),
        Route("/metrics", metrics),
        Route("/-/healthy", healthy),
        Route("/-/ready", ready),
        Route("/api/v1/checks", checks),
        Route("/api/v1/checks/{name:path}", check),
        *delivery_routes(view.ask, view.redact),
        *quiet_routes(view.surroundings.quiet, view.now, view.ask, view.redact),
        *deployment_routes(view.surroundings.quiet.deployments, lambda: view.config().tokens, view.mark, view.redact),
    ]
    middleware = [Middleware(Guard, host=view.config().web.host)]
    if view.reports is not None:
        middleware.append(Middleware(Inbound, find=view.reports.find, accept=view.reports.accept))
    app = Starlette(routes=routes, middleware=middleware)
    app.router.redirect_slashes = False  # a redirect would repeat whatever Host was sent
    return app


def _page_of(view: View) -> Page:
    quiet = view.surroundings.quiet
    return Page(
        view.state,
        lambda: view.config().location,
        lambda: view.config().duration_buckets,
        view.redact,
        suppressed=lambda live: suppressed_by(view.surroundings, live, view.now()),
        quiet=lambda: quiet.is_any,
    )


def _sentence(problem: str, view: View) -> Response:
    return PlainTextResponse(f"{view.redact(problem) or 'ok'}\n", 503 if problem else 200)


def _page(page: Page, instruments: Instruments) -> Iterator[bytes]:
    yield from page.slices()
    yield from instruments.slices()


def _checks(view: View) -> Iterator[bytes]:
    """Yield the list of checks, a few at a time."""
    head = '{"checks":['
    names = list(view.state.checks)
    for start in range(0, len(names), CHECKS_AT_ONCE):
        parts = [_described(view, name) for name in names[start : start + CHECKS_AT_ONCE] if name in view.state.checks]
        if parts:
            yield (head + ",".join(parts)).encode()
            head = ","
    yield (("" if head == "," else head) + "]}\n").encode()


def _described(view: View, name: str) -> str:
    live = view.state.checks[name]
    around = look_around(view.surroundings, live, view.now())
    described = describe(live, view.next_run(name), view.redact, around)
    return dumps(described, separators=(",", ":"))


def _stream(request: Request, slices: Iterator[bytes], media_type: str) -> Response:
    """Answer with a body that is made while it is sent, and never holds the loop for long."""
    headers = {"Content-Type": media_type, "Vary": "Accept-Encoding"}
    if request.method == "HEAD":
        return Response(headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        slices = _compressed(slices)
    return Streamed(slices, headers)


class Streamed(Response):
    """A body that is made while it is sent: no faster than it is read, and no longer when its reader is gone.

    Starlette's own response watches the reader by means of anyio, whose first use holds the loop for 25 ms.
    """

    def __init__(self, slices: Iterator[bytes], headers: Mapping[str, str]) -> None:
        self.status_code = 200
        self.slices = slices
        self.init_headers(headers)  # and nothing else of a response, as that would announce an empty body

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send it; each ``send`` waits while what was sent before is not taken."""
        gone = asyncio.create_task(_gone(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for piece in self.slices:
                if piece:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await asyncio.sleep(0)  # sending alone waits only for who reads slowly
                if gone.done():
                    return
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()


async def _gone(receive: Receive) -> None:
    """Return when the reader hangs up."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _compressed(slices: Iterator[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(1, wbits=31)  # more than level 1 triples the time and saves a tenth
    for piece in slices:
        yield packer.compress(piece)
    yield packer.flush()


def _index(view: View) -> str:
    paths = (
        "/metrics",
        "/api/v1/checks",
        "/api/v1/deliveries",
        "/api/v1/quiet",
        "/api/v1/deployments",
        "/-/healthy",
        "/-/ready",
    )
    links = "\n".join(f'<li><a href="{path}">{path}</a></li>' for path in paths)
    where = f" in {escape(view.config().location)}" if view.config().location else ""
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>Heartbeat</title>\n'
        f"<h1>Heartbeat {__version__}</h1>\n<p>Keeps {len(view.state.checks)} checks going{where}.</p>\n"
        f"<ul>\n{links}\n</ul>\n</html>\n"
    )

"""The shop: a small HTTP service like those that people watch, with ways to break it and to repair it."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from hmac import compare_digest
from json import JSONDecodeError
from secrets import token_urlsafe

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from heartbeat.demo.arrivals import Arrivals

USER, PASSWORD = "synthetic", "open-sesame"
SLOW_SECONDS = 1.2
PRODUCTS = (
    {"id": 1, "name": "kettle", "price_cents": 2900, "in_stock": 14},
    {"id": 2, "name": "teapot", "price_cents": 3450, "in_stock": 3},
    {"id": 3, "name": "tea, 100 g", "price_cents": 720, "in_stock": 210},
)


class Fault(StrEnum):
    """What is wrong with the shop's products."""

    NONE = "none"
    ERROR = "error"
    """The database is gone: status 500."""
    WRONG = "wrong"
    """Everything looks fine (status 200), but the shelf is empty."""
    SLOW = "slow"
    """The right answer, late."""


class Shop:
    """The shop's state. ``served`` holds the path of every request that was answered, in order."""

    def __init__(self) -> None:
        self.fault = Fault.NONE
        self.served: Arrivals[str] = Arrivals()

    def app(self) -> Starlette:
        """Return the service as an ASGI application."""
        return Starlette(
            routes=[
                Route("/health", self._health),
                Route("/api/login", self._login, methods=["POST"]),
                Route("/api/products", self._products),
                Route("/-/break/{fault}", self._break, methods=["POST"]),
                Route("/-/repair", self._repair, methods=["POST"]),
            ]
        )

    async def _health(self, request: Request) -> Response:
        # Says ok whatever happens, as such addresses do: it is why round trips are worth their while.
        return self._answer(request, {"status": "ok"})

    async def _login(self, request: Request) -> Response:
        try:
            given = await request.json()
            user, password = str(given["user"]), str(given["password"])
        except (JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
            return self._answer(request, {"error": "send user and password as JSON"}, 400)
        if user != USER or not compare_digest(password.encode(), PASSWORD.encode()):
            return self._answer(request, {"error": "wrong user or password"}, 401)
        return self._answer(request, {"token": token_urlsafe(24), "plan": "basic"})

    async def _products(self, request: Request) -> Response:
        if self.fault is Fault.ERROR:
            return self._answer(request, {"error": "cannot reach the product database db-1:5432"}, 500)
        if self.fault is Fault.WRONG:
            return self._answer(request, {"products": []})
        if self.fault is Fault.SLOW:
            await asyncio.sleep(SLOW_SECONDS)
        return self._answer(request, {"products": PRODUCTS})

    async def _break(self, request: Request) -> Response:
        try:
            self.fault = Fault(request.path_params["fault"])
        except ValueError:
            return PlainTextResponse(f"break it with one of: {', '.join(Fault)}\n", 404)
        return PlainTextResponse(f"the shop's products: {self.fault}\n")

    async def _repair(self, _request: Request) -> Response:
        self.fault = Fault.NONE
        return PlainTextResponse("the shop is repaired\n")

    def _answer(self, request: Request, body: object, status: int = 200) -> Response:
        self.served.add(request.url.path)
        return JSONResponse(body, status)

"""The shop: a small HTTP service like those that people watch, with ways to break it and to repair it."""

from __future__ import annotations

import asyncio
from collections import deque
from enum import StrEnum
from hmac import compare_digest
from json import JSONDecodeError
from pathlib import Path
from secrets import token_urlsafe

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from heartbeat.demo.arrivals import Arrivals
from heartbeat.demo.orders import Orders

USER, PASSWORD = "synthetic", "open-sesame"
SLOW_SECONDS = 1.2
TOKENS = 1000
"""Logins that hold at once; older ones have run out."""
PRODUCTS = (
    {"id": 1, "name": "kettle", "price_cents": 2900, "in_stock": 14},
    {"id": 2, "name": "teapot", "price_cents": 3450, "in_stock": 3},
    {"id": 3, "name": "tea, 100 g", "price_cents": 720, "in_stock": 210},
)


class Fault(StrEnum):
    """What is wrong with the shop."""

    NONE = "none"
    ERROR = "error"
    """The database of the products is gone: status 500."""
    WRONG = "wrong"
    """Everything looks fine (status 200), but the shelf is empty."""
    SLOW = "slow"
    """The right answer, late."""
    LOGIN = "login"
    """Nobody can log in: status 401."""
    HALF = "half"
    """Orders are taken, yet the answer is status 500."""
    LOST = "lost"
    """Orders are taken, and can never be read."""
    KEPT = "kept"
    """Orders cannot be taken back: status 500."""
    JOB = "job"
    """The nightly job sleeps."""


class Shop:
    """The shop's state. ``served`` holds the path of every request that was answered, in order."""

    def __init__(self, orders: Path | None = None) -> None:
        self.fault = Fault.NONE
        self.served: Arrivals[str] = Arrivals()
        self.orders = Orders(orders)
        self._tokens: deque[str] = deque(maxlen=TOKENS)

    def app(self) -> Starlette:
        """Return the service as an ASGI application."""
        return Starlette(
            routes=[
                Route("/health", self._health),
                Route("/api/login", self._login, methods=["POST"]),
                Route("/api/products", self._products),
                Route("/api/orders", self._list_orders),
                Route("/api/orders", self._make_order, methods=["POST"]),
                Route("/api/orders", self._take_all_back, methods=["DELETE"]),
                Route("/api/orders/{number:int}", self._order),
                Route("/api/orders/{number:int}", self._take_back, methods=["DELETE"]),
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
        if self.fault is Fault.LOGIN or user != USER or not compare_digest(password.encode(), PASSWORD.encode()):
            return self._answer(request, {"error": "wrong user or password"}, 401)
        self._tokens.append(token_urlsafe(24))
        return self._answer(request, {"token": self._tokens[-1], "plan": "basic"})

    async def _products(self, request: Request) -> Response:
        if self.fault is Fault.ERROR:
            return self._answer(request, {"error": "cannot reach the product database db-1:5432"}, 500)
        if self.fault is Fault.WRONG:
            return self._answer(request, {"products": []})
        if self.fault is Fault.SLOW:
            await asyncio.sleep(SLOW_SECONDS)
        return self._answer(request, {"products": PRODUCTS})

    async def _make_order(self, request: Request) -> Response:
        if refusal := self._refuse(request):
            return refusal
        try:
            reference = str((await request.json())["reference"])[:200]
        except (JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
            return self._answer(request, {"error": "send a reference as JSON"}, 400)
        made = self.orders.make(reference)
        if self.fault is Fault.HALF:
            return self._answer(request, {"error": "no answer from the warehouse wh-2:9090"}, 500)
        return self._answer(request, made, 201)

    async def _list_orders(self, request: Request) -> Response:
        return self._refuse(request) or self._answer(request, {"orders": self.orders.all()})

    async def _order(self, request: Request) -> Response:
        found = None if self.fault is Fault.LOST else self.orders.find(request.path_params["number"])
        if refusal := self._refuse(request):
            return refusal
        return self._answer(request, found) if found else self._answer(request, {"error": "no such order"}, 404)

    async def _take_all_back(self, request: Request) -> Response:
        """Take back what has a reference: it need not be known by which number it was taken."""
        if refusal := self._refuse(request):
            return refusal
        if self.fault is Fault.KEPT:
            return self._answer(request, {"error": "orders are for ever"}, 500)
        theirs = [order for order in self.orders.all() if order["reference"] == request.query_params.get("reference")]
        for order in theirs:
            self.orders.take_back(order["id"])
        return self._answer(request, {"taken_back": len(theirs)})

    async def _take_back(self, request: Request) -> Response:
        if refusal := self._refuse(request):
            return refusal
        if self.fault is Fault.KEPT:
            return self._answer(request, {"error": "orders are for ever"}, 500)
        if not self.orders.take_back(request.path_params["number"]):
            return self._answer(request, {"error": "no such order"}, 404)
        self.served.add(request.url.path)
        return Response(status_code=204)

    def _refuse(self, request: Request) -> Response | None:
        """Return what those without a token get."""
        _, _, token = request.headers.get("authorization", "").partition(" ")
        known = any(compare_digest(token.encode(), one.encode()) for one in self._tokens)
        return None if known else self._answer(request, {"error": "log in first"}, 401)

    async def _break(self, request: Request) -> Response:
        try:
            self.fault = Fault(request.path_params["fault"])
        except ValueError:
            return PlainTextResponse(f"break it with one of: {', '.join(Fault)}\n", 404)
        return PlainTextResponse(f"the shop: {self.fault}\n")

    async def _repair(self, _request: Request) -> Response:
        self.fault = Fault.NONE
        return PlainTextResponse("the shop is repaired\n")

    def _answer(self, request: Request, body: object, status: int = 200) -> Response:
        self.served.add(request.url.path)
        return JSONResponse(body, status)

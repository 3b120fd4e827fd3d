"""Waiting for one future with a bound: ``asyncio.wait`` for one, at half its price, on the path of every run."""

from __future__ import annotations

import asyncio
from typing import Any


async def wait_for_one(future: asyncio.Future[Any], seconds: float) -> None:
    """Wait until a future is done, which others may wait for too, but not for ever; it goes on undisturbed."""
    if future.done():
        return
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake(_: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    future.add_done_callback(wake)
    timer = loop.call_later(seconds, wake)
    try:
        await waiter
    finally:
        timer.cancel()
        future.remove_done_callback(wake)

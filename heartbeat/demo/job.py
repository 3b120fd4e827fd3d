"""The shop's nightly job, which here runs every few seconds: it reports when it begins and when it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from uuid import uuid4

import httpx

EVERY = 3.0
TAKES = 0.2


async def work(address: str, sleeps: Callable[[], bool]) -> None:
    """Do the job again and again, and report to an address as Healthchecks has them; not while the job sleeps."""
    async with httpx.AsyncClient(trust_env=False) as client:
        while True:
            if not sleeps():
                with suppress(httpx.HTTPError):  # the daemon may not be there yet: a job goes on all the same
                    await _do(client, address)
            await asyncio.sleep(EVERY)


async def _do(client: httpx.AsyncClient, address: str) -> None:
    run = {"rid": str(uuid4())}
    await client.post(f"{address}/start", params=run)
    await asyncio.sleep(TAKES)
    await client.post(address, params=run, content="12 reports written")

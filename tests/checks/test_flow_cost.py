"""A flow of five http steps costs five http checks and a fifth more at most."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from time import thread_time
from typing import Any

from heartbeat import http
from heartbeat.backing import Backing
from heartbeat.core.model import Run
from heartbeat.lag import LagMeter
from heartbeat.plugins import discover, load_type
from heartbeat.pool import Pool
from heartbeat.runner import Workshop, run_check
from heartbeat.testing.http import answer, serve

Flow: Any = load_type(discover().sources["flow"])
Http: Any = load_type(discover().sources["http"])

ROUNDS = 12
RUNS = 20
AT_MOST = 1.2
BUILT_AT_MOST = 250e-6
"""Seconds that a step with a reference may cost beside; three times what it takes."""


@contextmanager
def serving() -> Iterator[str]:
    """Serve in a thread of its own, whose time is not ours."""
    ready, done = Event(), asyncio.Event()
    found: dict[str, Any] = {}

    async def main() -> None:
        async with serve(answer(200, {"Content-Type": "application/json"}, b'{"token":"abcdefghijklmnop"}')) as server:
            found.update(url=server.url, loop=asyncio.get_running_loop())
            ready.set()
            await done.wait()

    thread = Thread(target=asyncio.run, args=(main(),))
    thread.start()
    ready.wait()
    try:
        yield found["url"]
    finally:
        found["loop"].call_soon_threadsafe(done.set)
        thread.join()


async def cost_of(check: Any, times: int, workshop: Workshop) -> float:
    started = thread_time()
    for _ in range(times):
        finished = await run_check(check, Run("run_0123456789abcdef", "shop", 0.0, 0, 0.0, 10.0), workshop)
        assert finished.result.outcome == "ok"
    return (thread_time() - started) / times


async def costs(url: str) -> tuple[float, float, float]:
    """Return what five http checks, a flow of five http steps, and one with references in four of them cost."""
    steps = [{"http": {"url": f"{url}{number}"}} for number in range(5)]
    auth = {"headers": {"Authorization": "Bearer ${steps.login.token}"}}
    login = {"name": "login", "http": {"url": url}, "take": {"token": "$.token"}}
    single, plain = Http(url=url), Flow.model_validate({"steps": steps})
    taking = Flow.model_validate({"steps": [login, *({"http": {**one["http"], **auth}} for one in steps[:4])]})
    workshop = Workshop(Pool(), LagMeter(), str, Backing())
    try:
        rounds = [
            (
                await cost_of(single, 5 * RUNS, workshop) * 5,
                await cost_of(plain, RUNS, workshop),
                await cost_of(taking, RUNS, workshop),
            )
            for _ in range(ROUNDS)
        ]
    finally:
        http.close()
        await asyncio.sleep(0)
    one, two, three = (min(values) for values in zip(*rounds, strict=True))
    return one, two, three


def test_a_flow_of_five_steps_costs_a_fifth_more_than_five_checks_at_most() -> None:
    with serving() as url:
        singles, plain, taking = asyncio.run(costs(url))
    print(f"five http checks 1.00, five steps {plain / singles:.2f}, with a token in four {taking / singles:.2f}")  # noqa: T201 - for the README
    assert plain <= AT_MOST * singles, f"{plain / singles:.2f} times"
    assert (taking - plain) / 4 <= BUILT_AT_MOST * max(1.0, singles / 2e-3), f"{(taking - plain) / 4 * 1e6:.0f} us"

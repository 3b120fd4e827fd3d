"""The story of the demo: the shop breaks and is repaired, and each step waits for what really arrives."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from operator import eq
from time import time
from typing import Any

import httpx

from heartbeat.demo.arrivals import NeverArrived
from heartbeat.demo.mail import Mail
from heartbeat.demo.narrator import Narrator
from heartbeat.demo.shop import Fault
from heartbeat.demo.stage import Stage, example, stage
from heartbeat.demo.webhook import Post

PRODUCTS, ORDER, JOB = "shop-products", "shop-order", "nightly-report"
"""The checks of the example that see the shop's products, order something, and wait for its job."""
WHOLE_STORY_SECONDS = 110.0
UNDER_WAY_SECONDS = 5.0
"""How old an order of a round trip may be that is still under way."""
PATIENCE_SECONDS = 25.0
"""How long each step of the story may take to arrive."""
COUNTER = "heartbeat_check_runs_total"
SHOWN = ("heartbeat_check_up", "heartbeat_check_severity", "heartbeat_check_failure_info", COUNTER)


@dataclass(frozen=True, slots=True)
class Chapter:
    """One thing that goes wrong, the check that sees it, and what the story says of it."""

    fault: Fault
    check: str
    says: str


CHAPTERS = (
    Chapter(Fault.ERROR, PRODUCTS, "The shop loses its database: /api/products answers 500 (and /health says ok)."),
    Chapter(Fault.WRONG, PRODUCTS, "The shelf is empty: the status is 200 and all looks well, but nothing is there."),
    Chapter(Fault.SLOW, PRODUCTS, "The shop gets slow: the right answer, after a second. A limit warns above 800 ms."),
    Chapter(
        Fault.HALF,
        ORDER,
        "Orders are taken, yet the shop answers 500. The round trip logs in, orders, and fails at this second step; "
        "what it made must be gone all the same.",
    ),
    Chapter(Fault.JOB, JOB, "The shop's nightly job sleeps: nobody reports. (In the demo, nights are 3 seconds long.)"),
)


async def perform(narrator: Narrator, *, forever: bool = False) -> int:
    """Set the stage and tell the story; return the exit code.

    0: it was told whole, or went on ``forever`` until a signal came. 1: something in it did not happen. 130: a signal
    came before its end.
    """
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with stage(narrator) as here:
        try:
            told = await first_of(tell(here), watch(here), interrupt(stopped))
            narrator.say("story", summary(here) if told else "Stopped.")
            if told and forever:
                invite(here)
                await first_of(watch(here), interrupt(stopped))
        except NeverArrived as missing:
            narrator.say("story", f"The story breaks off: {missing}.")
            return 1
    return 0 if told or forever else 130


async def tell(here: Stage) -> bool:
    """Tell the story; True when it was told to the end. Raises ``NeverArrived`` where it does not go on."""
    try:
        async with asyncio.timeout(WHOLE_STORY_SECONDS):
            await opening(here)
            for chapter in CHAPTERS:
                await enact(here, chapter)
    except TimeoutError:
        raise NeverArrived(f"the whole story was not told within {WHOLE_STORY_SECONDS:.0f} seconds") from None
    return True


async def opening(here: Stage) -> None:
    """Wait until the daemon has made a few round trips, and show that they are well."""
    served = here.shop.served
    await served.first("login", partial(eq, "/api/login"), within=PATIENCE_SECONDS)
    await served.first("request for the products", partial(eq, "/api/products"), within=PATIENCE_SECONDS)
    # Once it asks again, it has taken note of the first answer.
    again = partial(eq, "/api/products")
    await served.first("second request for the products", again, after=len(served.all), within=PATIENCE_SECONDS)
    here.narrator.say("story", "The daemon logs in at the shop and reads its products, again and again. All is well:")
    await show_metrics(here, PRODUCTS)


async def enact(here: Stage, chapter: Chapter) -> None:
    """Break the shop, wait for the alert; repair it, wait for the end of the alert."""
    mails, posts = len(here.mails.all), len(here.posts.all)
    here.narrator.say("story", f"{chapter.says} The alert is due within seconds.")
    here.shop.fault = chapter.fault
    await arrive(here, "raised", chapter.check, mails, posts)
    here.narrator.say("story", "Somebody was told, by mail and by webhook. The metrics say the same:")
    await show_metrics(here, chapter.check)
    here.narrator.say("story", "The shop is repaired. Good round trips end the incident.")
    here.shop.fault = Fault.NONE
    await arrive(here, "resolved", chapter.check, mails, posts)
    await show_metrics(here, chapter.check)
    if chapter.check == ORDER:
        show_orders(here)


def show_orders(here: Stage) -> None:
    """Say that no order is left of those that were made while the shop was broken. Raises ``NeverArrived``."""
    left = [order for order in here.shop.orders.all() if order["created_at"] < time() - UNDER_WAY_SECONDS]
    if left:
        raise NeverArrived(f"{len(left)} orders of the round trip were never taken back")
    here.narrator.say("story", "Of all orders that the round trip has made, none is left in the shop.")


async def arrive(here: Stage, kind: str, check: str, mails: int, posts: int) -> None:
    """Wait until an event about a check has come both ways."""

    def fits(arrived: Mail | Post) -> bool:
        return arrived.tells(kind, check)

    await here.mails.first(f"mail that says {kind}", fits, after=mails, within=PATIENCE_SECONDS)
    await here.posts.first(f"signed webhook that says {kind}", fits, after=posts, within=PATIENCE_SECONDS)


async def show_metrics(here: Stage, check: str) -> None:
    """Fetch the daemon's metrics and show those of a check."""
    address = f"{here.daemon_url}/metrics"
    async with httpx.AsyncClient(trust_env=False) as client:
        page = (await client.get(address)).text
    lines = [line for line in page.splitlines() if line.startswith(SHOWN) and f'"{check}"' in line]
    lines = [line for line in lines if not (line.startswith(COUNTER) and line.endswith(" 0"))]
    here.narrator.say("metrics", "\n".join([address, *lines]))


async def watch(here: Stage) -> bool:
    """Wait for the daemon to end, which it must not while the story goes on."""
    raise NeverArrived(f"the daemon ended by itself, with exit code {await here.process.wait()}")


async def interrupt(stopped: asyncio.Event) -> bool:
    """Wait for a signal; False, since the story was not told to the end."""
    await stopped.wait()
    return False


def invite(here: Stage) -> None:
    """Say how to break the shop by hand."""
    faults = ", ".join(fault for fault in Fault if fault is not Fault.NONE)
    here.narrator.say(
        "story",
        f"Everything stays up until Ctrl-C. Break the shop yourself ({faults}) and repair it:\n"
        f"    curl -X POST {here.shop_url}/-/break/{Fault.WRONG}\n"
        f"    curl -X POST {here.shop_url}/-/repair\n"
        f"and see what the daemon says: {here.daemon_url}/api/v1/checks",
    )


def summary(here: Stage) -> str:
    """Say what there was to see."""
    return (
        f"That was the whole story: {len(CHAPTERS)} incidents, all told and all ended, in {len(here.mails.all)} mails "
        f"and {len(here.posts.all)} webhooks. What was checked and who was told stands in {example()}."
    )


async def first_of(*ways: Coroutine[Any, Any, bool]) -> bool:
    """Run them together until one ends; cancel the others; return or raise what that one did."""
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

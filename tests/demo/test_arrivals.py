from __future__ import annotations

import asyncio

import pytest

from heartbeat.demo.arrivals import Arrivals, NeverArrived


async def test_what_has_already_arrived_is_found_at_once() -> None:
    arrivals = Arrivals[str]()
    arrivals.add("mail")
    assert await arrivals.first("mail", lambda each: each == "mail", within=0.0) == "mail"


async def test_what_arrives_later_wakes_who_waits_and_the_rest_is_passed_over() -> None:
    arrivals = Arrivals[int]()
    waiting = asyncio.create_task(arrivals.first("even number", lambda each: each % 2 == 0, within=5.0))
    await asyncio.sleep(0)
    arrivals.add(1)
    await asyncio.sleep(0)
    assert not waiting.done()
    arrivals.add(2)
    assert await waiting == 2


async def test_what_came_before_the_mark_does_not_count() -> None:
    arrivals = Arrivals[str]()
    arrivals.add("old")
    with pytest.raises(NeverArrived, match="no mail arrived within 0 seconds"):
        await arrivals.first("mail", lambda _: True, after=1, within=0.01)


async def test_each_arrival_is_shown_as_it_comes_in() -> None:
    shown: list[str] = []
    Arrivals(shown.append).add("mail")
    assert shown == ["mail"]

"""What a waiting message may absorb: never news of an incident whose beginning is still on its way in an older one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from heartbeat.channels import DeliveryFailed, Rendered
from heartbeat.core.batch import Batch
from heartbeat.core.model import Delivery


async def test_news_is_not_absorbed_past_an_older_message_that_may_have_arrived(
    running: Callable[..., Any], letter: Callable[..., Delivery], chat: Any
) -> None:
    lost = DeliveryFailed("the answer was lost", ambiguous=True)
    errors = [lost, lost, lost, lost, DeliveryFailed("connection refused")]
    told: list[str] = []

    async def hop(_batch: Batch, message: Rendered) -> str:
        told.append(message.body.decode().partition(": ")[2])
        if errors:
            raise errors.pop(0)
        return "taken"

    async with running({"a": chat(hop)}) as post:
        post.tell(letter("inc_1", 1))
        for count, seconds in enumerate((10.1, 2.1, 5.1, 15.1), 1):
            post.move(seconds)
            await post.until_settled(count)
        post.tell(letter("inc_2", 1))  # the fifth attempt of the first is 30 s away
        post.move(10.1)
        await post.until_settled(5)
        post.tell(letter("inc_1", 2), letter("inc_2", 2))
        post.move(2.1)
        await post.until_settled(6)
        post.move(30.1)
        await post.until_settled(7)
        await post.until_idle()
        post.move(10.1)
        await post.until_settled(9)
        assert told == ["inc_1/1"] * 4 + ["inc_2/1", "inc_2/1", "inc_1/1", "inc_1/2 inc_2/2"]

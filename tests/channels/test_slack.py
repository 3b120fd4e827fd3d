from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from heartbeat.channels.slack import Slack, escape
from heartbeat.core.batch import Batch, single
from heartbeat.core.model import Address, Delivery, Finding, Severity

Deliver = Callable[..., Delivery]


def render(*deliveries: Delivery) -> dict[str, Any]:
    batch = single(deliveries[0]) if len(deliveries) == 1 else Batch("bat_1", Address("r", "r/slack"), deliveries)
    hook = Slack.model_validate({"url": "https://hooks.test/services/x"})
    whole: dict[str, Any] = json.loads(hook.render(batch, 0.0).body)
    return whole


def test_the_three_characters_of_the_reference_are_escaped() -> None:
    assert escape("<!here> & co") == "&lt;!here&gt; &amp; co"


@pytest.mark.parametrize("character", ["x", "<", "&", "é", "`", "\n"])
@pytest.mark.parametrize("count", [1, 2, 40])
def test_every_block_is_within_the_limits_of_slack(deliver: Deliver, character: str, count: int) -> None:
    long = character * 5000
    event = deliver(sentence=long, findings=(Finding(long, Severity.FAIL, long, long),) * 100).event
    assert event.result is not None
    event = replace(event, result=replace(event.result, evidence={f"e{n}": long for n in range(9)}, expected=long))
    deliveries = [
        Delivery(f"d{n}", replace(event, incident=f"inc_{n}", id=f"evt_{n}"), Address("r", "r/slack"))
        for n in range(count)
    ]
    whole = render(*deliveries)
    assert len(whole["text"]) <= 4000
    assert 1 <= len(whole["blocks"]) <= 50
    for block in whole["blocks"]:
        limit = 150 if block["type"] == "header" else 3000
        for text in filter(None, [block.get("text"), *block.get("elements", ())]):
            assert 1 <= len(text["text"]) <= limit
        assert len(block.get("elements", ())) <= 10
    assert len(json.dumps(whole["blocks"], ensure_ascii=False)) <= 13_000


def test_a_headline_that_is_too_long_for_a_header_stands_whole_below_it(deliver: Deliver) -> None:
    whole = render(deliver(sentence="word " * 60))
    header, below = whole["blocks"][:2]
    assert header["text"]["text"].endswith("…")
    assert "word " * 59 in below["text"]["text"]


def test_evidence_that_finds_no_room_is_said_to_be_left_out(deliver: Deliver) -> None:
    long = "é\n" * 3000
    event = deliver(findings=(Finding("a" * 80, Severity.FAIL, "é" * 200, "é" * 200),) * 30).event
    assert event.result is not None
    result = replace(event.result, evidence={f"e{n}": long for n in range(20)})
    whole = render(Delivery("d", replace(event, result=result), Address("r", "r/slack")))
    texts = json.dumps(whole, ensure_ascii=False)
    assert "left out" in texts or "…" in texts

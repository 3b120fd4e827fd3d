from __future__ import annotations

from dataclasses import replace

import pytest

from heartbeat.core.explanation import headline, say_delivery, say_limit, say_next, say_run
from heartbeat.core.limits import Bound, Limit
from heartbeat.core.model import (
    Address,
    Delivery,
    DeliveryState,
    Event,
    Finding,
    Kind,
    Outcome,
    Reason,
    Result,
    Run,
    Severity,
    Verdict,
)
from heartbeat.core.policy import Policy
from heartbeat.core.status import FRESH, Incident, Status

NOON = 1_800_000_000.0
EVENT = Event("evt_1", Kind.RAISED, "shop", "inc_1", 1, NOON, Severity.OK, Severity.FAIL, NOON, None, "down")
SENT = Delivery("dlv_1", EVENT, Address("oncall", "oncall/email", "a@x"), next_at=NOON + 60)
RUN = Run("run_1", "shop", NOON, 0, NOON, 5.0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "oncall/email a@x does not have it yet; the next attempt is at Fri 15 Jan 2027 08:01:00 UTC"),
        (
            {"state": DeliveryState.LEASED, "next_at": NOON, "attempts": 2, "note": "421 busy"},
            "oncall/email a@x does not have it yet after 2 attempts; the next attempt is due: 421 busy",
        ),
        (
            {"state": DeliveryState.ACKNOWLEDGED, "done_at": NOON + 7, "note": "250 ok", "why": "b got none"},
            "oncall/email a@x has it at Fri 15 Jan 2027 08:00:07 UTC: 250 ok (because b got none)",
        ),
        (
            {"state": DeliveryState.DEAD, "attempts": 9, "note": "550\x1b[31m no"},
            "oncall/email a@x did not get it, given up after 9 attempts: 550 [31m no",
        ),
        (
            {"state": DeliveryState.SUPPRESSED, "address": Address("", ""), "note": "silenced by anna"},
            "nobody was told: silenced by anna",
        ),
    ],
)
def test_what_became_of_a_message_is_said(changes: dict[str, object], said: str) -> None:
    assert say_delivery(replace(SENT, **changes), NOON) == said  # type: ignore[arg-type]  # of its fields


def test_what_a_run_found_and_whether_it_counts_is_said() -> None:
    slow = Verdict(replace(RUN, attempt=1), NOON, Outcome.FAIL, Severity.FAIL, Reason.TIMEOUT, "no answer", (), True)
    assert say_run(slow).endswith("fail, a second look: no answer (does not count: our own machine was slow)")
    broken = Verdict(RUN, NOON, Outcome.ERROR, Severity.OK, Reason.PLUGIN, "TypeError")
    assert say_run(broken).endswith("error: TypeError (says nothing about the target)")


def test_a_limit_says_what_it_allows_and_what_there_was() -> None:
    limit = Limit("depth", (Bound(Severity.WARN, above=5.0, below=1.0),))
    verdict = Verdict(RUN, NOON, Outcome.OK, Severity.OK)
    assert say_limit(limit, None, None).endswith("the latest run did not measure it")
    assert say_limit(limit, Result(Outcome.OK, 0.1, measurements={"depth": 3.0}), verdict) == (
        "depth: warn above 5 or below 1; the latest: 3"
    )
    found = replace(verdict, findings=(Finding("depth", Severity.WARN, "at most 5 allowed", "7"),))
    assert say_limit(limit, None, found).endswith("; the latest: 7, at most 5 allowed, so warn")
    window = Limit("", (Bound(Severity.FAIL, below=0.9),), "ratio", "availability", 3600.0)
    assert say_limit(window, None, verdict) == "availability 1h: fail below 90 %; the latest run did not break it"


def test_what_is_not_known_is_not_made_up() -> None:
    assert headline("shop", None, NOON) == "shop: nothing is recorded of it"
    assert headline("shop", FRESH, NOON) == "shop has said nothing about its target yet"
    assert headline("shop", Status(since=NOON - 90, up=True), NOON).endswith("07:58:30 UTC (1 min)")


def test_what_comes_next_is_said_where_something_does() -> None:
    incident = Incident("inc_1", NOON, 1, NOON, first_told=NOON)
    status = Status(fail=True, incident=incident, wake_at=NOON + 60)
    assert "is due at Fri 15 Jan 2027 08:01:00 UTC" in say_next(status, Policy(), NOON)
    assert "is due now" in say_next(status, Policy(), NOON + 61)
    assert say_next(replace(status, wake_at=None), Policy(), NOON) == ""
    kept = replace(status, incident=replace(incident, untold="silenced"))
    assert say_next(kept, Policy(), NOON).startswith("what was kept back is told as soon as")

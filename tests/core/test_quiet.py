from __future__ import annotations

import re
from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.core.quiet import Matcher, Order, QuietKind, Span, covers, end, follow, matches, open_at

NOON = 1_800_000_000.0
SILENCE = Order("sil_1", QuietKind.SILENCE, Matcher(("shop",)), "alice", "deploy", NOON, NOON + 3600)

letters = st.text("ab*.-", max_size=8)


@given(letters, st.text("ab.-", max_size=8))
def test_a_pattern_matches_what_the_regular_expression_of_it_does(pattern: str, text: str) -> None:
    naive = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text)
    assert matches(pattern, text) == bool(naive)


def test_a_pattern_full_of_stars_is_no_work() -> None:
    assert not matches("*a" * 50 + "b", "a" * 100)  # a regular expression would not come back


@pytest.mark.parametrize(
    ("matcher", "covered"),
    [
        (Matcher(), []),
        (Matcher(("*",)), ["shop-a", "shop-b", "mail"]),
        (Matcher(("shop-*",)), ["shop-a", "shop-b"]),
        (Matcher(("shop-a", "mail")), ["shop-a", "mail"]),
        (Matcher(types=("http",)), ["shop-a", "shop-b"]),
        (Matcher(labels=(("team", "shop"),)), ["shop-a"]),
        (Matcher(labels=(("team", "*"),)), ["shop-a", "mail"]),
        (Matcher(labels=(("team", "shop"), ("tier", "1"))), []),
        (Matcher(("*-a", "mail"), ("smtp",)), ["mail"]),
        (Matcher(("*",), ("*",), (("team", "ma*"),)), ["mail"]),
        (Matcher(("heartbeat.store",)), ["heartbeat.store"]),
        (Matcher(("heartbeat.*",)), ["heartbeat.store", "heartbeat.drill.oncall"]),
        (Matcher(("*", "heartbeat.store")), ["shop-a", "shop-b", "mail", "heartbeat.store"]),
        (Matcher(("heartbeat*",)), []),
        (Matcher(("*store",)), []),
        (Matcher(types=("*",)), ["shop-a", "shop-b", "mail"]),
        (Matcher(types=("heartbeat.drill",)), ["heartbeat.drill.oncall"]),
        (Matcher(("*oncall",), ("heartbeat.*",)), ["heartbeat.drill.oncall"]),
    ],
    ids=str,
)
def test_what_is_given_must_all_be_met_and_own_checks_must_be_named(matcher: Matcher, covered: list[str]) -> None:
    checks = {
        "shop-a": ("http", {"team": "shop"}),
        "shop-b": ("http", {}),
        "mail": ("smtp", {"team": "mail"}),
        "heartbeat.store": ("heartbeat.store", {}),
        "heartbeat.drill.oncall": ("heartbeat.drill", {}),
    }
    assert [name for name, (kind, labels) in checks.items() if covers(matcher, name, kind, labels)] == covered


spans = st.builds(lambda start, length: Span(start, start + length), st.integers(0, 20), st.integers(1, 10))


@given(st.lists(spans, max_size=6), st.floats(-1, 40))
def test_a_window_is_open_where_any_of_its_spans_is(found: list[Span], now: float) -> None:
    naive = [span.end for span in found if span.start <= now and not span.end <= now]
    one = open_at(found, now)
    assert (one.end if one else None) == max(naive, default=None)


def test_an_order_holds_until_just_before_its_end() -> None:
    assert SILENCE.until(NOON + 3599.9) == NOON + 3600
    assert SILENCE.until(NOON + 3600) == 0.0
    assert SILENCE.until(NOON - 1e6) == NOON + 3600  # the clock was set back: the end is still that of people
    assert replace(SILENCE, end=None).until(NOON) == inf
    assert end(SILENCE, NOON + 1, "ended by bob").until(NOON + 1) == 0.0
    assert replace(SILENCE, kind=QuietKind.ACKNOWLEDGEMENT, end=None).until(NOON) == 0.0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "silenced by alice until Fri 15 Jan 2027 09:00:00 UTC: deploy"),
        ({"end": None, "until_recovered": True}, "silenced by alice until all is well: deploy"),
        (
            {"until_recovered": True},
            "silenced by alice until all is well, but only until Fri 15 Jan 2027 09:00:00 UTC: deploy",
        ),
        (
            {"kind": QuietKind.MAINTENANCE, "name": "racks"},
            "maintenance racks of alice until Fri 15 Jan 2027 09:00:00 UTC: deploy",
        ),
        ({"kind": QuietKind.DISABLED, "end": None}, "disabled by alice: deploy"),
    ],
)
def test_what_is_said_names_who_until_when_and_why(changes: dict[str, object], said: str) -> None:
    assert replace(SILENCE, **changes).say() == said  # type: ignore[arg-type]  # of several fields


def test_an_order_follows_a_check_that_it_names_to_its_new_name() -> None:
    many = replace(SILENCE, matcher=Matcher(("shop", "mail", "till"), ("http",)))
    assert follow(many, "shop", "till") == replace(many, matcher=Matcher(("till", "mail"), ("http",)))
    assert follow(SILENCE, "sho", "till") is None
    assert follow(replace(SILENCE, matcher=Matcher(("sh*",))), "shop", "till") is None
    off = replace(SILENCE, kind=QuietKind.DISABLED, name="shop")
    assert (follow(off, "shop", "till") or off).name == "till"

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.core.deployment import (
    ABANDONED,
    EVERYTHING,
    RELATED,
    Deployment,
    DeploymentState,
    began_after,
    context_of,
    finish,
    latest_before,
    release,
)
from heartbeat.core.quiet import OVER, Matcher, covers

NOON = 1_800_000_000.0
SHOP = Deployment("dep_1", "shop", "4f2c", "ci", EVERYTHING, NOON, hold=NOON + 600)


def test_what_began_during_a_deployment_or_within_an_hour_of_its_end_is_told_with_it() -> None:
    over = finish(SHOP, DeploymentState.FINISHED, NOON + 300)
    assert [over.explains(NOON + at) for at in (-1, 0, 300, 300 + RELATED, 301 + RELATED)] == [
        False,
        True,
        True,
        True,
        False,
    ]
    assert [SHOP.explains(NOON + at) for at in (-1, 0, ABANDONED + RELATED, ABANDONED + RELATED + 1)] == [
        False,
        True,
        True,
        False,
    ]


def test_of_several_the_one_that_began_last_is_named() -> None:
    later = replace(SHOP, id="dep_2", start=NOON + 60)
    assert latest_before([later, SHOP], NOON + 61) is later
    assert latest_before([later, SHOP], NOON + 59) is SHOP
    assert latest_before([later, SHOP], NOON - 1) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "began 3 min after deployment 4f2c of shop, which is under way"),
        ({"version": ""}, "began 3 min after a deployment of shop, which is under way"),
        ({"state": DeploymentState.FINISHED}, "began 3 min after deployment 4f2c of shop"),
        ({"state": DeploymentState.FAILED}, "began 3 min after deployment 4f2c of shop, which failed"),
    ],
)
def test_a_message_says_how_long_after_which_deployment(changes: dict[str, str], said: str) -> None:
    assert began_after(context_of(replace(SHOP, **changes)), NOON + 200) == said  # type: ignore[arg-type]  # of its fields


def test_it_holds_until_its_time_is_over_or_it_is_released() -> None:
    assert [SHOP.until(NOON + at) for at in (0, 599, 600)] == [NOON + 600, NOON + 600, OVER]
    over = finish(SHOP, DeploymentState.FINISHED, NOON + 60)
    assert over.until(NOON + 61) == NOON + 600  # what it concerns has not run yet
    assert release(over, NOON + 62).until(NOON + 62) == OVER
    assert replace(SHOP, hold=None).until(NOON) == OVER
    assert SHOP.say() == "held during deployment 4f2c of shop by ci, until Fri 15 Jan 2027 08:10:00 UTC at most"


@given(st.lists(st.sampled_from("abc"), max_size=3), st.lists(st.sampled_from("abc"), max_size=3))
def test_a_check_with_any_of_the_tags_is_concerned(asked: list[str], has: list[str]) -> None:
    assert covers(Matcher(tags=tuple(asked)), "shop", "http", {}, tuple(has)) is bool(set(asked) & set(has))


def test_tags_names_and_labels_have_to_match_all() -> None:
    matcher = Matcher(("shop-*",), (), (("team", "web"),), ("deploy",))
    assert covers(matcher, "shop-a", "http", {"team": "web"}, ("deploy",))
    assert not covers(matcher, "shop-a", "http", {"team": "web"}, ())
    assert not covers(matcher, "shop-a", "http", {}, ("deploy",))
    assert not covers(matcher, "till", "http", {"team": "web"}, ("deploy",))
    assert not covers(EVERYTHING, "heartbeat.store", "heartbeat.store", {}, ())
    assert str(matcher) == "shop-*, team=web, tag deploy"

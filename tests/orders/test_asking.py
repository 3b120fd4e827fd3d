from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from heartbeat.control import Refused
from heartbeat.core.quiet import Matcher
from heartbeat.orders.asking import Ask, Stated, read_ask, read_test, state

NOON = 1_800_000_000.0
WHO = {"by": "alice", "reason": "deploy"}


def test_what_makes_sense_is_stated() -> None:
    ask = read_ask({**WHO, "checks": ["shop-*"], "types": ["http"], "labels": {"team": "shop"}, "lasts": 60})
    assert state(ask, NOON) == Stated(
        "alice", "deploy", "", Matcher(("shop-*",), ("http",), (("team", "shop"),)), NOON + 60
    )


def test_an_end_may_be_a_time_or_that_all_is_well_or_both() -> None:
    def until(**changes: Any) -> tuple[float | None, bool]:
        stated = state(Ask(by="a", reason="b", checks=("*",), **changes), NOON)
        return stated.end, stated.until_recovered

    assert until(until=NOON + 5) == (NOON + 5, False)
    assert until(until_recovered=True) == (None, True)
    assert until(until_recovered=True, lasts=60) == (NOON + 60, True)


def test_what_people_write_becomes_one_line_of_a_sensible_length() -> None:
    stated = state(Ask(by="al\x1b[31mice\n", reason="x" * 900), NOON, covers=False)
    assert stated.by == "al [31mice"
    assert len(stated.reason) == 500


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"by": ""}, "it must be known who asks: --by NAME"),
        ({"reason": " \n"}, 'whoever is not told wants to know why: --reason "..."'),
        ({"checks": ()}, "it must be known for which checks"),
        ({"checks": ("shop/*",)}, '"shop/*" is no pattern'),
        ({"types": ("",)}, '"" is no pattern'),
        ({"labels": {"te-am": "x"}}, '"te-am=x" is no label'),
        ({"labels": {"team": ""}}, '"team=" is no label'),
        ({"labels": {"team": "a\nb"}}, "is no label: write it like team=shop"),
        ({"lasts": None}, "it needs an end: --for 2h, --until TIME or --until-recovered"),
        ({"until": NOON + 60}, "--for and --until exclude each other"),
        ({"lasts": 0.0}, "is past"),
        ({"lasts": -5.0}, "its end, Fri 15 Jan 2027 07:59:55 UTC, is past: it is Fri 15 Jan 2027 08:00:00 UTC"),
        ({"lasts": 367 * 86_400.0}, "more than a year away"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_to_do(changes: dict[str, Any], said: str) -> None:
    ask = Ask.model_validate({**WHO, "checks": ("*",), "lasts": 60.0} | changes)
    with pytest.raises(Refused) as refused:
        state(ask, NOON)
    assert said in refused.value.sentence
    assert refused.value.status == 400


def test_a_maintenance_needs_a_name_and_an_end() -> None:
    ask = Ask(by="a", reason="b", name="racks", checks=("*",), lasts=60)
    assert state(ask, NOON, named=True).name == "racks"
    with pytest.raises(Refused, match="is no name"):
        state(ask.model_copy(update={"name": "the racks"}), NOON, named=True)
    with pytest.raises(Refused, match="a maintenance needs an end"):
        state(ask.model_copy(update={"until_recovered": True}), NOON, named=True)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], "valid dictionary"),
        ({"who": "alice"}, "who: Extra inputs are not permitted"),
        ({"checks": "shop"}, "checks: Input should be a valid tuple"),
        ({"lasts": "long"}, "lasts: Input should be a valid number"),
        ({"labels": {"a": 5}}, "labels.a: Input should be a valid string"),
    ],
)
def test_a_body_of_another_shape_is_refused(body: object, said: str) -> None:
    with pytest.raises(Refused) as refused:
        read_ask(body)
    assert said in refused.value.sentence


@pytest.mark.parametrize("end", [nan, inf, -inf])
def test_an_end_is_a_finite_number(end: float) -> None:
    for key in ("lasts", "until"):
        with pytest.raises(Refused, match="finite number"):
            read_ask({**WHO, "checks": ["*"], key: end})


def test_a_test_alert_waits_a_minute_unless_it_is_told_otherwise() -> None:
    assert read_test({}).wait == 60.0
    assert (read_test({"check": "shop", "wait": 5}).check, read_test({"wait": 5}).wait) == ("shop", 5.0)


@pytest.mark.parametrize("body", [{"wait": 0}, {"wait": 3601}, {"wait": nan}, {"waits": 1}, {"check": 7}, [], None])
def test_a_test_alert_that_makes_no_sense_is_refused(body: object) -> None:
    with pytest.raises(Refused) as caught:
        read_test(body)
    assert caught.value.status == 400

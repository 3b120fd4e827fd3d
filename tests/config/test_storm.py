from __future__ import annotations

from pathlib import Path

import pytest

from heartbeat.config.document import Node
from heartbeat.config.problem import Place, Problem
from heartbeat.config.reading import Spot, attempt
from heartbeat.config.storm import storm
from heartbeat.core.storm import StormRule

PLACE = Place(Path("config.yaml"), 1, 1)


def read(value: object) -> tuple[object, list[str]]:
    problems: list[Problem] = []
    node = Node(value, PLACE, {})
    if isinstance(value, dict):
        node = Node({key: Node(one, PLACE, {}) for key, one in value.items()}, PLACE, dict.fromkeys(value, PLACE))
    return attempt(Spot(node, "storm", problems), storm, "wrong"), [one.message for one in problems]


def test_all_that_is_set_is_read_and_the_rest_is_as_usual() -> None:
    assert read({"checks": 7, "share": "80%", "within": "2m"}) == (StormRule(7, 0.8, 120.0), [])
    assert read({"checks": 7}) == (StormRule(checks=7), [])
    assert read({}) == (StormRule(5, 0.5, 60.0), [])


def test_never_is_never() -> None:
    assert read("never") == (None, [])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (5, "must be a mapping such as {checks: 5, share: 50%, within: 1m}, or never"),
        ({"checks": 1}, "must be a whole number from 2 to 100,000"),
        ({"share": "5%"}, "must be from 10% to 100%"),
        ({"share": "120%"}, "must be from 10% to 100%"),
        ({"within": "2h"}, "must be at most 1h"),
        ({"percent": "50%"}, 'unknown key "percent"; did you mean "share"?'),
    ],
)
def test_what_makes_no_sense_is_refused(value: object, said: str) -> None:
    assert read(value)[1] == [said]

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from heartbeat.config.dependencies import depends_on, resolve
from heartbeat.config.document import Node
from heartbeat.config.problem import Place, Problem
from heartbeat.config.reading import Spot, attempt

PLACE = Place(Path("config.yaml"), 1, 1)


def spot(value: object, problems: list[Problem], path: str = "checks.shop.depends_on") -> Spot:
    wrapped = [Node(one, PLACE, {}) for one in value] if isinstance(value, list) else value
    return Spot(Node(wrapped, PLACE, {}), path, problems)


def resolved(
    given: dict[str, list[str]], *names: str, families: Mapping[str, tuple[str, ...]] | None = None
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    problems: list[Problem] = []
    known = {name: (name,) for name in (*given, *names)} | dict(families or {})
    spots = {name: (spot(above, problems, f"checks.{name}.depends_on"), tuple(above)) for name, above in given.items()}
    return resolve(spots, known), [f"{one.path}: {one.message}" for one in problems]


def read(value: object) -> tuple[object, list[str]]:
    problems: list[Problem] = []
    found = attempt(spot(value, problems), depends_on)
    return found, [one.message for one in problems]


def test_one_name_or_a_list_of_names_is_read() -> None:
    assert read("gateway") == (("gateway",), [])
    assert read(["gateway", "dns"]) == (("gateway", "dns"), [])


def test_what_is_no_list_of_names_is_refused() -> None:
    assert read(5)[1] == ["must be a list, not a number"]
    assert read(["a b"])[1][0].startswith('"a b" is no name')
    assert read(["gateway", "gateway"])[1] == ['names "gateway" twice']


def test_what_is_named_must_exist_and_the_nearest_is_shown() -> None:
    found, problems = resolved({"shop": ["gatway"]}, "gateway")
    assert found == {}
    assert problems == ['checks.shop.depends_on: there is no check "gatway"; did you mean "gateway"?']


def test_nothing_depends_on_the_checks_of_the_daemon_itself() -> None:
    _, problems = resolved({"shop": ["heartbeat.network"]})
    assert "nothing can depend on those" in problems[0]


def test_to_depend_on_a_check_with_a_matrix_is_to_depend_on_all_it_stands_for() -> None:
    families = {"gateway": ("gateway.eu", "gateway.us")}
    assert resolved({"shop": ["gateway"]}, families=families)[0] == {"shop": ("gateway.eu", "gateway.us")}
    assert resolved({"shop": ["gateway.us", "gateway"]}, families=families)[0] == {"shop": ("gateway.us", "gateway.eu")}


def test_a_circle_is_shown_whole() -> None:
    found, problems = resolved({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]})
    assert problems == [
        "checks.a.depends_on: goes round in a circle: a depends on b depends on c depends on a; take one of them out"
    ]
    assert found == {"b": ("c",), "c": ("a",), "d": ("a",)}


def test_every_circle_is_told_and_that_of_one_check_in_its_own_words() -> None:
    _, problems = resolved({"a": ["a"], "b": ["c"], "c": ["b"]})
    assert problems == [
        "checks.a.depends_on: a check cannot depend on itself",
        "checks.b.depends_on: goes round in a circle: b depends on c depends on b; take one of them out",
    ]

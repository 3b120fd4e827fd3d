from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, PrivateAttr

from heartbeat import Check, Probe
from heartbeat.config.sharing import Shared
from heartbeat.core.model import NOTHING
from heartbeat.core.schedule import Interval
from heartbeat.http import Expect


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)
    values: list[int] = []
    level: Any = 0


class Loose(BaseModel):
    level: int = 0


class Private(BaseModel):
    model_config = ConfigDict(frozen=True)
    _seen: list[int] = PrivateAttr(default_factory=list)


class Shop(Check):
    url: str = ""
    expect: Expect = Expect()
    part: BaseModel = Frozen()

    async def run(self, probe: Probe) -> None: ...


def both(*shops: Shop) -> list[Shop]:
    shared = Shared()
    made = []
    for shop in shops:
        before = shop.model_copy(deep=True)
        kept = shared.model(shop)
        assert isinstance(kept, Shop)
        assert kept == before
        assert kept.model_fields_set == before.model_fields_set
        made.append(kept)
    return made


def test_equal_values_become_one() -> None:
    shared, first = Shared(), Interval(60.0)
    assert shared(first) is first
    assert shared(Interval(60.0)) is first
    assert shared(Interval(61.0)) is not first


def test_values_of_different_types_stay_apart() -> None:
    shared = Shared()
    assert [repr(shared(value)) for value in (1, 1.0, True)] == ["1", "1.0", "True"]


def test_equal_labels_become_one_and_none_take_nothing() -> None:
    shared = Shared()
    assert shared.labels({"a": "b"}) is shared.labels({"a": "b"})
    assert list(shared.labels({"c": "d", "a": "b"})) != list(shared.labels({"a": "b", "c": "d"}))
    assert shared.labels({}) is NOTHING


def test_the_defaults_of_many_checks_are_one() -> None:
    one, other = both(Shop(url="a"), Shop(url="b"))
    assert one.expect is other.expect
    assert one.model_fields_set is other.model_fields_set
    assert (one.url, other.url) == ("a", "b")


def test_different_parts_stay_apart() -> None:
    one, other, third = both(Shop(part=Frozen(level=1)), Shop(part=Frozen(level=True)), Shop(part=Frozen(level=2)))
    assert [repr(shop.part) for shop in (one, other, third)] == [
        "Frozen(values=[], level=1)",
        "Frozen(values=[], level=True)",
        "Frozen(values=[], level=2)",
    ]


def test_what_may_change_is_not_shared() -> None:
    for make in (Loose, Private, lambda: Frozen(values=[1])):
        one, other = both(Shop(part=make()), Shop(part=make()))
        assert one.part is not other.part


def test_what_was_given_and_what_was_left_out_stay_apart() -> None:
    one, other = both(Shop(part=Frozen(level=0)), Shop(part=Frozen()))
    assert one.part.model_fields_set == {"level"}
    assert other.part.model_fields_set == set()

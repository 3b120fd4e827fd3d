from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import AfterValidator, Field, ValidationError

from heartbeat import Check, CheckBroken, Part, Probe, configured_path, late
from heartbeat.steps import Reading, reading


class Inner(Check):
    port: int = Field(ge=1)
    name: str = ""

    async def run(self, probe: Probe) -> None:
        """Do nothing."""


class Outer(Check):
    first: Part
    file: Annotated[str, AfterValidator(lambda path: str(configured_path(path)))] = ""

    async def run(self, probe: Probe) -> None:
        """Do nothing."""


def type_of(name: str) -> type[Check]:
    if name == "inner":
        return Inner
    raise LookupError(f'unknown check type "{name}"')


def test_a_part_without_references_is_ready() -> None:
    with reading(Reading(type_of)) as around:
        outer = Outer.model_validate({"first": {"inner": {"port": 7}}})
    assert outer.first.ready == Inner(port=7)
    assert around.used == {"inner"}


def test_what_is_wrong_in_a_part_has_its_place() -> None:
    with reading(Reading(type_of)), pytest.raises(ValidationError) as wrong:
        Outer.model_validate({"first": {"inner": {"port": 0, "nam": "x"}}})
    assert {error["loc"] for error in wrong.value.errors()} == {("first", "inner", "port"), ("first", "inner", "nam")}


@pytest.mark.parametrize("given", [{}, {"inner": {}, "other": {}}, {"other": {}}, "inner", {"inner": 5}])
def test_what_is_no_check_is_refused(given: object) -> None:
    with reading(Reading(type_of)), pytest.raises(ValidationError):
        Outer.model_validate({"first": given})


def test_references_are_filled_in_late() -> None:
    with reading(Reading(type_of)):
        outer = Outer.model_validate({"first": {"inner": late({"port": "${steps.a.port}", "name": "${run.id}"})}})
    assert outer.first.ready is None
    assert [str(one) for one in outer.first.references()] == ["${steps.a.port}", "${run.id}"]
    assert outer.first.build(lambda one: 9 if one.root == "steps" else "r") == Inner(port=9, name="r")
    with pytest.raises(CheckBroken, match=r"inner\.port: .*does not fit"):
        outer.first.build(lambda _: "many")


def test_paths_belong_to_the_configuration() -> None:
    with reading(Reading(type_of, Path("/etc/heartbeat"))) as around:
        outer = Outer.model_validate({"first": {"inner": {"port": 7}}, "file": "check.py"})
    assert outer.file == "/etc/heartbeat/check.py"
    assert around.files == {Path("/etc/heartbeat/check.py")}


def test_made_in_code_it_knows_the_bundled_types() -> None:
    outer = Outer.model_validate({"first": {"tcp": {"host": "127.0.0.1", "port": 1}}})
    assert outer.first.type.__name__ == "Tcp"

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.config.document import ALIASES, Node, holds_secret, parse, to_python
from heartbeat.config.problem import Place, Problem

FILE = Path("config.yaml")


def as_written(text: str, plain: bool, file: Path) -> tuple[str, bool]:
    return text, False


def read(text: str) -> Node:
    problems: list[Problem] = []
    node = parse(text, FILE, as_written, problems)
    assert problems == []
    assert node is not None
    return node


def refused(text: str) -> str:
    problems: list[Problem] = []
    assert parse(text, FILE, as_written, problems) is None
    return str(problems[-1])


def test_every_value_and_key_knows_its_place() -> None:
    root = read("a:\n  b: [1, x]\n")

    inner = root.value["a"]
    assert root.keys["a"] == Place(FILE, 1, 1)
    assert inner.keys["b"] == Place(FILE, 2, 3)
    assert inner.value["b"].value[1].place == Place(FILE, 2, 10)


def test_quotes_and_the_tag_for_text_keep_a_scalar_as_it_is() -> None:
    assert to_python(read("""[12, "12", '12', !!str 12, ! 12]""")) == [12, "12", "12", "12", "12"]


def test_an_alias_is_the_value_of_its_anchor() -> None:
    assert to_python(read("a: &x {n: 1}\nb: *x\n")) == {"a": {"n": 1}, "b": {"n": 1}}


def test_a_few_lines_that_stand_for_a_million_values_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 8)]

    assert "makes the file larger than 1,000,000 values" in refused("\n".join(lines))


def test_too_many_aliases_are_refused() -> None:
    text = f"a: &x 1\nb: [{', '.join(['*x'] * (ALIASES + 1))}]\n"

    assert "more than the 100 aliases" in refused(text)


def test_aliases_do_not_hide_depth() -> None:
    text = f"a: &x {'[' * 40}{']' * 40}\nb: {'[' * 20}*x{']' * 20}\n"

    assert "deeper than 50" in refused(text)


@pytest.mark.parametrize(
    ("text", "said"), [("a: \x01", "U+0001"), ("a: 'b\nc", "a quote is not closed"), ("a: *b", "has no anchor")]
)
def test_what_is_no_yaml_is_said_in_one_sentence(text: str, said: str) -> None:
    assert said in refused(text)


def test_a_duplicate_key_does_not_hide_what_follows() -> None:
    problems: list[Problem] = []
    parse("a: 1\na: 2\nb: 1\nb: 2\n", FILE, as_written, problems)

    assert [(one.line, one.path) for one in problems] == [(2, "a"), (4, "b")]


def test_a_secret_is_seen_however_deep_it_lies() -> None:
    def secret(text: str, plain: bool, file: Path) -> tuple[str, bool]:
        return "swordfish", True

    root = parse('a: {b: ["${x}"]}', FILE, secret, [])

    assert root is not None
    assert holds_secret(root)
    assert not holds_secret(root.value["a"]._replace(value={}))


tree = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(tree)
def test_json_is_read_as_json(value: Any) -> None:
    import json

    if "${" not in json.dumps(value):
        assert to_python(read(json.dumps(value, ensure_ascii=False))) == value


@given(st.text("a:-[]{}&*!|>'\"%@`# \n\t,?0~$", max_size=40))
def test_no_text_breaks_the_reader(text: str) -> None:
    problems: list[Problem] = []
    node = parse(text, FILE, as_written, problems)

    assert (node is not None) or problems
    if node is not None and not problems:
        yaml.compose(text, Loader=yaml.CSafeLoader)

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.references import Late, Reference, fill, late, parse_reference, references

words = st.text("abcXYZ_-019", min_size=1, max_size=8)
roots = st.sampled_from(["steps", "accounts", "run", "item"])
made = st.builds(Reference, roots, st.lists(words, min_size=1).map(tuple), st.booleans())
plain = st.text().filter(lambda text: "$" not in text and text != "")


@given(st.lists(st.one_of(made, plain), min_size=1))
def test_a_text_is_read_back_as_it_was_written(parts: list[str | Reference]) -> None:
    again = late("".join(map(str, parts)))
    assert [one for one in parts if isinstance(one, Reference)] == list(references(again))
    assert str(again) == "".join(map(str, parts))


def test_an_escaped_reference_is_none() -> None:
    text = late("costs $${steps.a.b} and ${steps.a.b}")
    assert fill(text, lambda _: 7) == "costs ${steps.a.b} and 7"
    assert late("$${steps.a.b}") == "${steps.a.b}"
    assert not isinstance(late("$${steps.a.b}"), Late)


def test_a_reference_alone_keeps_the_type_of_its_value() -> None:
    assert fill(late({"n": "${steps.a.b}", "list": ["x${steps.a.b}"]}), lambda _: [1]) == {"n": [1], "list": ["x[1]"]}


def test_values_can_be_made_fit_for_a_url() -> None:
    assert fill(late("/orders/${steps.a.id|quote}"), lambda _: "../x y") == "/orders/..%2Fx%20y"


@pytest.mark.parametrize("wrong", ["steps", "steps.", "steps..a", "step.a", "steps.a|upper", "env.a", "steps.a b"])
def test_what_is_no_reference_stays_text(wrong: str) -> None:
    assert parse_reference(wrong) is None
    assert late("${" + wrong + "}") == "${" + wrong + "}"


def test_it_survives_being_sent_and_written() -> None:
    text = late("Bearer ${steps.login.token}")
    again = pickle.loads(pickle.dumps(text))
    assert (again, again.parts) == (text, text.parts)
    assert json.loads(json.dumps({"header": text})) == {"header": "Bearer ${steps.login.token}"}


def test_what_stands_within_a_text_is_written_as_json() -> None:
    known = {"list": ["a", None], "none": None, "yes": True, "number": 1.5, "text": "é"}
    text = late("${item.list} ${item.none} ${item.yes} ${item.number} ${item.text} ${item.list|quote}")
    assert fill(text, lambda one: known[one.path[0]]) == '["a", null] null true 1.5 é %5B%22a%22%2C%20null%5D'

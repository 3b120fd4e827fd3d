from __future__ import annotations

import json
import time
from typing import Any

import pytest

from heartbeat.channels.templates import FILTERS, TemplateFailed, compile_body, render_body

DATA = {
    "event": {
        "check": 'a "b" <c>',
        "sentence": "{{ 7 * 7 }}{% raw %}",
        "labels": {"team": "shop"},
        "n": 3,
        "none": None,
    },
    "long": "x" * 20_000,
}


def fill(source: str, *, is_json: bool = False, **data: Any) -> str:
    return render_body(compile_body(source), DATA | data, is_json=is_json).decode()


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ event.check }}", 'a "b" <c>'),
        ("{{ event['labels'].team | upper }}", "SHOP"),
        ("{% for name, value in event.labels.items() %}{{ name }}={{ value }};{% endfor %}", "team=shop;"),
        ("{{ event.labels.get('none', 'no') }}", "no"),
        ("{{ event.absent | default('nothing') }}", "nothing"),
        ("{% if event.n > 2 and event.none is none %}yes{% endif %}", "yes"),
        ("{{ event.n * 2 + 1 }} {{ event.n % 2 }} {{ event.n ** 2 }} {{ 7 // 2 }}", "7 1 9 3"),
        ("{% for i in range(3) %}{{ i }}{{ ',' if not loop.last }}{% endfor %}", "0,1,2"),
        ("{{ event.check ~ '!' }} {{ 'a' + 'b' }} {{ ['a', 'b'] | join('-') }}", 'a "b" <c>! ab a-b'),
        ("{{ 'aXbX' | replace('X', '.') }} {{ 2.345 | round(1) }}", "a.b. 2.3"),
        ("{% set x = 'y' %}{{ x }}{# a comment #}", "y"),
    ],
)
def test_what_templates_are_for_works(source: str, text: str) -> None:
    assert fill(source) == text


def test_tojson_makes_any_text_a_part_of_json() -> None:
    found = json.loads(fill('{"check": {{ event.check | tojson }}, "all": {{ event | tojson }}}', is_json=True))
    assert found == {"check": DATA["event"]["check"], "all": DATA["event"]}  # type: ignore[index]  # DATA is of one kind


def test_what_comes_from_a_target_is_never_a_template() -> None:
    assert fill("{{ event.sentence }}") == "{{ 7 * 7 }}{% raw %}"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{{ event.check", "line 1"),
        ("\n{% if %}", "line 2"),
        ("{% for x in y %}", "wrong"),
        ("{% include 'a' %}", "include is not allowed"),
        ("{% import 'a' as b %}", "import is not allowed"),
        ("{% extends 'a' %}", "extends is not allowed"),
        ("{% macro m() %}{{ m() }}{% endmacro %}", "macro is not allowed"),
        ("{% for x in y recursive %}{{ loop(x) }}{% endfor %}", "recursive is not allowed"),
        ("{% set x %}a{% endset %}", "assignblock is not allowed"),
        ("{{ 'a' | center(1000000000) }}", "no filter 'center'"),
        ("{{ '%09999999999d' | format(1) }}", "no filter 'format'"),
        ("{{ x | nosuch }}", "nosuch"),
        ("{{ lipsum(1000) }}", "only range"),
        ("{{ 'a'.ljust(1000000000) }}", "only range"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "only range"),
        ("{{ '{0.__class__}'.format(1) }}", "only range"),
        ("{% set _rounds = [9] %}", "not for templates"),
        ("x" * 20_001, "more than 20000"),
        ("{{ " + "(" * 5000 + ")" * 5000 + " }}", "nests too deeply|wrong"),
    ],
)
def test_what_a_template_must_not_hold_is_refused_at_load(source: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        compile_body(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ event.absent }}",
        "{{ nothing }}",
        "{{ event.check.__class__ }}",
        "{{ event.labels['__class__'].x }}",
        "{{ 1 / 0 }}",
        "{{ event.check + 1 }}",
        "{{ event.check | int(default=none) + 1 }}",
        "{{ [1, 'a'] | sort }}",
        "{{ event | attr }}",
    ],
)
def test_a_template_that_does_not_fit_its_data_fails_in_one_way(source: str) -> None:
    try:
        template = compile_body(source)
    except ValueError:
        return
    with pytest.raises(TemplateFailed):
        render_body(template, DATA, is_json=False)


LOOP = "{% for a in long %}{% for b in long %}{% for c in long %}{% endfor %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    "source",
    [
        LOOP,
        "{% for a in range(100000000) %}{% endfor %}",
        LOOP.replace("long", "range(999)"),
        "{% for a in range(10) %}{{ long }}{% endfor %}",
        "{{ 'a' * 1000000000 }}",
        "{{ [1] * 1000000000 }}",
        "{{ 9 ** 9 ** 99 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ long | replace('x', long) }}",
        "{{ long | list | join(long) }}",
        "{{ 1.5 | round(1000000000) | string ~ long ~ long ~ long ~ long }}",
        "{% set x = long %}" + "{% set x = x ~ x %}" * 60,
        "{% set x = long %}" + "{% set x = x + x %}" * 60,
        "{% set x = [long] %}" + "{% set x = [x, x, x] | string %}" * 60,
        "{{ long | tojson(indent=1000000000) }}",
    ],
)
def test_no_template_runs_for_long_or_grows_without_bound(source: str) -> None:
    began = time.perf_counter()
    with pytest.raises((TemplateFailed, ValueError)):
        fill(source)
    assert time.perf_counter() - began < 5


def test_what_claims_to_be_json_must_be() -> None:
    with pytest.raises(TemplateFailed, match="no JSON"):
        fill('{"check": {{ event.check }}}', is_json=True)


def test_why_it_failed_says_nothing_of_the_data() -> None:
    for source in (
        "{{ event.check.absent }}",
        "{{ event.check.x.y }}",
        "{{ event.check + 1 }}",
        "{{ long | int + '' }}",
    ):
        with pytest.raises(TemplateFailed) as caught:
            fill(source)
        assert '"b"' not in str(caught.value)
        assert "xxx" not in str(caught.value)


def test_every_filter_of_the_list_exists() -> None:
    for name in FILTERS:
        compile_body(f"{{{{ x | {name} }}}}")


def test_a_template_is_compiled_once() -> None:
    assert compile_body("{{ event.n }}") is compile_body("{{ event.n }}")

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from heartbeat.plugins import discover, load_type

Flow: Any = load_type(discover().sources["flow"])

LOGIN: dict[str, Any] = {
    "name": "login",
    "http": {"url": "http://127.0.0.1/login", "json": {"user": "${accounts.shopper.user}"}},
    "take": {"token": "$.token", "body": "$"},
}
ORDER: dict[str, Any] = {
    "name": "order",
    "creates": True,
    "http": {"url": "http://127.0.0.1/orders", "headers": {"Authorization": "Bearer ${steps.login.token}"}},
    "take": {"id": "$.id"},
}
REMOVE: dict[str, Any] = {"name": "remove", "http": {"url": "http://127.0.0.1/orders/${steps.order.id}"}}
SWEEP: dict[str, Any] = {
    "list": {"http": {"url": "http://127.0.0.1/orders"}},
    "each": "$.orders[*]",
    "tag": "$.reference",
    "created": "$.created_at",
    "remove": {"http": {"url": "http://127.0.0.1/orders/${item.id}"}},
}


def get(**more: Any) -> dict[str, Any]:
    return {"http": {"url": "http://127.0.0.1/"}, **more}


def objections(**options: Any) -> dict[tuple[Any, ...], str]:
    with pytest.raises(ValidationError) as wrong:
        Flow.model_validate(options)
    return {error["loc"]: error["msg"].removeprefix("Value error, ") for error in wrong.value.errors()}


def test_a_whole_flow_is_read() -> None:
    flow = Flow.model_validate({"steps": [LOGIN, ORDER], "cleanup": [REMOVE], "sweep": SWEEP, "cleanup_timeout": "5s"})
    assert flow.course.accounts == ["shopper"]
    assert flow.course.plan.owned == {"order"}
    assert [str(one) for one in flow.course.plan.wanted] == ["${steps.order.id}"]
    assert flow.cleanup_timeout == 5.0
    assert flow.sweep.older_than == 600.0


def test_a_step_without_references_uses_the_check_that_was_built_at_load() -> None:
    flow = Flow.model_validate({"steps": [get()]})
    assert flow.steps[0].check.ready is not None
    assert flow.steps[0].check.build(None) is flow.steps[0].check.ready


def test_steps_have_names_by_their_type_and_number() -> None:
    flow = Flow.model_validate({"steps": [get(), get(name="second"), {"wait": "1s"}], "cleanup": [get()]})
    assert [step.name for step in (*flow.steps, *flow.cleanup)] == ["http1", "second", "wait3", "cleanup_http1"]


def test_numbers_and_nested_values_can_be_referred_to() -> None:
    look = get(name="look")
    look["http"]["url"] = "http://127.0.0.1/${steps.login.body.items.0.id|quote}?run=${run.id}&tag=${run.tag}"
    assert Flow.model_validate({"steps": [LOGIN, look]}).steps[1].check.ready is None


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("steps.logn.token", 'there is no step "logn"; did you mean "login"?'),
        ("steps.login.tokn", 'the step "login" takes no "tokn"; did you mean "token"?'),
        ("steps.login.zzz", 'the step "login" takes no "zzz"; write take: there, with zzz: and a JSONPath'),
        ("steps.login", "needs the name of a value, such as ${steps.login.token}"),
        ("steps.later.id", 'the step "later" comes later; only what earlier steps took is known here'),
        ("steps.here.id", 'the step "here" comes later; only what earlier steps took is known here'),
        ("accounts.shopper", "an account has user, password, token, totp"),
        ("accounts.shopper.pasword", 'an account has user, password, token, totp; did you mean "password"?'),
        ("run.tga", 'a run has an id and a tag; did you mean "tag"?'),
        ("item.id", "only sweep.remove knows ${item...}"),
    ],
)
def test_a_reference_to_nothing_is_an_error_at_its_place(reference: str, said: str) -> None:
    here = get(name="here", take={"id": "$.id"})
    here["http"]["headers"] = {"X-It": f"${{{reference}}}"}
    wrong = objections(steps=[LOGIN, here, get(name="later", take={"id": "$.id"})])
    assert wrong == {("steps", 1, "http", "headers", "X-It"): f"${{{reference}}}: {said}"}


def test_the_references_of_cleanup_and_sweep_are_checked_too() -> None:
    remove = {"http": {"url": "http://127.0.0.1/${steps.order.idd}"}}
    sweep = {**SWEEP, "list": {"http": {"url": "http://127.0.0.1/${item.id}"}}}
    assert objections(steps=[LOGIN, ORDER], cleanup=[remove], sweep=sweep).keys() == {
        ("cleanup", 0, "http", "url"),
        ("sweep", "list", "http", "url"),
    }


@pytest.mark.parametrize(
    ("step", "place", "said"),
    [
        ({}, (), "needs one key that names a check type, such as http:, or wait:"),
        ({"name": "Log-In", **get()}, ("name",), "a step's name is a lower-case word"),
        ({"name": "wait_s", **get()}, ("name",), "a step cannot be called wait_s"),
        (get(tcp={"host": "h", "port": 1}), (), "a step is one check, not 2 (http, tcp)"),
        (get(tkae={"id": "$.id"}), ("tkae",), "Extra inputs are not permitted"),
        ({"htp": {}}, ("htp",), "no check type \"htp\"|no check type 'htp'"),
        ({"http": {"url": "http://127.0.0.1/", "methd": "GET"}}, ("http", "methd"), "Extra inputs"),
        (get(take={"id": "id"}), ("take", "id", "json"), "is no JSONPath"),
        (get(take={"id": {"re2": "("}}), ("take", "id", "re2"), "is no regular expression"),
        (get(take={"id": {}}), ("take", "id"), "needs exactly one of json, re2, header, cookie, measurement"),
        (get(take={"id": {"json": "$", "header": "x"}}), ("take", "id"), "needs exactly one of"),
        (get(take={"id": "$['${run.tag}']"}), ("take", "id", "json"), "holds a reference"),
        (get(until="10s", creates=True), (), "is tried once"),
        (get(every="1s"), (), "every has no effect without until"),
        (get(until="10"), ("until",), "must be a duration"),
        ({"wait": "1s", "timeout": "1s"}, (), "a pause (wait) has no timeout"),
        ({"wait": "1s", "http": {"url": "http://127.0.0.1/"}}, (), "a pause (wait) has no check"),
        ({"flow": {"steps": [{"wait": "1s"}]}}, (), "flow runs steps itself, and is no step"),
        (get(creates=True), ("creates",), "who creates something needs cleanup: or sweep:"),
    ],
)
def test_what_is_wrong_with_a_step_is_said_at_its_place(step: Any, place: tuple[str, ...], said: str) -> None:
    wrong = objections(steps=[step])
    assert list(wrong) == [("steps", 0, *place)] or (place and place[0] == "take" and len(wrong) == 1)
    assert any(one in next(iter(wrong.values())) for one in said.split("|"))


def test_all_that_is_wrong_with_a_step_is_said_at_once() -> None:
    wrong = objections(steps=[{"name": "X", "http": {"url": "ftp://x", "methd": 1}, "until": "soon", "tkae": {}}])
    assert wrong.keys() == {
        ("steps", 0, "name"),
        ("steps", 0, "http", "url"),
        ("steps", 0, "http", "methd"),
        ("steps", 0, "until"),
        ("steps", 0, "tkae"),
    }


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"steps": []}, ("steps",)),
        ({"steps": [get()] * 21}, ("steps",)),
        ({"steps": [get(name="a"), get(name="a")]}, ("steps",)),
        ({"steps": [get(name="a")], "cleanup": [get(name="a")]}, ("cleanup", 0, "name")),
        ({"steps": [get()], "cleanup": [get(creates=True)]}, ("cleanup", 0, "creates")),
        ({"steps": [get()], "sweep": SWEEP}, ("sweep",)),
        ({"steps": [LOGIN, ORDER], "sweep": {**SWEEP, "each": "orders"}}, ("sweep", "each")),
        ({"steps": [get()], "cleanup_timeout": "1m"}, ("cleanup_timeout",)),
    ],
)
def test_what_is_wrong_with_a_flow_is_said_at_its_place(options: dict[str, Any], place: tuple[str, ...]) -> None:
    assert list(objections(**options)) == [place]


def test_editors_are_told_that_the_type_stands_beside_the_other_keys() -> None:
    step = Flow.model_json_schema()["$defs"]["Step"]
    assert step["properties"]["check"]["x-heartbeat-beside"] is True
    assert {"name", "take", "until", "every", "timeout", "creates", "wait"} < step["properties"].keys()

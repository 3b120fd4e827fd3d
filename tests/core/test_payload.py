from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from heartbeat.core.model import Event, Finding, Kind, Outcome, Reason, Result, Run, Severity, Track
from heartbeat.core.payload import PAYLOAD_BYTES, encode, payload
from heartbeat.core.trace import trace_id

AT = 1_795_269_731.25
RUN = Run("run_1", "shop", AT - 2, 1, AT - 1, 10.0)
SCHEMA = json.loads(files("heartbeat").joinpath("schemas/event-v1.json").read_bytes())
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)
WILD = st.sampled_from(["x" * 9000, '"\\' * 3000, "💩" * 3000, "\ud800" * 3000, "\x00\n" * 3000])


def make(result: Result | None, text: str = "it broke", context: dict[str, object] | None = None) -> Event:
    return Event(
        id="evt_1",
        kind=Kind.RAISED,
        check=text,
        incident="inc_1",
        sequence=2,
        at=AT,
        was=Severity.WARN,
        severity=Severity.FAIL,
        since=AT - 60,
        reason=Reason.STATUS,
        sentence=text,
        findings=(Finding("duration", Severity.WARN, "at most 1 s allowed", "2 s"),),
        run=RUN,
        result=result,
        context=context or {"type": "http", "labels": {"team": "shop"}, "location": "eu", "runbook": "https://w.test"},
    )


def test_the_payload_is_the_published_shape() -> None:
    result = Result(
        Outcome.FAIL,
        0.5,
        Reason.STATUS,
        "500",
        expected="200",
        observed="500",
        measurements={"body_bytes": 12.0},
        phases={"connect": 0.1},
        evidence={"body": "no\nno"},
    )
    assert payload(make(result)) == {
        "type": "heartbeat.check.raised",
        "timestamp": "2026-11-21T14:02:11.250Z",
        "version": 1,
        "data": {
            "event": "evt_1",
            "kind": "raised",
            "track": "target",
            "check": "it broke",
            "check_type": "http",
            "incident": "inc_1",
            "sequence": 2,
            "severity": "fail",
            "was": "warn",
            "since": "2026-11-21T14:01:11.250Z",
            "at": "2026-11-21T14:02:11.250Z",
            "reason": "status",
            "sentence": "it broke",
            "findings": [
                {"limit": "duration", "severity": "warn", "expected": "at most 1 s allowed", "observed": "2 s"}
            ],
            "run": {
                "id": "run_1",
                "slot": "2026-11-21T14:02:09.250Z",
                "attempt": 1,
                "started": "2026-11-21T14:02:10.250Z",
                "timeout_seconds": 10.0,
            },
            "trace_id": None,
            "result": {
                "outcome": "fail",
                "duration_seconds": 0.5,
                "expected": "200",
                "observed": "500",
                "phases": {"connect": 0.1},
                "measurements": {"body_bytes": 12.0},
                "evidence": {"body": "no\nno"},
            },
            "labels": {"team": "shop"},
            "location": "eu",
            "runbook": "https://w.test",
            "page": "",
            "also_failing": [],
            "holds_back": [],
            "holds_back_more": 0,
            "deployment": None,
            "recorded": True,
            "why": "",
        },
    }


def test_a_withdrawal_has_neither_run_nor_result() -> None:
    data = payload(make(None))["data"]
    assert data["result"] is None


@settings(max_examples=60, deadline=None)
@given(text=WILD, count=st.integers(0, 120))
def test_a_payload_stays_below_20_kb_and_is_json(text: str, count: int) -> None:
    many = {f"{text[:60]}{number}": text for number in range(count)}
    numbers = {f"{'m' * 60}{number}": 1 / 3 for number in range(count)}
    result = Result(Outcome.FAIL, 1.0, Reason.STATUS, text, text, text, numbers, numbers, many)
    context: dict[str, object] = {"labels": many, "runbook": text, "location": text, "type": text}
    body = encode(payload(make(result, text, context), why=text))
    assert len(body) < PAYLOAD_BYTES
    assert [error.message[:200] for error in VALIDATOR.iter_errors(json.loads(body))] == []
    assert json.loads(body)["data"]["event"] == "evt_1"


def test_evidence_is_given_up_first() -> None:
    evidence = {f"part {number}": "x" * 4096 for number in range(20)}
    result = Result(Outcome.FAIL, 1.0, Reason.STATUS, "s", measurements={"depth": 1.0}, evidence=evidence)
    data = payload(make(result))["data"]
    assert data["result"]["measurements"] == {"depth": 1.0}
    assert all(len(text) <= 1024 for text in data["result"]["evidence"].values())


def test_what_is_no_finite_number_is_left_out() -> None:
    result = Result(Outcome.FAIL, 1.0, Reason.STATUS, "s", measurements={"a": float("nan"), "b": 1.0})
    assert payload(make(result))["data"]["result"]["measurements"] == {"b": 1.0}


RESULTS: list[Result | None] = [
    None,
    Result(Outcome.OK, 0.1),
    Result(Outcome.FAIL, 0.1, Reason.STATUS, "s", "200", "500", {"a": 1.0}, {"b": 0.1}, {"c": "d"}),
    Result(Outcome.ERROR, 0.0, Reason.PLUGIN, "TypeError"),
    Result(Outcome.MISSED, 0.0, Reason.LATE, "late"),
]


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("result", RESULTS)
def test_every_kind_of_event_is_as_the_published_schema_says(kind: Kind, result: Result | None) -> None:
    event = replace(make(result, context={"also_failing": ["pay"], "page": "https://hb.test/shop"}), kind=kind)
    event = replace(event, reason=result.reason if result else None, run=RUN if result else None)
    whole = json.loads(encode(payload(event, why="oncall/email could not tell a@x.test: 550")))
    assert [error.message for error in VALIDATOR.iter_errors(whole)] == []
    assert whole["data"]["also_failing"] == ["pay"]
    assert whole["data"]["why"].endswith("550")


@pytest.mark.parametrize("track", Track)
def test_every_track_is_in_the_published_schema(track: Track) -> None:
    whole = payload(replace(make(None), kind=Kind.REMINDER, track=track))
    assert VALIDATOR.is_valid(whole)
    assert whole["data"]["track"] == track


def test_why_it_is_told_follows_why_this_receiver_is_told() -> None:
    event = replace(make(None), why="it was kept back until now: silenced by anna")
    assert payload(event)["data"]["why"] == event.why
    assert payload(event, why="b could not be told")["data"]["why"] == f"b could not be told; {event.why}"


def test_what_is_held_back_is_named_as_far_as_there_is_room_and_counted() -> None:
    data = payload(make(None, context={"holds_back": [f"check-{n}" for n in range(30)], "holds_back_more": 5}))["data"]
    assert (len(data["holds_back"]), data["holds_back_more"]) == (20, 15)


def test_the_deployment_after_which_it_began_is_in_the_published_schema() -> None:
    event = make(None)
    found = {
        "id": "dep_1",
        "name": "shop",
        "version": "4f2c",
        "by": "ci",
        "start": event.since - 180,
        "state": "running",
    }
    whole = payload(make(None, context={"deployment": found}))
    assert VALIDATOR.is_valid(whole)
    assert whole["data"]["deployment"]["began_after_seconds"] == 180.0
    assert undescribed(whole, SCHEMA) == []


def test_only_a_test_alert_is_marked_as_one_and_that_is_in_the_published_schema() -> None:
    drill = replace(make(None), kind=Kind.DRILL)
    test = payload(replace(drill, context={"test": True}))
    assert VALIDATOR.is_valid(test)
    assert test["data"]["test"] is True
    assert undescribed(test, SCHEMA) == []
    assert "test" not in payload(drill)["data"]
    assert "test" not in payload(replace(make(None), context={"test": True}))["data"]


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_in_the_published_schema(reason: Reason) -> None:
    assert VALIDATOR.is_valid(payload(replace(make(None), reason=reason)))


def test_the_published_schema_is_sound_and_describes_every_key() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    result = Result(Outcome.FAIL, 0.1, Reason.STATUS, "s", "200", "500", {"a": 1.0}, {"b": 0.1}, {"c": "d"})
    assert undescribed(payload(make(result)), SCHEMA) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("severity", "critical"), ("at", "yesterday"), ("sequence", 0), ("recorded", "yes"), ("findings", [{}])],
)
def test_the_published_schema_refuses_what_we_never_send(key: str, value: object) -> None:
    whole = payload(make(None))
    whole["data"][key] = value
    assert not VALIDATOR.is_valid(whole)


def undescribed(value: Any, schema: dict[str, Any], path: str = "") -> list[str]:
    """Return the keys of a payload that the schema knows nothing of; maps with free keys are passed over."""
    schema = next((one for one in schema.get("oneOf", ()) if one["type"] == "object"), schema)
    if isinstance(value, list):
        return [found for one in value for found in undescribed(one, schema["items"], path)]
    if not isinstance(value, dict) or "additionalProperties" in schema:
        return []
    known = schema["properties"]
    optional = {"test"} - value.keys()
    missing = [f"{path}.{key}" for key in value.keys() ^ known.keys() - optional]
    return missing + [
        found for key in value.keys() & known.keys() for found in undescribed(value[key], known[key], key)
    ]


def test_the_trace_of_a_run_is_in_the_published_schema() -> None:
    whole = payload(make(None, context={"trace_id": trace_id("run_1")}))
    assert VALIDATOR.is_valid(whole)
    assert whole["data"]["trace_id"] == trace_id("run_1")
    assert undescribed(whole, SCHEMA) == []
    assert payload(make(None))["data"]["trace_id"] is None

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from heartbeat.core.model import Event, Finding, Kind, Outcome, Reason, Result, Run, Severity
from heartbeat.core.payload import PAYLOAD_BYTES, encode, payload

AT = 1_795_269_731.25
RUN = Run("run_1", "shop", AT - 2, 1, AT - 1, 10.0)
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
            "recorded": True,
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
    body = encode(payload(make(result, text, context)))
    assert len(body) < PAYLOAD_BYTES
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

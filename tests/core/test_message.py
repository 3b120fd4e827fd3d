from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartbeat.core.message import TEXT_BYTES, Message, compose, readable, span, subject, timestamp
from heartbeat.core.model import Event, Finding, Kind, Outcome, Reason, Result, Run, Severity
from heartbeat.core.text import plain

AT = 1_795_269_731.25
HOSTILE = st.text(st.characters(), max_size=60) | st.sampled_from(["\n", "\x00", "\u202e", "💩" * 3000, "x" * 9000])


def event(**changes: object) -> Event:
    result = Result(
        Outcome.FAIL,
        1.5,
        Reason.CONTENT,
        "the token is missing",
        expected="$.token exists",
        observed="{}",
        measurements={"body_bytes": 2048.0, "depth": 3.0},
        phases={"connect": 0.012},
        evidence={"body": "line one\nRESOLVED: all is well"},
    )
    whole = Event(
        id="evt_1",
        kind=Kind.RAISED,
        check="shop-login",
        incident="inc_0123456789abcdef",
        sequence=1,
        at=AT,
        was=Severity.OK,
        severity=Severity.FAIL,
        since=AT - 192,
        reason=Reason.CONTENT,
        sentence="the token is missing",
        findings=(Finding("duration", Severity.WARN, "at most 1 s allowed", "1.5 s"),),
        run=Run("run_1", "shop-login", AT, 0, AT, 10.0),
        result=result,
        context={"type": "http", "labels": {"team": "shop"}, "runbook": "https://wiki.test/", "policy": "2 of 3"},
    )
    return replace(whole, **changes)  # type: ignore[arg-type]  # the changes are those of a test, any field


def first_line(message: Message) -> str:
    return message.text.split("\n", 1)[0]


def test_a_message_says_all_that_someone_just_woken_needs() -> None:
    text = compose(event()).text
    assert text.startswith("FAILING: shop-login: the token is missing\n")
    for part in (
        "$.token exists",
        "{}",
        "1.5 s; at most 1 s allowed",
        "Sat 21 Nov 2026 13:58:59 UTC (3m 12s ago)",
        "team=shop",
        "https://wiki.test/",
        "inc_0123456789abcdef",
        "run_1",
        "12 ms",
        "2 KiB",
        "Why this message: the check rose from ok to fail (its policy: 2 of 3); message is the first of this incident.",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"severity": Severity.WARN}, "WARNING: shop-login: the token is missing"),
        (
            {"kind": Kind.EASED, "was": Severity.FAIL, "severity": Severity.WARN},
            "WARNING: shop-login: the token is missing",
        ),
        (
            {"kind": Kind.RESOLVED, "was": Severity.FAIL, "severity": Severity.OK, "sentence": ""},
            "RESOLVED: shop-login: works again after 3m 12s",
        ),
        ({"kind": Kind.REMINDER}, "FAILING: shop-login: not well for 3m 12s: the token is missing"),
        ({"kind": Kind.CHECK_REPAIRED, "severity": Severity.OK}, "CHECK REPAIRED: shop-login: the check works again"),
        ({"kind": Kind.WITHDRAWN}, "WITHDRAWN: shop-login: removed from the configuration"),
        ({"sentence": ""}, "FAILING: shop-login: the reason is content"),
        ({"sentence": "", "reason": None}, "FAILING: shop-login: no reason is known"),
    ],
)
def test_the_first_line_tells_the_state(changes: dict[str, object], line: str) -> None:
    assert first_line(compose(event(**changes))).startswith(line)


def test_a_broken_check_says_nothing_about_its_target() -> None:
    changes = {"kind": Kind.CHECK_BROKEN, "severity": Severity.OK, "reason": Reason.PLUGIN, "sentence": "TypeError"}
    line = first_line(compose(event(**changes)))
    assert line == (
        "CHECK BROKEN: shop-login: the check itself is broken, the state of its target is unknown: TypeError"
    )


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_event_has_a_message_under_the_same_subject(kind: Kind) -> None:
    message = compose(event(kind=kind))
    assert message.subject == "heartbeat: shop-login (incident 01234567)"
    assert message.why


def test_evidence_cannot_pose_as_a_line_of_ours() -> None:
    assert "\nRESOLVED" not in compose(event()).text
    assert "  | RESOLVED: all is well" in compose(event()).text
    assert compose(event(sentence="x\nRESOLVED: y")).text.startswith("FAILING: shop-login: x RESOLVED: y\n")


def test_a_message_that_only_memory_holds_says_so() -> None:
    assert "not yet recorded" in compose(event(context={"recorded": False})).text
    assert not compose(event()).warning


@settings(max_examples=60)
@given(text=HOSTILE, count=st.integers(0, 120), kind=st.sampled_from(Kind))
def test_a_message_is_bounded_printable_and_can_be_encoded(text: str, count: int, kind: Kind) -> None:
    many = {f"{text[:20]}{number}": text for number in range(count)}
    result = Result(
        Outcome.FAIL, 1.0, Reason.CONTENT, text, text, text, dict.fromkeys(many, 1.0), dict.fromkeys(many, 1.0), many
    )
    findings = tuple(Finding(text, Severity.FAIL, text, text) for _ in range(count))
    hostile = event(
        kind=kind, check=text, incident=text, sentence=text, result=result, findings=findings, context={"labels": many}
    )
    message = compose(hostile)
    assert len(message.text.encode()) <= TEXT_BYTES
    assert "\n" not in message.subject + message.headline
    assert not any(character in message.text for character in "\x00\x1b\r\x85\u2028\u202e")
    assert subject(hostile) == message.subject


@given(st.floats(-1e10, 2e11))
def test_times_are_those_of_the_calendar(at: float) -> None:
    expected = datetime.fromtimestamp(at // 1, UTC)
    assert timestamp(at)[:19] == expected.isoformat()[:19]
    assert readable(at) == f"{expected:%a} {expected.day} {expected:%b} {expected.year} {expected:%H:%M:%S} UTC"


def test_a_timestamp_has_milliseconds_and_its_zone() -> None:
    assert timestamp(AT) == "2026-11-21T14:02:11.250Z"


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0s"), (0.2, "0s"), (59.6, "1m"), (3600, "1h"), (11_562, "3h 12m"), (200_000, "2d 7h")]
)
def test_durations_are_written_in_their_two_largest_units(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_plain_text_is_one_line_of_bounded_length() -> None:
    assert plain(" a\n\x00b\u2028c  d", 100) == "a b c d"
    assert plain("x" * 10, 5) == "xxxx…"

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartbeat.core.batch import Batch, single
from heartbeat.core.message import TEXT_BYTES, Message, compose, subject
from heartbeat.core.model import Address, Delivery, Event, Finding, Kind, Outcome, Reason, Result, Run, Severity, Track
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


def told(one: Event, at: float = AT) -> Message:
    return compose(single(Delivery("dlv_1", one, Address("oncall", "oncall/email", "a@x.test"))), at)


def first_line(message: Message) -> str:
    return message.text.split("\n", 1)[0]


def test_a_message_says_all_that_someone_just_woken_needs() -> None:
    text = told(event()).text
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
    assert first_line(told(event(**changes))).startswith(line)


def test_a_broken_check_says_nothing_about_its_target() -> None:
    changes = {"kind": Kind.CHECK_BROKEN, "severity": Severity.OK, "reason": Reason.PLUGIN, "sentence": "TypeError"}
    line = first_line(told(event(**changes)))
    assert line == (
        "CHECK BROKEN: shop-login: the check itself is broken, the state of its target is unknown: TypeError"
    )


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_event_has_a_message_under_the_same_subject(kind: Kind) -> None:
    message = told(event(kind=kind))
    assert message.subject == "heartbeat: shop-login (incident 01234567)"
    assert message.why


def test_evidence_cannot_pose_as_a_line_of_ours() -> None:
    assert "\nRESOLVED" not in told(event()).text
    assert "  | RESOLVED: all is well" in told(event()).text
    assert told(event(sentence="x\nRESOLVED: y")).text.startswith("FAILING: shop-login: x RESOLVED: y\n")


def test_a_message_that_only_memory_holds_says_so() -> None:
    assert "not yet recorded" in told(event(context={"recorded": False})).text
    assert not told(event()).warning


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
    message = told(hostile)
    assert len(message.text.encode()) <= TEXT_BYTES
    assert "\n" not in message.subject + message.headline
    assert not any(character in message.text for character in "\x00\x1b\r\x85\u2028\u202e")
    assert subject(hostile) == message.subject


def test_a_plain_text_is_one_line_of_bounded_length() -> None:
    assert plain(" a\n\x00b\u2028c  d", 100) == "a b c d"
    assert plain("x" * 10, 5) == "xxxx…"


def batch(*events: Event, why: str = "") -> Batch:
    address = Address("oncall", "oncall/email", "a@x.test")
    deliveries = tuple(Delivery(f"dlv_{number}", one, address, why=why) for number, one in enumerate(events))
    return Batch("bat_1", address, deliveries)


def other(name: str, **changes: object) -> Event:
    return event(id=f"evt_{name}", check=name, incident=f"inc_{name}", **changes)


def ended(minutes: float, **changes: object) -> Event:
    """The end of the incident of ``event()``, so many minutes after it was raised."""
    over = {"kind": Kind.RESOLVED, "was": Severity.FAIL, "severity": Severity.OK, "sentence": "", "reason": None}
    return event(
        **{"id": "evt_2", "sequence": 2, "at": AT + 60 * minutes, "result": None, "findings": ()} | over | changes
    )


def test_several_incidents_are_counted_by_state_and_every_check_is_named() -> None:
    message = compose(batch(other("cart", severity=Severity.WARN), ended(1), other("pay"), other("mail")), AT + 60)
    lines = message.text.split("\n")
    assert lines[0] == message.headline == "2 FAILING, 1 WARNING, 1 RESOLVED: mail, pay, cart, shop-login"
    assert lines[2:6] == [
        "* FAILING: mail: the token is missing",
        "* FAILING: pay: the token is missing",
        "* WARNING: cart: the token is missing",
        "* RESOLVED: shop-login: works again after 4m 12s",
    ]
    assert message.urgent
    assert message.state == "FAILING"


def test_two_hundred_incidents_are_all_named_within_the_bound() -> None:
    names = [f"check-{number:03}" for number in range(200)]
    text = compose(batch(*map(other, names)), AT).text
    assert len(text.encode()) <= TEXT_BYTES
    assert [name for name in names if name not in text] == []
    assert "[cut here]" not in text


def test_evidence_goes_to_the_worst_first() -> None:
    result = Result(Outcome.FAIL, 1.0, Reason.CONTENT, "s", evidence={f"body {n}": "x" * 2000 for n in range(4)})
    mild, bad = other("mild", severity=Severity.WARN, result=result), other("bad", result=result)
    first, second = compose(batch(mild, bad), AT, room=9000).parts
    assert (first.event.check, second.event.check) == ("bad", "mild")
    assert sum(len(text) for _, text in first.evidence) > 8000
    assert sum(len(text) for _, text in second.evidence) < 1100


def test_what_began_and_ended_while_it_waited_is_told_as_over() -> None:
    message = compose(batch(event(), ended(29)), AT + 29 * 60 + 15, group_wait=10)
    assert message.headline == "RESOLVED: shop-login: was down 13:58 to 14:31 UTC (32 min): the token is missing"
    assert "delayed 29 min" in message.text
    assert ("so far", "14:02:11 failing, 14:31:11 resolved") in message.facts
    assert ("observed", "{}") in message.facts
    assert "it tells number 1 to 2 of this incident" in message.why
    assert not message.urgent


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        ((event(severity=Severity.WARN), ended(5, was=Severity.WARN)), "was not well 13:58 to 14:07 UTC (8 min): the"),
        (
            (
                event(kind=Kind.CHECK_BROKEN, severity=Severity.OK, sentence="TypeError"),
                ended(5, kind=Kind.CHECK_REPAIRED, was=Severity.OK),
            ),
            "could not be checked 13:58 to 14:07 UTC (8 min): TypeError",
        ),
        (
            (event(), ended(5, kind=Kind.WITHDRAWN)),
            "was down 13:58 to 14:07 UTC (8 min), then it was removed from the configuration: the token is missing",
        ),
        ((event(severity=Severity.WARN), event(sequence=2, at=AT + 60)), "the token is missing"),
    ],
)
def test_a_story_is_told_in_one_sentence(events: tuple[Event, ...], sentence: str) -> None:
    assert sentence in compose(batch(*events), AT + 300).headline


@pytest.mark.parametrize(
    ("after", "group_wait", "note"),
    [(9, 10, ""), (70, 10, ""), (71, 10, "delayed 1 min"), (330, 300, ""), (7 * 60, 10, "delayed 7 min")],
)
def test_a_message_says_that_it_is_late_beyond_the_wait_and_a_minute(
    after: float, group_wait: float, note: str
) -> None:
    text = compose(batch(event()), AT + after, group_wait=group_wait).text
    assert (note in text) if note else ("delayed" not in text)


def test_since_when_is_counted_to_the_moment_of_leaving() -> None:
    assert "13:58:59 UTC (10m 12s ago)" in compose(batch(event()), AT + 7 * 60).text


def test_who_is_told_in_place_of_another_reads_why_on_top() -> None:
    why = "oncall/email could not tell b@x.test: 550 no\nsuch user"
    lines = compose(batch(event(), why=why), AT).text.split("\n")
    assert lines[2] == "You get this because oncall/email could not tell b@x.test: 550 no such user."


def test_what_else_fails_is_named_once_and_not_what_the_message_tells_anyway() -> None:
    context = {"also_failing": ["pay", "mail", "cart"]}
    single_, several = (
        compose(batch(event(context=context)), AT),
        compose(batch(other("pay", context=context), other("cart", context=context)), AT),
    )
    assert ("also failing", "pay, mail, cart") in single_.facts
    assert [[value for name, value in part.facts if name == "also failing"] for part in several.parts] == [["mail"], []]


def test_a_message_says_how_long_after_which_deployment_the_trouble_began() -> None:
    since = event().since
    found = {"id": "dep_1", "name": "shop", "version": "4f2c", "by": "ci", "start": since - 200, "state": "finished"}
    message = told(event(context={"deployment": found}))
    assert "deployment:   began 3 min after deployment 4f2c of shop\n" in message.text


def test_what_a_check_holds_back_is_named_apart_from_what_else_fails() -> None:
    context = {"also_failing": ["pay", "mail"], "holds_back": ["pay", "cart"], "holds_back_more": 7}
    facts = compose(batch(event(context=context)), AT).facts
    assert ("holds back", "pay, cart and 7 more") in facts
    assert ("also failing", "mail") in facts


def test_the_tracks_of_a_check_are_counted_one_by_one_the_worst_first() -> None:
    ok = Severity.OK
    message = compose(
        batch(
            other("a", kind=Kind.CHECK_BROKEN, track=Track.CHECK, severity=ok),
            other("b", kind=Kind.RESUMED, track=Track.RUNS, severity=ok, sequence=2),
            other("c", kind=Kind.MISSED, track=Track.RUNS, severity=ok),
            other("d", kind=Kind.FLAPPING, track=Track.FLAPPING, severity=ok),
            other("e", kind=Kind.SETTLED, track=Track.FLAPPING, sequence=2),
            other("f"),
        ),
        AT,
    )
    assert message.headline == (
        "1 FAILING, 1 FLAPPING, 1 NOT RUNNING, 1 CHECK BROKEN, 1 SETTLED, 1 RUNNING AGAIN: f, d, c, a, e, b"
    )


def test_what_was_kept_back_says_so_in_the_message() -> None:
    text = told(event(sequence=2, why="it was kept back until now: silenced by anna\nRESOLVED: x")).text
    said = "Why this message: it was kept back until now: silenced by anna RESOLVED: x; message is number 2 of"
    assert said in text


def test_a_command_can_be_copied_and_what_finds_the_trace_is_a_fact() -> None:
    evidence = {"curl": "curl -sS 'https://x.test/'", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}
    message = compose(batch(event(result=Result(Outcome.FAIL, 1.0, evidence=evidence))), AT)
    assert "\ncurl:\n    curl -sS 'https://x.test/'\n" in message.text
    assert ("trace", "4bf92f3577b34da6a3ce929d0e0e4736") in message.facts


def test_the_subject_is_that_of_the_set_of_incidents() -> None:
    raised = [other("pay", since=AT - 500), other("cart")]
    resolved = [
        other("cart", kind=Kind.RESOLVED, at=AT + 60),
        other("pay", kind=Kind.RESOLVED, at=AT + 50, since=AT - 500),
    ]
    assert subject(*raised) == subject(*resolved)
    assert subject(*raised).startswith("heartbeat: pay and 1 more (incidents ")
    assert subject(*raised) != subject(*raised, other("mail"))


@settings(max_examples=30)
@given(
    text=HOSTILE,
    count=st.integers(1, 150),
    late=st.floats(-1e6, 1e6),
    kinds=st.lists(st.sampled_from(Kind), min_size=1),
)
def test_a_batch_is_bounded_and_printable(text: str, count: int, late: float, kinds: list[Kind]) -> None:
    result = Result(Outcome.FAIL, 1.0, Reason.CONTENT, text, text, text, {}, {}, dict.fromkeys("abc", text))
    events = [
        other(f"{text}{number}", kind=kinds[number % len(kinds)], sentence=text, result=result)
        for number in range(count)
    ]
    message = compose(batch(*events, why=text), AT + late)
    assert len(message.text.encode()) <= TEXT_BYTES
    assert len(message.parts) == count
    assert "\n" not in message.subject + message.headline + "".join(message.notes)
    assert not any(character in message.text for character in "\x00\x1b\r\x85\u2028\u202e")


def test_our_trace_and_that_of_the_target_are_told_also_those_of_a_step() -> None:
    evidence = {"login trace_id": "4bf9", "login curl": "curl -sS 'https://x.test/' " + "x" * 3000, "login body": "no"}
    result = Result(Outcome.FAIL, 1.0, Reason.STATUS, "login: no", evidence=evidence)
    message = told(event(result=result, context={"trace_id": "00c0ffee"}))
    assert ("trace", "00c0ffee, 4bf9") in message.facts
    assert f"\nlogin curl:\n    {evidence['login curl']}\n" in message.text
    assert "login trace_id" not in dict(message.evidence)
